//! One device node.

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, RenameFlags, Uid, chownat, makedev, mknodat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Makes a character device with exactly these permissions and this owner (user, group). One that cannot be given to
/// its owner is not left behind.
pub(crate) fn make(
    directory: impl AsFd,
    name: &str,
    (major, minor): (u32, u32),
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<(), Errno> {
    // mknod(2) would take the umask's bits from the permissions.
    let umask = rustix::process::umask(Mode::empty());
    let mode = Mode::from_raw_mode(mode);
    let made = mknodat(&directory, name, FileType::CharacterDevice, mode, makedev(major, minor));
    rustix::process::umask(umask);
    made?;
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    chownat(&directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).inspect_err(|_errno| {
        // The first failure is the one to report.
        let _ = unlinkat(&directory, name, AtFlags::empty());
    })
}

/// The same for a node that others may use as soon as it has its name: it is made aside and renamed when it is
/// complete, so that nobody meets one with another owner or mode, also not where this process is killed in between.
/// What already has the name stays.
pub(crate) fn make_whole(
    directory: impl AsFd,
    name: &str,
    number: (u32, u32),
    mode: u32,
    owner: (u32, u32),
) -> Result<(), Errno> {
    // Of this process only: two may make the same node at the same time.
    let aside = format!(".{name}.nvbind.{}", std::process::id());
    match make(&directory, &aside, number, mode, owner) {
        // Left by a process of this number that was killed.
        Err(Errno::EXIST) => {
            unlinkat(&directory, &aside, AtFlags::empty())?;
            make(&directory, &aside, number, mode, owner)?;
        }
        made => made?,
    }
    renameat_with(&directory, &aside, &directory, name, RenameFlags::NOREPLACE).inspect_err(|_errno| {
        // The first failure is the one to report.
        let _ = unlinkat(&directory, &aside, AtFlags::empty());
    })
}
