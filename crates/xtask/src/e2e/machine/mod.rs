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
            "crun/rootless/keep-id/no-caps",
            "runc/rootful/default/plain",
            "runc/rootless/default/plain",
        ],
        // Where nodes are bound, as in a user namespace, they keep their labels: those cases are below.
        Security::SeLinux => &["crun/rootful/default/plain", "runc/rootful/default/plain"],
    }
}

/// The cases on one kind of machine, each with every user and runtime.
pub(super) fn cases(security: Security) -> &'static [&'static [(&'static str, Function)]] {
    match security {
        Security::AppArmor => &[
            boot::CASES,
            udev::CASES,
            limits::CASES,
            apparmor::CASES,
            quadlet::CASES,
            services::CASES,
            update::CASES,
            &[cgroups::DAEMON_RELOAD],
        ],
        Security::SeLinux => &[boot::CASES, udev::CASES, selinux::CASES],
    }
}
