//! Containers that the guide's commands started and left: those that asked for a GPU have one.

use crate::ended::{Ended, claim};
use crate::podman::Podman;
use crate::stand_in::{Report, has_smi};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// One user's containers.
#[derive(Debug)]
pub(super) struct Containers {
    podman: Podman,
    /// Those that were looked at, by id and time of the start.
    seen: BTreeSet<(String, String)>,
}

impl Containers {
    /// Of podman's user.
    pub(super) fn of(podman: Podman) -> Self {
        Self { podman, seen: BTreeSet::new() }
    }

    /// How many have started anew and asked for a GPU; all of them have one.
    pub(super) fn claim_gpus(&mut self) -> Result<usize, Ended> {
        let listed = self.podman.must(&["ps", "--all", "--quiet"])?;
        let mut found = 0;
        for id in listed.out.split_whitespace() {
            let inspected = self.podman.run(&["container", "inspect", id])?;
            // One that is removed at its end may be gone meanwhile.
            let known: Value = serde_json::from_str(&inspected.out).unwrap_or_default();
            let Some(container) = known.get(0) else { continue };
            let devices = devices(container);
            if devices.is_empty() && !asks(container) || !has_started(container) {
                continue;
            }
            let start = text(container, "/State/StartedAt").to_owned();
            if self.seen.insert((id.to_owned(), start)) {
                self.claim_sees(id, text(container, "/State/Status") == "running", &devices)?;
                found += 1;
            }
        }
        Ok(found)
    }

    fn claim_sees(&self, id: &str, is_running: bool, devices: &BTreeSet<String>) -> Result<(), Ended> {
        if is_running {
            let said = self.podman.run(&["exec", id, "nvbind-probe"])?;
            let reports = Report::all(&said.out);
            let sees = said.code == 0 && reports.iter().any(|report| has(report, devices));
            return claim(sees, "a container that asks for a GPU has none", || said.told());
        }
        let said = self.podman.run(&["logs", id])?;
        let reports = Report::all(&said.out);
        let works = reports.iter().any(|report| has(report, devices) && report.unexpected.is_empty());
        claim(works || has_smi(&said.out), "a container that asked for a GPU had none", || said.told())
    }
}

/// The nodes of the simulated driver's GPUs, by their positions.
const NODES: &[(&str, &str)] = &[("0", "/dev/nvidia1"), ("1", "/dev/nvidia0")];

/// Whether a container has a GPU, and where it asked by devices of CDI these GPUs and no others.
pub(super) fn has(report: &Report, devices: &BTreeSet<String>) -> bool {
    let is_exact = NODES.iter().all(|(name, node)| {
        let is_asked = devices.contains(*name) || devices.contains("all");
        is_asked == report.has(node)
    });
    report.has_gpu() && (devices.is_empty() || is_exact)
}

/// The devices of nvbind's specification that a container was started with: the hooks in what its runtime was given.
fn devices(container: &Value) -> BTreeSet<String> {
    let given = fs::read_to_string(text(container, "/OCIConfigPath")).unwrap_or_default();
    marked(&serde_json::from_str(&given).unwrap_or_default())
}

fn marked(given: &Value) -> BTreeSet<String> {
    let hooks = given.pointer("/hooks/poststop").and_then(Value::as_array).into_iter().flatten();
    let gpus = hooks.filter(|hook| hook.pointer("/args/1").and_then(Value::as_str) == Some("gpu"));
    gpus.filter_map(|hook| Some(hook.pointer("/args/2")?.as_str()?.to_owned())).collect()
}

/// Whether the container is to have a GPU: one of a pod without any has the pod's annotation.
fn asks(container: &Value) -> bool {
    let annotations = container.pointer("/Config/Annotations").and_then(Value::as_object);
    let asked = annotations.and_then(|all| all.get("io.nvbind.gpu")).and_then(Value::as_str);
    let variables = container.pointer("/Config/Env").and_then(Value::as_array).into_iter().flatten();
    let narrowed = variables.filter_map(Value::as_str).find_map(|set| set.strip_prefix("NVBIND_DEVICES="));
    let is_infra = container.get("IsInfra") == Some(&Value::Bool(true));
    let none = [Some("none"), Some("void")];
    asked.is_some() && !none.contains(&asked) && !none.contains(&narrowed) && !is_infra
}

fn has_started(container: &Value) -> bool {
    ["running", "exited", "stopped"].contains(&text(container, "/State/Status"))
}

fn text<'a>(container: &'a Value, pointer: &str) -> &'a str {
    container.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn devices_of_cdi_are_read_from_their_hooks() {
        let hook = |args: &[&str]| json!({"path": "/usr/libexec/nvbind/nvbind-hook", "args": args});
        let hooks = [hook(&["nvbind-hook", "gpu", "0"]), hook(&["other", "stop"])];
        assert_eq!(marked(&json!({"hooks": {"poststop": hooks}})), BTreeSet::from(["0".to_owned()]));
        assert!(marked(&json!({})).is_empty());
    }

    #[test]
    fn another_gpu_than_the_named_one_is_found_out() {
        let report = |nodes: &[&str]| {
            let devices: Vec<Value> = nodes.iter().map(|node| json!({ "path": node })).collect();
            let told = json!({"arguments": [], "directory": "", "devices": devices, "mounts": [], "env": {}, "unexpected": []});
            Report::all(&told.to_string()).remove(0)
        };
        let first = BTreeSet::from(["0".to_owned()]);
        assert!(has(&report(&["/dev/nvidia1"]), &first));
        assert!(!has(&report(&["/dev/nvidia0"]), &first));
        assert!(!has(&report(&["/dev/nvidia0", "/dev/nvidia1"]), &first));
        assert!(has(&report(&["/dev/nvidia0", "/dev/nvidia1"]), &BTreeSet::from(["all".to_owned()])));
        assert!(has(&report(&["/dev/nvidia0"]), &BTreeSet::new()));
        assert!(!has(&report(&["/dev/nvidiactl"]), &BTreeSet::new()));
    }

    #[test]
    fn a_container_asks_unless_its_pod_alone_does() {
        let container = |gpu: &str, env: &str, infra: bool| json!({"Config": {"Annotations": {"io.nvbind.gpu": gpu}, "Env": [env]}, "IsInfra": infra});
        assert!(asks(&container("all", "A=b", false)));
        assert!(!asks(&container("none", "A=b", false)));
        assert!(!asks(&container("all", "NVBIND_DEVICES=void", false)));
        assert!(asks(&container("all", "NVBIND_DEVICES=0", false)));
        assert!(!asks(&container("all", "A=b", true)));
        assert!(!asks(&json!({"Config": {"Annotations": {}}})));
    }
}
