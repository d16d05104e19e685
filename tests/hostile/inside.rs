//! A container's files as its programs reach them: every link is followed inside its root.

use crate::world::World;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

pub(crate) struct Inside(OwnedFd);

/// Something in the container.
pub(crate) struct Found(OwnedFd);

impl Inside {
    pub(crate) fn of(world: &World) -> Inside {
        Inside(open(&world.inside(""), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap())
    }

    pub(crate) fn open(&self, path: &str) -> Option<Found> {
        let how = OpenHow::new().flags(OFlag::O_PATH).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        loop {
            match openat2(&self.0, path, how) {
                // Another test has mounted something on the way.
                Err(Errno::EAGAIN) => {}
                other => return other.ok().map(Found),
            }
        }
    }

    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.open(path)?.path()).ok()
    }
}

impl Found {
    /// A path by which this process has it, for as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    pub(crate) fn metadata(&self) -> fs::Metadata {
        fs::metadata(self.path()).unwrap()
    }
}
