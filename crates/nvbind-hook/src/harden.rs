//! The first acts: nothing of the caller's process state is relied upon.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::utsname::uname;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::io;

/// `openat2` (5.6) and `mount_setattr` (5.12) are what keeps names inside the container and mounts read-only.
const OLDEST: (u32, u32) = (5, 12);

/// Why the hook does not even start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("Linux {}.{} or newer is needed; this is {release}", OLDEST.0, OLDEST.1)]
    Kernel { release: String },
    #[error("cannot leave the caller's process state")]
    System(#[source] io::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Permission
    }
}

/// Descriptors for the files of a driver, and for the nodes of all IMEX channels that a driver has by default (2,048).
/// With crun the hook has the container's limit, `--ulimit nofile=`.
const DESCRIPTORS: rlim_t = 4096;

/// Makes the process non-dumpable (no ptrace or /proc access from the container's user namespace), sets the umask
/// (crun leaves 0), leaves the working directory, which may be the image's root, and takes the descriptors that it may
/// need.
pub(crate) fn harden() -> Result<(), Error> {
    let failed = |errno: nix::Error| Error::System(errno.into());
    set_dumpable(false).map_err(failed)?;
    umask(Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/").map_err(Error::System)?;
    let (_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if hard < DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).is_ok() {
        return Ok(());
    }
    // Without CAP_SYS_RESOURCE it is what it is; that it is too little shows where it is.
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)
}

/// Sees that the kernel is new enough; a container that asks for nothing starts on any.
pub(crate) fn require_kernel() -> Result<(), Error> {
    let release = uname().map_err(|errno| Error::System(errno.into()))?;
    let release = release.release().to_string_lossy().into_owned();
    if is_new_enough(&release) { Ok(()) } else { Err(Error::Kernel { release }) }
}

/// A release that cannot be read is not held against the kernel.
fn is_new_enough(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_12_are_told_by_their_release() {
        for (release, expected) in [
            ("5.11.22-generic", false),
            ("4.19.0", false),
            ("5.12.0", true),
            ("6.1.0-31-amd64", true),
            ("7", true),
        ] {
            assert_eq!(is_new_enough(release), expected, "{release}");
        }
    }
}
