//! podman and its OCI runtime.

use super::programs::{RUNTIMES, runtimes};
use super::{Facts, Finding, bugs, packages};
use crate::version::Version;

/// The oldest podman that nvbind is tried with.
const OLDEST: Version = Version([4, 3, 0]);

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
