//! A directory that is being filled to stand in for the `/` of a machine or of a container.
//!
//! Everything in it belongs to whoever runs this (root, for what the hook is to trust) and is 0644 or 0755. A finished
//! tree carries a stamp with the description of what it was made from: it is made again only when that changes, and a
//! directory without one is never removed.
use crate::process::{self, ProcessError};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The stamp of a finished tree.
pub const STAMP: &str = ".nvbind-fixture";

/// Why a tree could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file operation failed.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was being done.
        act: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A device node could not be made.
    #[error("cannot make the device node {}: this needs root", path.display())]
    Node {
        path: PathBuf,
        /// Why it failed.
        source: nix::Error,
    },
    /// The directory holds something that did not come from here.
    #[error("{} is not empty and was not made by xtask: remove it or name another directory", path.display())]
    Foreign { path: PathBuf },
    /// The linker cache could not be made.
    #[error("cannot make the linker cache")]
    Cache(#[source] ProcessError),
}

/// A file of a package, as the table of packages has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Packaged {
    /// Its place, from the root.
    pub path: PathBuf,
    pub mode: u32,
}

/// A directory that stands in for `/`.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Whether `root` is a finished tree made from `description`.
    pub fn is_made(root: &Path, description: &str) -> bool {
        fs::read_to_string(root.join(STAMP)).is_ok_and(|stamp| stamp == description)
    }

    /// An empty directory at `root`; a former tree there is removed.
    pub fn create(root: &Path) -> Result<Self, TreeError> {
        // What is made here has to be readable in containers of any user, whatever the caller's umask.
        umask(Mode::from_bits_truncate(0o022));
        let held = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        if held {
            if !root.join(STAMP).is_file() {
                return Err(TreeError::Foreign { path: root.into() });
            }
            fs::remove_dir_all(root).map_err(failed("remove", root))?;
        }
        fs::create_dir_all(root).map_err(failed("make the directory", root))?;
        let tree = Self { root: root.into() };
        // From here on the directory is ours, finished or not.
        tree.file(STAMP, "unfinished", 0o644)?;
        Ok(tree)
    }

    /// Marks the tree as finished.
    pub fn finish(&self, description: &str) -> Result<(), TreeError> {
        self.file(STAMP, description, 0o644)
    }

    /// The tree's own place.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` of the tree (with or without a leading `/`) is on this machine.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A directory with its parents.
    pub fn dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = self.at(path);
        fs::create_dir_all(&path).map_err(failed("make the directory", &path))
    }

    /// A regular file with its parent directories.
    pub fn file(
        &self,
        path: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<(), TreeError> {
        let path = self.parent_of(path)?;
        fs::write(&path, content).map_err(failed("write", &path))?;
        set_mode(&path, mode)
    }

    /// Sets the permissions of a file that another program made.
    pub fn file_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), TreeError> {
        set_mode(&self.at(path), mode)
    }

    /// Removes a directory with all it holds.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = self.at(path);
        fs::remove_dir_all(&path).map_err(failed("remove", &path))
    }

    /// A copy of a file of this machine, with its permissions but not set-user-id.
    pub fn copy(&self, from: &Path, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = self.parent_of(path)?;
        fs::copy(from, &path).map_err(failed("copy to", &path))?;
        let executable = fs::metadata(from).map_err(failed("read", from))?.permissions().mode() & 0o111 != 0;
        set_mode(&path, if executable { 0o755 } else { 0o644 })
    }

    /// A symbolic link with its parent directories; one that is already there is kept.
    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = self.parent_of(path)?;
        match symlink(target, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map_err(failed("make the link", &path)),
        }
    }

    /// A character device node, 0666 as the driver's own are.
    pub fn node(&self, path: impl AsRef<Path>, major: u64, minor: u64) -> Result<(), TreeError> {
        let path = self.parent_of(path)?;
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&path, SFlag::S_IFCHR, mode, makedev(major, minor))
            .map_err(|source| TreeError::Node { path: path.clone(), source })?;
        set_mode(&path, 0o666)
    }

    /// The tree's `etc/ld.so.cache`, made by this machine's ldconfig from the tree's own `etc/ld.so.conf`.
    pub fn linker_cache(&self) -> Result<(), TreeError> {
        // Not every PATH has /sbin. -X: the links are what the distribution ships, not what ldconfig would add.
        process::read(
            Command::new("ldconfig")
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
                .args(["-X", "-r"])
                .arg(&self.root),
        )
        .map(drop)
        .map_err(TreeError::Cache)
    }

    fn parent_of(&self, path: impl AsRef<Path>) -> Result<PathBuf, TreeError> {
        let path = self.at(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("make the directory", parent))?;
        }
        Ok(path)
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), TreeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(failed("set the permissions of", path))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_path_buf();
    move |source| TreeError::File { act, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_holds_something_of_others_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), "x").unwrap();
        let error = Tree::create(dir.path()).unwrap_err();
        assert!(matches!(error, TreeError::Foreign { .. }), "{error}");
        assert!(dir.path().join("precious").exists());
    }

    #[test]
    fn a_tree_is_made_again_only_when_its_description_changes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        let tree = Tree::create(&root).unwrap();
        assert!(!Tree::is_made(&root, "one"));
        tree.file("/usr/lib/a", "a", 0o644).unwrap();
        tree.finish("one").unwrap();
        assert!(Tree::is_made(&root, "one"));
        assert!(!Tree::is_made(&root, "two"));
        Tree::create(&root).unwrap();
        assert!(!root.join("usr").exists());
    }
}
