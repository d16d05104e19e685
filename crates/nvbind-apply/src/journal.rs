//! What was created in the container's root filesystem, to take it back when a later step fails.
//!
//! Mounts would die with the container's mount namespace. They are taken back all the same: what is below them could
//! not be removed otherwise, and who looks into a container that does not start sees the image's own files.

use rustix::fs::{AtFlags, unlinkat};
use rustix::mount::{UnmountFlags, unmount};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

#[derive(Debug)]
enum Entry {
    Mount(Rc<OwnedFd>),
    Directory(Rc<OwnedFd>, String),
    File(Rc<OwnedFd>, String),
}

/// Entries in the order in which they were made. Descriptors are shared with those who made them: a container can have
/// a thousand nodes in one directory, and few descriptors.
#[derive(Debug, Default)]
pub(crate) struct Journal(Vec<Entry>);

impl Journal {
    /// Records a mount, by a descriptor on it; what lies below it goes with it.
    pub(crate) fn mounted(&mut self, mount: Rc<OwnedFd>) {
        self.0.push(Entry::Mount(mount));
    }

    /// Records a new directory.
    pub(crate) fn directory(&mut self, parent: Rc<OwnedFd>, name: &str) {
        self.0.push(Entry::Directory(parent, name.to_owned()));
    }

    /// Records a new file, link or device node.
    pub(crate) fn file(&mut self, parent: Rc<OwnedFd>, name: &str) {
        self.0.push(Entry::File(parent, name.to_owned()));
    }

    /// Takes everything back, the newest first; goes on where one cannot be.
    pub(crate) fn undo(self) {
        for entry in self.0.into_iter().rev() {
            let result = match &entry {
                Entry::Mount(mount) => {
                    unmount(format!("/proc/self/fd/{}", mount.as_raw_fd()), UnmountFlags::DETACH)
                }
                Entry::Directory(parent, name) => unlinkat(parent, name, AtFlags::REMOVEDIR),
                Entry::File(parent, name) => unlinkat(parent, name, AtFlags::empty()),
            };
            if let Err(errno) = result {
                log::warn!("cannot take back {entry:?}: {errno}");
            }
        }
    }
}
