//! What fuzzing calls of what is private here.

use super::membership::find;
use super::program::lets_all_through;
use super::{DeviceNumber, evaluate, wire};

/// `/proc/PID/cgroup`, and the list of mounts.
pub fn cgroups(cgroups: &str, mounts: &str) {
    if let Some(membership) = find(cgroups, mounts) {
        let depth = membership.depth("id");
        let _ = membership.scope("id");
        let _ = membership.places.iter().map(|place| place.around(depth).count()).max();
    }
}

/// A message of the system's bus.
pub fn message(bytes: &[u8]) {
    let _ = wire::Message::parse(bytes);
    if let Some(prefix) = bytes.first_chunk() {
        let _ = wire::rest(prefix);
    }
}

/// A device program: one that can answer nothing but 1 lets every device through.
///
/// # Panics
/// When it does not.
pub fn program(bytes: &[u8]) {
    let (instructions, _) = bytes.as_chunks();
    let answer = evaluate::allows(instructions, DeviceNumber { major: 195, minor: 0 });
    assert!(answer != Some(false) || !lets_all_through(instructions));
}
