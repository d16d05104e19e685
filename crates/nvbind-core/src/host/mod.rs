//! A read-only view of a machine: the directories that stand in for `/` when looking for the driver.
//!
//! Every name is resolved by the kernel inside its tree (`openat2` with `RESOLVE_IN_ROOT`, Linux 5.6), so that the
//! absolute links of a driver container or a fixture stay within it.

mod directory;
mod roots;
mod watch;

use crate::exit::Exit;
use crate::failure::Explain;
pub use directory::Directory;
pub use roots::Roots;
pub use rustix::fs::Stat;
use rustix::fs::{self, Access, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use watch::Watched;

/// How often a file is tried to be opened again when other processes' mounts and renames come in between.
const RACES: usize = 128;

/// The size that is expected where none is told.
const UNTOLD: u64 = 1 << 10;

/// Why something of the machine could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct Error {
    path: String,
    source: std::io::Error,
}

impl Error {
    fn errno(&self) -> Option<Errno> {
        self.source.raw_os_error().map(Errno::from_raw_os_error)
    }

    /// Whether the file is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }

    /// Whether this user may not read it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM))
    }

    /// Whether it is there and no regular file.
    #[must_use]
    pub fn is_irregular(&self) -> bool {
        // Ours for what was opened, and the kernel's for a socket (open(2)).
        matches!(self.errno(), Some(Errno::INVAL | Errno::NXIO))
    }

    /// Whether a part of the path is a link, where links are not followed.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.errno() == Some(Errno::LOOP)
    }
}

/// The result of a read of what need not be there.
pub trait Found<T> {
    /// None where it is not there. Every other failure stays one: what cannot be read could be there.
    ///
    /// # Errors
    /// The same, but for `ENOENT` and `ENOTDIR`.
    fn found(self) -> Result<Option<T>, Error>;
}

impl<T> Found<T> for Result<T, Error> {
    fn found(self) -> Result<Option<T>, Error> {
        match self {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        if self.source.kind() == std::io::ErrorKind::PermissionDenied {
            Exit::Permission
        } else {
            Exit::Driver
        }
    }
}

/// The system's error alone, for those who name the file themselves.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        error.source
    }
}

/// Opens what is at a path inside a directory that stands in for `/`, links followed inside it.
///
/// # Errors
/// The kernel's.
pub fn open_inside(
    root: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = || fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    // EAGAIN: something was renamed or mounted on this machine while a `..` was followed, so that the kernel could
    // not tell whether it stayed inside (openat2(2)). Containers that start at the same time are enough for that.
    let mut opened = open();
    for _ in 0..RACES {
        if opened.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
        opened = open();
    }
    opened
}

/// A directory that stands in for `/`.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    /// The directory without links.
    real: PathBuf,
    directory: OwnedFd,
    /// None while nothing is watched.
    watched: RefCell<Option<Vec<Watched>>>,
}

impl Tree {
    /// Opens the directory.
    ///
    /// # Errors
    /// When it is not there or is no directory.
    pub fn open(path: &Path) -> Result<Tree, Error> {
        let failed = |errno: Errno| Error { path: path.display().to_string(), source: errno.into() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let real = link_of(&directory).map_err(failed)?;
        Ok(Tree { path: path.to_path_buf(), real, directory, watched: RefCell::new(None) })
    }

    /// The directory without links, as seen from the machine's own `/`.
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Where the file stands as seen from the machine's own `/`; for messages.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        self.path.join(path.trim_start_matches('/')).display().to_string()
    }

    fn error(&self, path: &str, errno: Errno) -> Error {
        Error { path: self.display(path), source: errno.into() }
    }

    fn open_with(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        open_inside(&self.directory, path, flags).map_err(|errno| self.error(path, errno))
    }

    /// Opens a file by name only (`O_PATH`), links followed inside the tree.
    ///
    /// # Errors
    /// When it is not there or may not be reached.
    pub fn locate(&self, path: &str) -> Result<OwnedFd, Error> {
        self.open_with(path, OFlags::PATH)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it is not there, may not be read, or is no regular file.
    pub fn file(&self, path: &str) -> Result<File, Error> {
        // Never blocks, also where a FIFO stands in the way.
        let fd = self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        Ok(self.regular(fd, path)?.0)
    }

    /// A descriptor as a regular file, with its size.
    fn regular(&self, fd: OwnedFd, path: &str) -> Result<(File, u64), Error> {
        let stat = fs::fstat(&fd).map_err(|errno| self.error(path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.error(path, Errno::INVAL));
        }
        Ok((fd.into(), stat.st_size.try_into().unwrap_or_default()))
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Tree::file`], and `EFBIG` for a larger one.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let fd = self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let (file, size) = self.regular(fd, path)?;
        // Enough for one read and the one that finds the end; files of procfs do not tell their size.
        let size = size.clamp(UNTOLD, limit.saturating_add(1));
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default().saturating_add(1));
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| Error { path: self.display(path), source })?;
        if bytes.len() as u64 > limit {
            return Err(self.error(path, Errno::FBIG));
        }
        Ok(bytes)
    }

    /// Reads a text file of at most 1 MiB; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn text(&self, path: &str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.read(path, 1 << 20)?).into_owned())
    }

    /// The names in a directory: [`Directory::names`].
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub fn names(&self, path: &str) -> Result<Vec<String>, Error> {
        self.directory(path)?.names()
    }

    /// What stands at the path, links followed inside the tree.
    ///
    /// # Errors
    /// When it is not there or may not be reached.
    pub fn stat(&self, path: &str) -> Result<Stat, Error> {
        fs::fstat(self.locate(path)?).map_err(|errno| self.error(path, errno))
    }

    /// What stands at the path, no link followed.
    ///
    /// # Errors
    /// When it is not there, may not be reached, or a directory of the path is a link.
    pub fn unlinked_stat(&self, path: &str) -> Result<Stat, Error> {
        fs::fstat(self.open_unlinked(path, OFlags::empty())?).map_err(|errno| self.error(path, errno))
    }

    /// Whether the device cgroup of this process denies a node, which access(2) asks without opening it: of all
    /// that `inode_permission()` asks (the kernel's fs/namei.c) it alone answers EPERM for a node. What is not there
    /// is not denied, and permission bits do not count: by those one process of a container may use a node and
    /// another may not.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn is_denied_by_cgroup(&self, path: &str) -> Result<bool, Error> {
        let Some(node) = self.locate(path).found()? else { return Ok(false) };
        let wanted = Access::READ_OK | Access::WRITE_OK;
        match fs::access(magic_link(&node), wanted) {
            Ok(()) | Err(Errno::ACCESS) => Ok(false),
            Err(Errno::PERM) => Ok(true),
            Err(errno) => Err(self.error(path, errno)),
        }
    }

    /// Opens a directory by name only (`O_PATH`), no link followed.
    ///
    /// # Errors
    /// When it is not there, may not be reached, is no directory, or a part of the path is a link.
    pub fn unlinked_directory(&self, path: &str) -> Result<OwnedFd, Error> {
        self.open_unlinked(path, OFlags::DIRECTORY)
    }

    fn open_unlinked(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Without links and `..` the kernel never has to try again.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        fs::openat2(&self.directory, path, flags, Mode::empty(), resolve)
            .map_err(|errno| self.error(path, errno))
    }

    /// Opens a regular file for reading; also gives its path without links, as seen inside the tree.
    ///
    /// # Errors
    /// As [`Tree::file`].
    pub fn resolved_file(&self, path: &str) -> Result<(File, String), Error> {
        let file = self.file(path)?;
        let real = self.real_path(&file, path)?;
        Ok((file, real))
    }

    /// The same; none where no regular file is there.
    ///
    /// # Errors
    /// When it may not be read.
    pub fn find_file(&self, path: &str) -> Result<Option<(File, String)>, Error> {
        match self.resolved_file(path) {
            Err(error) if error.is_irregular() => Ok(None),
            file => file.found(),
        }
    }

    fn real_path(&self, fd: impl AsFd, path: &str) -> Result<String, Error> {
        let real = link_of(fd).map_err(|errno| self.error(path, errno))?;
        let inside = real.strip_prefix(&self.real).map_err(|_outside| self.error(path, Errno::XDEV))?;
        let inside = inside.to_str().ok_or_else(|| self.error(path, Errno::ILSEQ))?;
        Ok(format!("/{inside}"))
    }
}

/// The path that leads to a descriptor's file, wherever that stands (proc(5), `/proc/pid/fd`).
fn magic_link(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Where a descriptor's file stands.
fn link_of(fd: impl AsFd) -> Result<PathBuf, Errno> {
    let link = fs::readlink(magic_link(fd), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
}

/// The trees in which the parts of a driver are found: each the machine's own `/` unless configured.
#[derive(Debug)]
pub struct Host {
    /// Libraries, programs and data files.
    pub files: Tree,
    /// Device nodes, below `dev/`.
    pub dev: Tree,
    /// The driver's state, below `proc/`.
    pub proc: Tree,
    /// The PCI devices, below `sys/`.
    pub sys: Tree,
    is_machine: bool,
}

impl Host {
    /// Whether the driver in question is this machine's own, and not one below a directory.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.is_machine
    }

    /// Opens the four trees.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn open(roots: &Roots) -> Result<Host, Error> {
        Ok(Host {
            files: Tree::open(&roots.root)?,
            dev: Tree::open(&roots.dev_root)?,
            proc: Tree::open(&roots.proc_root)?,
            sys: Tree::open(&roots.sys_root)?,
            is_machine: roots.are_machine(),
        })
    }
}
