//! What only a machine with a kernel of its own shows, and which of the other cases run there too: a container's start takes a
//! second or two under the emulator.

mod apparmor;
mod boot;
mod limits;
mod selinux;
mod udev;

use super::ended::Ended;
use super::lane::Lane;
use super::{Function, cgroups, quadlet, services, update};
use crate::lanes::spec::Security;

pub(super) use boot::await_boot;
pub(crate) use boot::before_boot;

/// The cells of the matrix. In a privileged container podman itself has all nodes of the machine's `/dev`, those of the other GPU
/// among them, which is what those cells show not to be there.
pub(super) const CELLS: &[&str] = &[
    "crun/rootful/default/plain",
    "crun/rootful/auto/read-only",
    "crun/rootless/default/plain",
    "crun/rootless/keep-id/no-caps",
    "runc/rootful/default/plain",
    "runc/rootless/default/plain",
];

/// The cases, each with every user and runtime.
pub(super) const CASES: &[&[(&str, Function)]] = &[
    boot::CASES,
    udev::CASES,
    limits::CASES,
    apparmor::CASES,
    quadlet::CASES,
    services::CASES,
    update::CASES,
    &[cgroups::DAEMON_RELOAD],
];

/// There are cases for one kind of machine alone.
fn needs(lane: &Lane, security: Security) -> Result<(), Ended> {
    let is_it = lane.spec.machine.as_ref().is_some_and(|machine| machine.security == security);
    if is_it { Ok(()) } else { Err(Ended::NoSuchCase) }
}
