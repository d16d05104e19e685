//! The namespaces of this process and of the container.

use crate::error::Error;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use nvbind_core::trust::PROC_USER_INIT_INO;
use rustix::fs::{Mode, OFlags, fstat, open};
use std::os::fd::OwnedFd;

/// Whether this process is in another user namespace than the initial one: rootless Podman, or a container.
///
/// # Errors
/// When `/proc/self/ns/user` cannot be read.
pub fn in_user_namespace() -> Result<bool, Error> {
    Ok(identity(&open_namespace("self", "user")?)?.1 != PROC_USER_INIT_INO)
}

/// The namespaces of a container that has not started its program yet.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The user namespace, if it is another one than this process's.
    user: Option<OwnedFd>,
    mount: OwnedFd,
    /// Whether the container's is another user namespace than the initial one.
    pub(crate) is_user_namespace: bool,
}

impl Namespaces {
    /// Opens those of a process.
    pub(crate) fn of(pid: i32) -> Result<Namespaces, Error> {
        let process = pid.to_string();
        let (user, mount) = match (open_namespace(&process, "user"), open_namespace(&process, "mnt")) {
            (Err(error), _) | (_, Err(error)) if error.is_not_found() => return Err(Error::Gone { pid }),
            (user, mount) => (user?, mount?),
        };
        // Nothing attached in the host's own namespace would go with the container.
        if identity(&mount)? == identity(&open_namespace("self", "mnt")?)? {
            return Err(Error::NotIsolated);
        }
        let theirs = identity(&user)?;
        let user = (theirs != identity(&open_namespace("self", "user")?)?).then_some(user);
        Ok(Namespaces { user, mount, is_user_namespace: theirs.1 != PROC_USER_INIT_INO })
    }

    /// Joins the user namespace, if it is another one, and then the mount namespace. In this order: a node in the
    /// container's /dev is created by a user that is mapped there, or not at all (EOVERFLOW).
    pub(crate) fn join(self) -> Result<(), Error> {
        if let Some(user) = &self.user {
            become_root_of(user)?;
        }
        setns(&self.mount, CloneFlags::CLONE_NEWNS)
            .map_err(|errno| Error::system("join the container's mount namespace", errno))
    }
}

fn become_root_of(user: &OwnedFd) -> Result<(), Error> {
    let join = |errno| Error::system("join the container's user namespace", errno);
    setns(user, CloneFlags::CLONE_NEWUSER).map_err(join)?;
    // Denied in namespaces of an unprivileged user (user_namespaces(7)); the groups are not used then.
    if let Err(errno) = setgroups(&[]) {
        log::debug!("cannot drop the supplementary groups: {errno}");
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).map_err(join)?;
    setresuid(uid, uid, uid).map_err(join)
}

fn open_namespace(process: impl AsRef<str>, kind: &str) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{}/ns/{kind}", process.as_ref());
    open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system(format!("open {path}"), errno))
}

fn identity(namespace: &OwnedFd) -> Result<(u64, u64), Error> {
    let stat = fstat(namespace).map_err(|errno| Error::system("tell namespaces apart", errno))?;
    Ok((stat.st_dev, stat.st_ino))
}
