//! Two starts at the same moment do not choose the same GPU: each locks what it chose until its container runs and can
//! be seen. The kernel gives a lock back when whoever has it ends, however that is, so that none goes stale.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nvbind_core::record::{Directory, claims, user};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd as _;

/// The lock of who is choosing, for as long as that takes.
const CHOOSING: &str = "choosing";

/// Where locks are.
#[derive(Debug)]
pub(super) struct Claims {
    directory: Directory,
    _choosing: File,
}

impl Claims {
    /// Waits until nobody else is choosing.
    pub(super) fn open() -> io::Result<Claims> {
        let user = user().ok_or(io::ErrorKind::Unsupported)?;
        let owner = nix::unistd::geteuid().as_raw();
        let mut places = claims(user).into_iter();
        let open = |place: nvbind_core::record::Place| {
            place.open(owner, |directory, name| mkdirat(directory, name, Mode::from_raw_mode(0o755)))
        };
        let directory = places.find_map(|place| open(place).ok());
        let directory = directory.ok_or_else(|| io::Error::other("there is no directory for its locks"))?;
        let choosing = directory.open_file(CHOOSING, OFlags::CREATE | OFlags::RDWR)?;
        flock(&choosing, FlockOperation::LockExclusive)?;
        Ok(Claims { directory, _choosing: choosing })
    }

    /// Locks what has this name; none where another start has it.
    pub(super) fn take(&self, name: &str) -> io::Result<Option<File>> {
        let file = self.directory.open_file(name, OFlags::CREATE | OFlags::RDWR)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Leaves a lock to the program that takes this process's place, for as long as that runs.
pub(super) fn hand_on(lock: File) -> io::Result<()> {
    fcntl(&lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
    // It is closed when that program ends.
    let _ = lock.into_raw_fd();
    Ok(())
}
