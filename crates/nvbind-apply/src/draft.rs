//! A file of the container that is written first and put in place later: all are written before the first one
//! replaces anything of the image, so that a full disk changes nothing.

use crate::error::Error;
use crate::rootfs::{Directory, Rootfs};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// A file written beside the one whose place it takes; removed again when it is dropped before.
#[derive(Debug)]
pub(crate) struct Draft {
    directory: OwnedFd,
    name: &'static str,
    /// Whether nothing has its place: what is taken for new is removed when a later step fails.
    is_new: bool,
    is_placed: bool,
}

impl Draft {
    /// Writes the content.
    pub(crate) fn write(directory: &Directory, name: &'static str, content: &[u8]) -> Result<Draft, Error> {
        let failed = |error: std::io::Error| Error::system(format!("write {name} in the container"), error);
        let is_new = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => true,
            found => found.map(|_stat| false).map_err(|errno| failed(errno.into()))?,
        };
        let draft = Draft {
            directory: directory.as_fd().try_clone_to_owned().map_err(failed)?,
            name,
            is_new,
            is_placed: false,
        };
        let temporary = draft.temporary();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(directory, &*temporary, flags, Mode::from_raw_mode(0o644));
        let file: OwnedFd = match open() {
            // Left by a start that was killed.
            Err(Errno::EXIST) => unlinkat(directory, &*temporary, AtFlags::empty()).and_then(|()| open()),
            other => other,
        }
        .map_err(|errno| failed(errno.into()))?;
        std::fs::File::from(file).write_all(content).map_err(failed)?;
        Ok(draft)
    }

    /// Puts the file in place by a rename: a reader sees the old one or the new one, and a link of the image is
    /// replaced, not followed.
    pub(crate) fn place(mut self, rootfs: &Rootfs) -> Result<(), Error> {
        let (directory, name) = (&self.directory, self.name);
        renameat(directory, self.temporary(), directory, name)
            .map_err(|errno| Error::system(format!("write {name} in the container"), errno))?;
        if self.is_new {
            rootfs.record(|journal| journal.file(directory, name));
        }
        self.is_placed = true;
        Ok(())
    }

    fn temporary(&self) -> String {
        format!(".{}.nvbind", self.name)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_placed {
            // What it was dropped for is what to tell.
            let _ = unlinkat(&self.directory, self.temporary(), AtFlags::empty());
        }
    }
}
