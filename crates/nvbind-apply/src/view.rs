//! The driver view in the container: one tmpfs with the driver's files, read-only when complete.

use crate::error::Error;
use crate::mount;
use crate::rootfs::{Closed, Directory, Missing, Rootfs};
use crate::sources::Sources;
use nvbind_core::host::open_inside;
use nvbind_core::plan::{Entry, VIEWS, View, ViewPath};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// An attached view that can still be written to.
#[derive(Debug)]
pub(crate) struct ViewMount {
    mount: Rc<OwnedFd>,
    directories: BTreeMap<String, OwnedFd>,
}

/// Directories of the host that the container can write to, with the places where they are attached once the view is
/// sealed: that would make them read-only.
#[derive(Debug)]
#[must_use]
pub(crate) struct SharedDirectories<'p>(Vec<(&'p ViewPath, &'p OwnedFd, OwnedFd)>);

impl SharedDirectories<'_> {
    /// Attaches them at their places.
    pub(crate) fn attach(self) -> Result<(), Error> {
        self.0.into_iter().try_for_each(|(path, mount, directory)| {
            mount::attach(mount, &directory, "").map_err(|errno| cannot_put(path, errno))
        })
    }
}

fn cannot_put(path: impl std::fmt::Display, errno: Errno) -> Error {
    Error::system(format!("put {path} into the driver view"), errno)
}

/// The first place in the container where a view can stand: an empty directory, or none yet, that is not on a volume.
pub(crate) fn choose(rootfs: &Rootfs) -> Result<(&'static str, Directory), Error> {
    for path in VIEWS {
        let Some(directory) = rootfs.open_directory(path, Missing::Create)? else { continue };
        // Mounting changes nothing below, but a volume's own content is not to be hidden.
        if directory.closed != Some(Closed::Volume) && directory.is_empty()? {
            return Ok((path, directory));
        }
        log::info!("{path} in the container is not empty or a volume; the driver goes elsewhere");
    }
    let why = "/usr/local/nvidia, /run/nvbind and /dev/nvbind are all taken by the image or by volumes";
    Err(Error::NoPlace { what: "the driver's files".to_owned(), why })
}

impl ViewMount {
    /// Mounts an empty view on a directory of the container.
    pub(crate) fn attach(
        rootfs: &Rootfs,
        directory: &Directory,
        context: Option<&str>,
    ) -> Result<ViewMount, Error> {
        let failed = |errno: Errno| Error::system("mount the driver view in the container", errno);
        let mount = mount::tmpfs(context).map_err(failed)?;
        mount::attach(&mount, directory, "").map_err(failed)?;
        let mount = Rc::new(mount);
        rootfs.record(|journal| journal.mounted(Rc::clone(&mount)));
        Ok(ViewMount { mount, directories: BTreeMap::new() })
    }

    /// Puts everything at its place, but for the shared directories, which come last.
    pub(crate) fn fill<'p>(
        &mut self,
        view: &'p View,
        sources: &'p Sources<'_>,
    ) -> Result<SharedDirectories<'p>, Error> {
        let mut shared = Vec::new();
        for (path, entry) in view.iter() {
            match entry {
                Entry::File { host, .. } => self.bind(path, host, sources.get(path)?)?,
                Entry::Socket { host, .. } => {
                    // One that went away has no source.
                    if let Some(mount) = sources.find(path) {
                        self.bind(path, host, mount)?;
                    }
                }
                Entry::Shared { .. } => {
                    shared.push((path, sources.get(path)?, self.make_directory(path.as_str())?));
                }
                Entry::Text { text, .. } => self.write(path.as_str(), text.as_bytes())?,
                Entry::Link { target } => self.link(path.as_str(), target)?,
            }
        }
        Ok(SharedDirectories(shared))
    }

    /// Puts a file or a socket of the host at its place.
    fn bind(&mut self, path: &ViewPath, host: &str, mount: &OwnedFd) -> Result<(), Error> {
        let failed = |errno| cannot_put(path, errno);
        let (directory, name) = self.place(path.as_str())?;
        // A mount point takes one call less to make than to open.
        let mode = Mode::from_raw_mode(0o444);
        mknodat(directory, name, FileType::RegularFile, mode, 0).map_err(failed)?;
        match mount::attach(mount, directory, name) {
            // The kernel attaches nothing that was removed since it was cloned.
            Err(Errno::NOENT) => Err(Error::Replaced { path: host.to_owned() }),
            attached => attached.map_err(failed),
        }
    }

    /// Puts a directory at its place.
    pub(crate) fn bind_directory(&mut self, path: &str, mount: &OwnedFd) -> Result<(), Error> {
        let failed = |errno| cannot_put(path, errno);
        let (directory, name) = self.place(path)?;
        mkdirat(directory, name, Mode::from_raw_mode(0o555)).map_err(failed)?;
        mount::attach(mount, directory, name).map_err(failed)
    }

    /// An empty directory to attach something to when the view is sealed.
    fn make_directory(&mut self, path: &str) -> Result<OwnedFd, Error> {
        let failed = |errno| Error::system(format!("create {path} in the driver view"), errno);
        let (directory, name) = self.place(path)?;
        mkdirat(directory, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(directory, name, flags, Mode::empty()).map_err(failed)
    }

    fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let (directory, name) = self.place(path)?;
        symlinkat(target, directory, name)
            .map_err(|errno| Error::system(format!("link {path} in the driver view"), errno))
    }

    /// Writes a file of our own.
    pub(crate) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::system(format!("write {path} in the driver view"), errno);
        let (directory, name) = self.place(path)?;
        let file = create_file(directory, name).map_err(failed)?;
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).map_err(failed)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// A detached, read-only mount of a file of the view, the view's own links followed.
    pub(crate) fn clone_file(&self, path: &str) -> Result<OwnedFd, Error> {
        let failed = |errno| Error::system(format!("open {path} in the driver view"), errno);
        let file = open_inside(&self.mount, path, OFlags::PATH).map_err(failed)?;
        mount::clone_detached(&file, mount::FILE).map_err(failed)
    }

    /// A detached mount of a directory of the view, with all that is mounted in it.
    pub(crate) fn clone_tree(&self, path: &str) -> Result<OwnedFd, Error> {
        let failed = |errno| Error::system(format!("open {path} in the driver view"), errno);
        mount::clone_tree_in(&self.mount, path).map_err(failed)
    }

    /// Makes it and every file in it read-only, nosuid, nodev and private: a later ldconfig inside cannot relink it.
    pub(crate) fn seal(&self) -> Result<(), Error> {
        mount::set_attributes_below(&self.mount, mount::FILE)
            .map_err(|errno| Error::system("make the driver view read-only", errno))
    }

    /// The directory of a path below the view, made when needed, and the last name.
    fn place<'p>(&mut self, path: &'p str) -> Result<(BorrowedFd<'_>, &'p str), Error> {
        let Some((directory, name)) = path.rsplit_once('/') else { return Ok((self.mount.as_fd(), path)) };
        let failed = |errno| Error::system(format!("create {directory} in the driver view"), errno);
        if !self.directories.contains_key(directory) {
            for (end, _) in directory.match_indices('/').chain([(directory.len(), "")]) {
                let parent = directory.get(..end).unwrap_or(directory);
                match mkdirat(&self.mount, parent, Mode::from_raw_mode(0o755)) {
                    Err(Errno::EXIST) => {}
                    made => made.map_err(failed)?,
                }
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&self.mount, directory, flags, Mode::empty()).map_err(failed)?;
            self.directories.insert(directory.to_owned(), fd);
        }
        let fd = self.directories.get(directory).ok_or_else(|| failed(Errno::NOENT))?;
        Ok((fd.as_fd(), name))
    }
}

fn create_file(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::from_raw_mode(0o444))
}
