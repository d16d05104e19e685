//! What only a machine with a kernel of its own shows, and which of the other cases run there too: a container's start takes a
//! second or two under the emulator.

mod apparmor;
mod boot;
mod limits;
mod selinux;
mod udev;

use super::{Function, cgroups, quadlet, services, update};
use crate::lanes::spec::Security;

pub(super) use boot::await_boot;
pub(crate) use boot::before_boot;

/// The cells of the matrix on one kind of machine. In a privileged container podman itself has all nodes of the machine's `/dev`,
/// those of the other GPU among them, which is what those cells show not to be there.
pub(super) fn cells(security: Security) -> &'static [&'static str] {
    match security {
        Security::AppArmor => &[
            "crun/rootful/default/plain",
            "crun/rootful/auto/read-only",
            "crun/rootless/default/plain",
            "runc/rootful/default/plain",
            "runc/rootless/default/plain",
        ],
        // Where nodes are bound, as in a user namespace, they keep their labels: those cases are SELinux's own.
        Security::SeLinux => &["crun/rootful/default/plain", "runc/rootful/default/plain"],
    }
}

/// Cases, and with whom they run.
type Group = (&'static [&'static str], &'static [(&'static str, Function)]);

const ALL: &[&str] = &["crun/rootful", "crun/rootless", "runc/rootful", "runc/rootless"];
const CRUN: &[&str] = &["crun/rootful", "crun/rootless"];
const ROOTFUL: &[&str] = &["crun/rootful", "runc/rootful"];
const ROOTLESS: &[&str] = &["crun/rootless", "runc/rootless"];

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
            (&["crun/rootless"], &[services::OF_USER_RUNS]),
        ],
        Security::SeLinux => &[
            (CRUN, boot::CASES),
            (&["crun/rootful"], udev::CASES),
            (ALL, selinux::CASES),
            (CRUN, selinux::TYPES),
            (&["crun/rootful"], selinux::AT_LAST),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e2e::matrix;

    #[test]
    fn a_machine_runs_cells_users_and_runtimes_of_the_matrix() {
        let all: Vec<String> = matrix::cells().iter().map(matrix::Cell::name).collect();
        for security in [Security::AppArmor, Security::SeLinux] {
            for name in cells(security) {
                assert!(all.iter().any(|cell| cell == name), "{name}");
            }
            for name in cases(security).iter().flat_map(|(podmans, _)| podmans.iter()) {
                assert!(matrix::podmans().any(|podman| podman.name() == *name), "{name}");
            }
        }
    }
}
