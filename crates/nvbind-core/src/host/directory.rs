//! A directory of a tree, resolved once for everything in it: a driver has some fifty files in two or three of them.

use super::{Error, Tree};
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Room for the names that one getdents64(2) gives.
const NAMES: usize = 16 << 10;

/// A directory of a [`Tree`].
#[derive(Debug)]
pub struct Directory<'t> {
    tree: &'t Tree,
    path: String,
    fd: OwnedFd,
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Tree {
    /// Opens a directory, links followed inside the tree.
    ///
    /// # Errors
    /// When it is not there, may not be reached, or is no directory.
    pub fn directory(&self, path: &str) -> Result<Directory<'_>, Error> {
        let fd = self.open_with(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let path = self.real_path(&fd, path)?;
        Ok(Directory { tree: self, path, fd })
    }
}

impl Directory<'_> {
    /// Its path without links, as seen inside the tree.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The names in it, unsorted, without `.` and `..`; those that are not UTF-8 are left out.
    ///
    /// # Errors
    /// When it may not be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |errno| self.tree.error(&self.path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = Rc::new(openat(&self.fd, ".", flags, Mode::empty()).map_err(failed)?);
        self.tree.note(&self.path, &fd)?;
        let mut buffer = Vec::with_capacity(NAMES);
        let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The path of a file in it, for messages.
    #[must_use]
    pub fn display(&self, name: &str) -> String {
        self.tree.display(&self.path_of(name))
    }

    /// What it is called when a file in it, opened already, cannot be read.
    #[must_use]
    pub fn error(&self, name: &str, source: std::io::Error) -> Error {
        Error { path: self.display(name), source }
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path.trim_end_matches('/'))
    }

    /// Opens a regular file in it for reading, a link followed inside the tree; also gives the path of what is opened,
    /// without links.
    ///
    /// # Errors
    /// As [`Tree::file`].
    pub fn file(&self, name: &str) -> Result<(File, String), Error> {
        let path = self.path_of(name);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::LOOP) => self.tree.resolved_file(&path),
            Err(errno) => Err(self.tree.error(&path, errno)),
            Ok(fd) => Ok((self.tree.regular(fd, &path)?.0, path)),
        }
    }
}
