//! A file of the container that is written first and put in place later: all are written before the first one
//! replaces anything of the image, so that a full disk changes nothing.

use crate::error::Error;
use crate::rootfs::{Directory, Rootfs};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// What a file cannot take the place of.
const DIRECTORY: &str = "a directory";
const MOUNT: &str = "a mount of its own";

/// A file written beside the one whose place it takes; removed again when it is dropped before.
#[derive(Debug)]
pub(crate) struct Draft {
    directory: Rc<OwnedFd>,
    name: &'static str,
    /// Whether nothing stands in its place: looked at before anything is replaced.
    is_new: bool,
    is_placed: bool,
}

impl Draft {
    /// Writes the content.
    pub(crate) fn write(directory: &Directory, name: &'static str, content: &[u8]) -> Result<Draft, Error> {
        let failed = |error: std::io::Error| Error::system(format!("write {name} in the container"), error);
        let taken = |name: &str, what| Error::NoFile { path: directory.path_of(name), what };
        let stands = find_type(directory, name)?;
        if stands == Some(FileType::Directory) {
            return Err(taken(name, DIRECTORY));
        }
        let temporary = temporary(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(directory, &*temporary, flags, Mode::from_raw_mode(0o644));
        let file: OwnedFd = match open() {
            Err(Errno::EXIST) if find_type(directory, &temporary)? == Some(FileType::Directory) => {
                return Err(taken(&temporary, DIRECTORY));
            }
            // Left by a start that was killed.
            Err(Errno::EXIST) => match unlinkat(directory, &*temporary, AtFlags::empty()) {
                Err(Errno::BUSY) => return Err(taken(&temporary, MOUNT)),
                removed => removed.and_then(|()| open()),
            },
            other => other,
        }
        .map_err(|errno| failed(errno.into()))?;
        let draft = Draft { directory: directory.share(), name, is_new: stands.is_none(), is_placed: false };
        std::fs::File::from(file).write_all(content).map_err(failed)?;
        Ok(draft)
    }

    /// Puts the file in place by a rename: a reader sees the old one or the new one, and a link of the image is
    /// replaced, not followed.
    pub(crate) fn place(mut self, rootfs: &Rootfs) -> Result<(), Error> {
        let (directory, name) = (&self.directory, self.name);
        renameat(directory, temporary(self.name), directory, name)
            .map_err(|errno| Error::system(format!("write {name} in the container"), errno))?;
        if self.is_new {
            rootfs.record(|journal| journal.file(Rc::clone(directory), name));
        }
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_placed {
            // What it was dropped for is what to tell.
            let _ = unlinkat(&self.directory, temporary(self.name), AtFlags::empty());
        }
    }
}

/// What stands at a name, which is not followed.
fn find_type(directory: impl AsFd, name: &str) -> Result<Option<FileType>, Error> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::system(format!("look at {name} in the container"), errno)),
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
    }
}

/// The name under which a file is written before it takes its place.
fn temporary(name: &str) -> String {
    format!(".{name}.nvbind")
}
