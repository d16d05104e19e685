//! Docker, where it is there: whether its containers get GPUs from nvbind.

use super::{Facts, Finding, Fix};
use crate::cdi::{Kind, Registry};
use crate::docker::{self, Needs, daemon_json};
use nvbind_core::message::line;

/// By its version: the way of `--gpus`, and that of devices of CDI.
pub(super) fn docker(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let Some(dockerd) = machine.program(&docker::PATH, "dockerd") else {
        return Finding::skipped("Docker is not there");
    };
    let Some(version) = dockerd.version else {
        return Finding::warn(format!("{} does not tell its version", dockerd.path.display()), None);
    };
    let needs = Needs::of(version);
    let fix = || Fix::as_root(machine, [machine.nvbind.as_str(), "setup", "--docker"]);
    let mut missing = Vec::new();
    match docker::find(&machine.root, needs.link) {
        None => missing.push(format!("`--gpus` needs a link {}", needs.link)),
        Some(path) if !docker::leads_to_nvbind(&path) => {
            return Finding::ok(format!("{version}; `--gpus` is served by NVIDIA's own {}", path.display()));
        }
        Some(path) if !machine.path(path.read_link().unwrap_or_default()).exists() => {
            return Finding::fail(format!("{} leads nowhere", path.display()), fix());
        }
        Some(_) => {}
    }
    if needs.knows_cdi && Registry::read(&machine.root).of(Kind::Nvidia).next().is_none() {
        missing.push("`--device nvidia.com/gpu=…` needs a specification of CDI".to_owned());
    }
    if needs.feature {
        match daemon_json::is_on(&machine.root) {
            Ok(true) => {}
            Ok(false) => {
                missing.push("`--device nvidia.com/gpu=…` needs features.cdi in daemon.json".to_owned())
            }
            Err(error) => return Finding::warn(line(&error), None),
        }
    }
    if missing.is_empty() {
        Finding::ok(format!("{version}, {}", dockerd.path.display()))
    } else {
        Finding::warn(format!("Docker {version} gets no GPUs from nvbind: {}", missing.join("; ")), fix())
    }
}
