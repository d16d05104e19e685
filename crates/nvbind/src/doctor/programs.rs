//! The programs that start containers, where podman would find them.

use super::subject::{Machine, Program};
use crate::podman::containers_conf::Engine;

/// In the order in which podman looks for its default runtime.
pub(super) const RUNTIMES: &[&str] = &["crun", "runc"];

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
pub(super) fn find_podman(machine: &Machine) -> Option<Program> {
    machine.program(&machine.search, "podman")
}

/// The runtime that podman would take.
pub(super) fn find_runtime(machine: &Machine, engine: Option<&Engine>) -> Option<Program> {
    runtimes(engine).iter().find_map(|name| machine.program(RUNTIME_DIRECTORIES, name))
}

/// The names of the runtimes that podman would take, the first first.
pub(super) fn runtimes(engine: Option<&Engine>) -> Vec<&str> {
    let set = engine.and_then(|engine| engine.runtime.as_deref());
    set.map_or_else(|| RUNTIMES.to_vec(), |name| vec![name])
}
