//! What an isolated container must not be given, since it would see a GPU by it that it did not ask for.

use crate::exit::Exit;
use crate::failure::Explain;
use crate::host::{Found as _, Host};
use crate::inventory::{DeviceNode, PROC};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, open, stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The container would see another GPU.
#[derive(Debug, thiserror::Error)]
#[error("isolation was asked for, but the container would see {what} by {by}; leave one of them out")]
pub struct Seen {
    what: String,
    by: String,
}

impl Seen {
    /// All of /proc, by an option.
    #[must_use]
    pub fn proc(by: &str) -> Seen {
        Seen::new("all of /proc", by)
    }

    /// Something, by an option.
    #[must_use]
    pub fn new(what: &str, by: &str) -> Seen {
        Seen { what: what.to_owned(), by: by.to_owned() }
    }
}

impl Explain for Seen {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// A part of the host cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at {path}")]
pub struct Error {
    /// What it is.
    pub path: String,
    /// Why not.
    pub source: io::Error,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Permission
    }
}

/// A file by its identity, whatever its name.
type Identity = (u64, u64);

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// The host's files that would show a GPU.
#[derive(Debug)]
pub struct Hidden(BTreeSet<Identity>);

impl Hidden {
    /// The nodes, the directories that they are in up to the machine's own root, and those of the driver's procfs.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn find(unseen: &[DeviceNode], host: &Host) -> Result<Hidden, Error> {
        let nodes = unseen.iter().flat_map(|node| Path::new(&node.path).ancestors()).collect();
        let proc = Path::new(PROC).ancestors().collect();
        let mut hidden = BTreeSet::new();
        for (tree, paths) in [(&host.dev, nodes), (&host.proc, proc)] {
            let paths: BTreeSet<&Path> = paths;
            for path in paths.into_iter().filter_map(Path::to_str) {
                let failed =
                    |error: crate::host::Error| Error { path: tree.display(path), source: error.into() };
                hidden.extend(tree.stat(path).found().map_err(failed)?.map(|stat| identity(&stat)));
            }
            for path in tree.real().ancestors() {
                hidden.insert(identity(&stat(path).map_err(|errno| failed(path, errno))?));
            }
        }
        Ok(Hidden(hidden))
    }

    /// Whether a file or directory of the host, given to a container, would show one. What is not there shows nothing.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn is_shown_by(&self, source: &Path) -> Result<bool, Error> {
        let failed = |errno| failed(source, errno);
        let fd = match open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            fd => fd.map_err(failed)?,
        };
        // Any procfs of the host's tells of every GPU, wherever it is mounted.
        let is_procfs = fstatfs(&fd).map_err(failed)?.f_type == PROC_SUPER_MAGIC;
        Ok(is_procfs || self.0.contains(&identity(&fstat(&fd).map_err(failed)?)))
    }
}

fn failed(path: &Path, errno: Errno) -> Error {
    Error { path: path.display().to_string(), source: errno.into() }
}
