//! What can stop a plan from being carried out.

use crate::cgroup;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::isolation::{self, Seen};
use nvbind_core::node_access::{Needed, other_remedy};
use rustix::io::Errno;
use std::path::PathBuf;

/// A failure, in terms of what its reader can act on.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the driver cannot be opened.
    #[error("cannot use {path} of the driver")]
    Source { path: String, source: std::io::Error },
    /// A file of the driver went away after it was read.
    #[error(
        "{path} went away while the container started: the driver is being changed; start it again when the driver's installation is finished"
    )]
    Replaced { path: String },
    /// A device node that the driver's user-space tools should have made.
    #[error("{path} is not there; {remedy}")]
    NoNode { path: String, remedy: &'static str },
    /// A node that nobody in a container with a user namespace can open.
    #[error("{path} is for its owner and group alone ({mode:04o}); {}", group_hint(path, *keeps_groups))]
    GroupOnly { path: String, mode: u32, keeps_groups: bool },
    /// The same, and not even its group.
    #[error("nobody but its owner can {} {path} ({mode:04o}); {}", needed.words(), other_remedy(path))]
    OwnerOnly { path: String, mode: u32, needed: Needed },
    /// A node that is something else than the driver says.
    #[error("{path} is not the character device {major}:{minor}; remove it, and {remedy}")]
    WrongNode { path: String, major: u32, minor: u32, remedy: &'static str },
    /// A file that somebody else than root could have put there.
    #[error("{path} is not root's alone to write and everybody's to read; it is not put into a container")]
    Untrusted { path: String },
    /// A socket or a directory of a daemon that somebody else could have put there.
    #[error("{path} is not {what}; it is not put into a container")]
    Replaceable { path: String, what: &'static str },
    /// Something the kernel did not let us do, or could not.
    #[error("cannot {action}")]
    System { action: String, source: std::io::Error },
    /// The runtime named a process that is not there.
    #[error("the container's process {pid} is gone; was the container killed while it started?")]
    Gone { pid: i32 },
    /// The container's process shares the host's mounts.
    #[error("the container has no mount namespace of its own; nothing was injected")]
    NotIsolated,
    /// The root filesystem is not there.
    #[error("the root filesystem {path:?} cannot be opened")]
    NoRootfs { path: PathBuf, source: std::io::Error },
    /// The root filesystem is not the container's.
    #[error("the root filesystem {path:?} is refused: {why}")]
    Rootfs { path: PathBuf, why: &'static str },
    /// A directory of the container leads out of it.
    #[error(
        "{path} in the container's root filesystem is a link to {target:?}, which is not inside it; nothing was injected"
    )]
    Escape { path: String, target: String },
    /// Something else stands where a device node has to be.
    #[error(
        "{path} in the container is something else than the device {major}:{minor}; nothing was injected"
    )]
    Occupied { path: String, major: u32, minor: u32 },
    /// Something stands where a file has to be written, and cannot be replaced.
    #[error("{path} in the container is {what}, where nvbind has to write a file; remove it")]
    NoFile { path: String, what: &'static str },
    /// No directory of the container can take it.
    #[error("no place in the container for {what}: {why}")]
    NoPlace { what: String, why: &'static str },
    /// An isolated container that is not.
    #[error(transparent)]
    Seen(#[from] Seen),
    /// What would show an isolated container more cannot be looked at.
    #[error(transparent)]
    Isolation(#[from] isolation::Error),
    /// The device cgroup could not be changed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// At stage createContainer the device cgroup cannot be changed.
    #[error(
        "the container may not use {path}: at stage createContainer the device has to be allowed in linux.resources.devices already; use stage prestart"
    )]
    NotAllowed { path: String },
}

impl Error {
    /// A failed action; takes rustix's and nix's errors.
    pub(crate) fn system(action: impl Into<String>, errno: impl Into<std::io::Error>) -> Error {
        Error::System { action: action.into(), source: errno.into() }
    }

    /// Whether the kernel did not let us.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Error::System { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
    }

    /// Whether the kernel said that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::System { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Gone { .. } | Error::Seen(_) => Exit::Request,
            Error::Isolation(error) => error.exit(),
            Error::Source { source, .. } | Error::NoRootfs { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            // The disk is full or read-only: no permission would help.
            Error::System { source, .. } if is_storage_failure(source) => Exit::Rootfs,
            Error::Source { .. }
            | Error::Replaced { .. }
            | Error::NoNode { .. }
            | Error::WrongNode { .. } => Exit::Driver,
            Error::GroupOnly { .. }
            | Error::OwnerOnly { .. }
            | Error::Untrusted { .. }
            | Error::Replaceable { .. }
            | Error::NotAllowed { .. }
            | Error::Cgroup(_)
            | Error::System { .. } => Exit::Permission,
            Error::NotIsolated
            | Error::NoRootfs { .. }
            | Error::Rootfs { .. }
            | Error::Escape { .. }
            | Error::Occupied { .. }
            | Error::NoFile { .. }
            | Error::NoPlace { .. } => Exit::Rootfs,
        }
    }

    fn hint(&self) -> Option<String> {
        let (Error::System { source, .. } | Error::Source { source, .. }) = self else { return None };
        let is_limit = source.raw_os_error() == Some(Errno::MFILE.raw_os_error());
        let remedy = "raise the limit of open files: with crun it is the container's, `--ulimit nofile=4096`";
        is_limit.then(|| remedy.to_owned())
    }
}

/// How a container comes to use a node of mode 0660.
fn group_hint(path: &str, keeps_groups: bool) -> String {
    let group = if keeps_groups {
        "you are not in that group: join it, or"
    } else {
        "rootless, start with crun and `--group-add keep-groups` if you are in that group; else"
    };
    format!("{group} {}", other_remedy(path))
}

fn is_storage_failure(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    [StorageFull, QuotaExceeded, ReadOnlyFilesystem].contains(&error.kind())
}
