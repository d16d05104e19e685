//! Containers that the guide's commands started and left: those that asked for a GPU have one.

use crate::ended::{Ended, claim};
use crate::podman::Podman;
use crate::stand_in::{Report, has_smi};
use serde_json::Value;
use std::collections::BTreeSet;

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
            if !asks(container) || !has_started(container) {
                continue;
            }
            let start = text(container, "/State/StartedAt").to_owned();
            if self.seen.insert((id.to_owned(), start)) {
                self.claim_sees(id, text(container, "/State/Status") == "running")?;
                found += 1;
            }
        }
        Ok(found)
    }

    fn claim_sees(&self, id: &str, is_running: bool) -> Result<(), Ended> {
        if is_running {
            let said = self.podman.run(&["exec", id, "nvbind-probe"])?;
            let sees = said.code == 0 && Report::all(&said.out).iter().any(Report::has_gpu);
            return claim(sees, "a container that asks for a GPU has none", || said.told());
        }
        let said = self.podman.run(&["logs", id])?;
        let reports = Report::all(&said.out);
        let works = reports.iter().any(|report| report.has_gpu() && report.unexpected.is_empty());
        claim(works || has_smi(&said.out), "a container that asked for a GPU had none", || said.told())
    }
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
