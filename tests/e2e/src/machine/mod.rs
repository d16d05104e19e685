//! What only a machine with a kernel of its own shows, and which of the other cases run there too: a container's start
//! takes a second or two under the emulator.

mod apparmor;
mod boot;
mod limits;
mod selinux;
mod udev;

use crate::case::Case;
use crate::containers::{matrix, update};
use crate::devices::cgroups;
use crate::services::{quadlet, units};
pub(super) use boot::await_boot;
pub use boot::before_boot;
use nvbind_lanes::spec::Security;

/// Cases, and with whom they run.
type Group = (&'static [&'static str], &'static [Case]);

const ALL: &[&str] = &["crun/rootful", "crun/rootless", "runc/rootful", "runc/rootless"];
const CRUN: &[&str] = &["crun/rootful", "crun/rootless"];
const ROOTFUL: &[&str] = &["crun/rootful", "runc/rootful"];
const ROOTLESS: &[&str] = &["crun/rootless", "runc/rootless"];

/// Cells of the matrix, last: what the boot started has been stopped, and comes to no case's mount table. In a
/// privileged container podman itself has all nodes of the machine's `/dev`, those of the other GPU among them, which
/// is what those cells show not to be there.
const PLAIN: &[Case] = &[matrix::PLAIN];
const READ_ONLY_IN_RANGE: &[Case] = &[matrix::READ_ONLY_IN_RANGE];

/// The cases on one kind of machine.
pub(super) fn cases(security: Security) -> &'static [Group] {
    match security {
        Security::AppArmor => &[
            (CRUN, boot::CASES),
            (&["crun/rootful"], udev::CASES),
            (ALL, apparmor::CASES),
            (CRUN, limits::CASES),
            (ROOTFUL, &[update::WITH_RULES]),
            (ROOTLESS, limits::UPDATES),
            (CRUN, &[quadlet::EXAMPLE_RUNS]),
            (&["crun/rootful"], &[quadlet::SERVICE, cgroups::DAEMON_RELOAD]),
            (&["crun/rootless"], &[units::OF_USER_RUNS]),
            (ALL, PLAIN),
            (&["crun/rootful"], READ_ONLY_IN_RANGE),
        ],
        Security::SeLinux => &[
            (CRUN, boot::CASES),
            (&["crun/rootful"], udev::CASES),
            (ALL, selinux::CASES),
            (CRUN, selinux::TYPES),
            (&["crun/rootful"], selinux::AT_LAST),
            // Where nodes are bound, as in a user namespace, they keep their labels: those cases are SELinux's own.
            (ROOTFUL, PLAIN),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_and_runtimes_of_a_machine_are_those_of_the_matrix() {
        for security in [Security::AppArmor, Security::SeLinux] {
            for name in cases(security).iter().flat_map(|(podmans, _)| podmans.iter()) {
                assert!(matrix::podmans().any(|podman| podman.name() == *name), "{name}");
            }
        }
    }
}
