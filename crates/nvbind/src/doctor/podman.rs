//! podman and its OCI runtime.

use super::machine::{Machine, Program};
use super::version::Version;
use super::{Facts, Finding, bugs, packages};
use crate::podman::containers_conf::Engine;

/// The oldest podman that nvbind is tried with.
const OLDEST: Version = Version([4, 3, 0]);

/// In the order in which podman looks for its default runtime.
const RUNTIMES: &[&str] = &["crun", "runc"];

/// Where podman looks for them, without regard to `PATH` (`runtimes`, containers.conf(5)).
const RUNTIME_DIRECTORIES: &[&str] = &[
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/sbin",
    "/bin",
    "/run/current-system/sw/bin",
];

/// podman, if it is there.
pub(super) fn find(machine: &Machine) -> Option<Program> {
    machine.program(&machine.search, "podman")
}

/// The runtime that podman would take.
pub(super) fn find_runtime(machine: &Machine, engine: Option<&Engine>) -> Option<Program> {
    runtimes(engine).iter().find_map(|name| machine.program(RUNTIME_DIRECTORIES, name))
}

fn runtimes(engine: Option<&Engine>) -> Vec<&str> {
    let set = engine.and_then(|engine| engine.runtime.as_deref());
    set.map_or_else(|| RUNTIMES.to_vec(), |name| vec![name])
}

pub(super) fn podman(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let Some(podman) = &facts.podman else {
        return Finding::fail("podman is not in PATH", packages::install(machine, "podman"));
    };
    match podman.version {
        None => {
            let path = podman.path.display().to_string();
            let detail = format!("{path} does not tell its version");
            Finding::warn(detail, None)
        }
        Some(version) if version < OLDEST => {
            let detail = format!("{version} is older than {OLDEST}, the oldest that nvbind works with");
            match packages::upgrade(machine, "podman", OLDEST) {
                Ok(fix) => Finding::fail(detail, fix),
                Err(why) => Finding::fail(format!("{detail}; {why}"), None),
            }
        }
        Some(_) => bugs::find(facts, "podman", podman),
    }
}

pub(super) fn runtime(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if let Some(runtime) = &facts.runtime {
        let name = runtime.path.file_name().unwrap_or_default().to_string_lossy();
        return bugs::find(facts, &name, runtime);
    }
    let names = runtimes(facts.engine.as_ref().ok());
    match names.as_slice() {
        [name] if !RUNTIMES.contains(name) && !name.starts_with('/') => {
            Finding::skipped(format!("where {name} is, podman's configuration says (engine.runtimes)"))
        }
        names => {
            let package = names.iter().find(|name| RUNTIMES.contains(name)).unwrap_or(&"crun");
            let detail = format!("{} is not installed", names.join(" or "));
            Finding::fail(detail, packages::install(machine, package))
        }
    }
}
