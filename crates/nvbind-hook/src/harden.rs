//! The first acts: nothing of the caller's process state is relied upon.

use nix::fcntl::{OFlag, open};
use nix::sys::prctl::set_dumpable;
use nix::sys::stat::{Mode, umask};
use std::io::Error;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What the caller's process state tells before it is left.
#[derive(Debug)]
pub(crate) struct Start {
    /// The working directory: runc's createContainer hooks start in the root filesystem, crun's in the bundle.
    pub(crate) directory: Option<OwnedFd>,
}

/// Makes the process non-dumpable (no ptrace or /proc access from the container's user namespace), sets the umask
/// (crun leaves 0) and leaves the working directory.
pub(crate) fn harden() -> Result<Start, Error> {
    set_dumpable(false)?;
    umask(Mode::from_bits_truncate(0o022));
    // Not enterable with a user namespace of the container's; then nothing there can be used either.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(Path::new("."), flags, Mode::empty()).ok();
    std::env::set_current_dir("/")?;
    Ok(Start { directory })
}
