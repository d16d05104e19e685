//! The driver view: one tmpfs with the driver's files, read-only when complete.

use crate::error::Error;
use crate::mount;
use crate::rootfs::{Closed, Directory, Missing, Rootfs};
use crate::sources::FileSource;
use nvbind_core::host::open_inside;
use nvbind_core::plan::{Link, VIEWS};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An attached view that can still be written to.
#[derive(Debug)]
pub(crate) struct View {
    mount: OwnedFd,
    directories: BTreeMap<String, OwnedFd>,
}

/// The first place in the container where a view can stand: an empty directory, or none yet, that is not on a volume.
pub(crate) fn choose(rootfs: &Rootfs<'_>) -> Result<(&'static str, Directory), Error> {
    for path in VIEWS {
        let Some(directory) = rootfs.directory(path, Missing::Create)? else { continue };
        // Mounting changes nothing below, but a volume's own content is not to be hidden.
        if directory.closed != Some(Closed::Volume) && directory.is_empty()? {
            return Ok((path, directory));
        }
        log::info!("{path} in the container is not empty or a volume; the driver goes elsewhere");
    }
    let why = "/usr/local/nvidia, /run/nvbind and /dev/nvbind are all taken by the image or by volumes";
    Err(Error::NoPlace { what: "the driver's files".to_owned(), why })
}

impl View {
    /// Mounts an empty view on a directory of the container.
    pub(crate) fn attach(
        rootfs: &Rootfs<'_>,
        directory: &Directory,
        context: Option<&str>,
    ) -> Result<View, Error> {
        let failed = |errno: Errno| Error::system("mount the driver view in the container", errno);
        let mount = mount::tmpfs(context).map_err(failed)?;
        mount::attach(&mount, directory, "").map_err(failed)?;
        rootfs.record(|journal| journal.mounted(&mount));
        Ok(View { mount, directories: BTreeMap::new() })
    }

    /// Puts a file of the driver at its place.
    pub(crate) fn bind(&mut self, source: &FileSource) -> Result<(), Error> {
        let failed = |errno| Error::system(format!("put {} into the driver view", source.inside), errno);
        let (directory, name) = self.place(&source.inside)?;
        // A mount point takes one call less to make than to open.
        let mode = Mode::from_raw_mode(0o444);
        mknodat(directory, name, FileType::RegularFile, mode, 0).map_err(failed)?;
        mount::attach(&source.mount, directory, name).map_err(failed)
    }

    /// Puts a directory at its place.
    pub(crate) fn bind_directory(&mut self, source: &FileSource) -> Result<(), Error> {
        let failed = |errno| Error::system(format!("put {} into the driver view", source.inside), errno);
        let (directory, name) = self.place(&source.inside)?;
        mkdirat(directory, name, Mode::from_raw_mode(0o555)).map_err(failed)?;
        mount::attach(&source.mount, directory, name).map_err(failed)
    }

    /// An empty directory to attach something to when the view is sealed.
    pub(crate) fn directory(&mut self, path: &str) -> Result<OwnedFd, Error> {
        let failed = |errno| Error::system(format!("create {path} in the driver view"), errno);
        let (directory, name) = self.place(path)?;
        mkdirat(directory, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(directory, name, flags, Mode::empty()).map_err(failed)
    }

    /// Makes a link beside a file.
    pub(crate) fn link(&mut self, link: &Link) -> Result<(), Error> {
        let (directory, name) = self.place(&link.path)?;
        symlinkat(&*link.target, directory, name)
            .map_err(|errno| Error::system(format!("link {} in the driver view", link.path), errno))
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
