//! What fuzzing calls of what is private here.

use crate::{cgroup, loader, mountinfo};

/// `/proc/PID/cgroup`, and the list of mounts.
pub fn cgroups(cgroups: &str, mounts: &str) {
    let _ = mountinfo::mounts(mounts).map(|mount| mount.id).max();
    cgroup::fuzzing::membership(cgroups, mounts);
}

/// A message of the system's bus.
pub fn message(bytes: &[u8]) {
    cgroup::fuzzing::message(bytes);
}

/// A device program.
pub fn program(bytes: &[u8]) {
    cgroup::fuzzing::program(bytes);
}

/// Files of an image that its loaders read: musl's path file, and `ld.so.conf`.
pub fn loaders(bytes: &[u8]) {
    loader::fuzzing::paths(bytes);
}
