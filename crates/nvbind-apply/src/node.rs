//! One device node.

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Uid, chownat, makedev, mknodat, openat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
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

/// Removes what processes that are no more have left, or one that had this one's number.
fn remove_abandoned(directory: impl AsFd, prefix: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(&directory, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        let process = name.and_then(|name| name.strip_prefix(prefix)?.parse::<i32>().ok());
        let Some(process) = process.and_then(Pid::from_raw) else { continue };
        if process == getpid() || test_kill_process(process) == Err(Errno::SRCH) {
            match unlinkat(&directory, entry.file_name(), AtFlags::empty()) {
                // Another hook has removed it.
                Err(Errno::NOENT) => {}
                removed => removed?,
            }
        }
    }
    Ok(())
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
    let prefix = format!(".{name}.nvbind.");
    remove_abandoned(&directory, &prefix)?;
    let aside = format!("{prefix}{}", std::process::id());
    make(&directory, &aside, number, mode, owner)?;
    renameat_with(&directory, &aside, &directory, name, RenameFlags::NOREPLACE).inspect_err(|_errno| {
        // The first failure is the one to report.
        let _ = unlinkat(&directory, &aside, AtFlags::empty());
    })
}
