//! Files, sockets and directories of the host.

use crate::error::Error;
use crate::mount;
use nvbind_core::host::{Directory, Tree};
use nvbind_core::trust::is_roots;
use rustix::fs::{FileType, Mode, Stat, fstat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::OwnedFd;

/// The tree that the driver's files are in, and the directories that were opened there, each once.
#[derive(Debug)]
pub(super) struct Files<'h> {
    tree: &'h Tree,
    in_user_namespace: bool,
    directories: BTreeMap<&'h str, Directory<'h>>,
}

impl<'h> Files<'h> {
    /// Nothing is opened yet.
    pub(super) fn of(tree: &'h Tree, in_user_namespace: bool) -> Files<'h> {
        Files { tree, in_user_namespace, directories: BTreeMap::new() }
    }

    /// Clones a file of the driver and looks at the clone: what is checked is what the container gets.
    pub(super) fn clone_file(&mut self, path: &'h str) -> Result<OwnedFd, Error> {
        let (tree, in_user_namespace) = (self.tree, self.in_user_namespace);
        let failed = |source: io::Error| Error::Source { path: tree.display(path), source };
        let (parent, name) = split(path);
        let directory = match self.directories.entry(parent) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let directory = tree.directory(parent).map_err(|error| failed(error.into()))?;
                let stat = fstat(&directory).map_err(|errno| failed(errno.into()))?;
                if !is_roots(stat.st_uid, in_user_namespace) || stat.st_mode & 0o002 != 0 {
                    return Err(Error::Untrusted { path: tree.display(parent) });
                }
                entry.insert(directory)
            }
        };
        let mount = match mount::clone_in(directory, name) {
            Err(Errno::NOENT) => return Err(Error::Replaced { path: tree.display(path) }),
            mount => mount.map_err(|errno| failed(errno.into()))?,
        };
        let stat = fstat(&mount).map_err(|errno| failed(errno.into()))?;
        if !is_trusted(&stat, in_user_namespace) {
            return Err(Error::Untrusted { path: tree.display(path) });
        }
        Ok(mount)
    }

    /// Clones a daemon's socket, no link followed: one in a directory that only root and the daemon can change. None
    /// for one that went away: a daemon may stop at any time, and a driver works without.
    pub(super) fn clone_socket(&self, path: &str) -> Result<Option<OwnedFd>, Error> {
        match clone_unlinked(path, self.tree) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                log::info!("{} went away; the container does without its daemon", self.tree.display(path));
                Ok(None)
            }
            Err(source) => Err(Error::Source { path: self.tree.display(path), source }),
            Ok(Cloned { mount, stat, parent }) if is_daemons(&stat, &parent, self.in_user_namespace) => {
                Ok(Some(mount))
            }
            Ok(_other) => {
                let what = "a socket in a directory that only root and its owner can change";
                Err(Error::Replaceable { path: self.tree.display(path), what })
            }
        }
    }

    /// Clones a directory that the container can write to, no link followed: root's, rootless the user's own.
    pub(super) fn clone_shared(&self, path: &str) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Source { path: self.tree.display(path), source };
        let cloned = match clone_unlinked(path, self.tree) {
            // The directory above is a link.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => None,
            other => Some(other.map_err(failed)?),
        };
        let is_trusted = |cloned: &Cloned| is_owners(&cloned.stat, &cloned.parent, self.in_user_namespace);
        let Some(Cloned { mount, .. }) = cloned.filter(is_trusted) else {
            let what = if self.in_user_namespace {
                "a directory of this user that others cannot replace"
            } else {
                "a directory of root that others cannot replace"
            };
            return Err(Error::Replaceable { path: self.tree.display(path), what });
        };
        mount::set_attributes(&mount, mount::SHARED).map_err(|errno| failed(errno.into()))?;
        Ok(mount)
    }
}

/// Clones a directory of the kernel module's, which is as trustworthy as the module.
pub(super) fn clone_kernels_directory(path: &str, proc: &Tree) -> Result<OwnedFd, Error> {
    let failed = |source: io::Error| Error::Source { path: proc.display(path), source };
    let directory = proc.directory(path).map_err(|error| failed(error.into()))?;
    mount::clone_detached(&directory, mount::FILE).map_err(|errno| failed(errno.into()))
}

/// A path's directory and its last name.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some((directory, name)) if !directory.is_empty() => (directory, name),
        Some((_, name)) => ("/", name),
        None => ("/", path),
    }
}

/// A regular file that root owns, that everybody may read (a driver's are no secrets, so that a link to one gets
/// nobody further), and that neither its group nor others may write.
fn is_trusted(stat: &Stat, in_user_namespace: bool) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_mode & 0o026 == 0o004
        && is_roots(stat.st_uid, in_user_namespace)
}

/// A clone of something of the host, what it is, and what its directory is.
struct Cloned {
    mount: OwnedFd,
    stat: Stat,
    parent: Stat,
}

fn clone_unlinked(path: &str, tree: &Tree) -> io::Result<Cloned> {
    let (directory, name) = split(path);
    let directory = tree.unlinked_directory(directory)?;
    let mount = mount::clone_in(&directory, name)?;
    Ok(Cloned { stat: fstat(&mount)?, mount, parent: fstat(&directory)? })
}

/// A socket in a directory that root or the socket's owner owns, and nobody else can write. `/run` above is root's.
fn is_daemons(socket: &Stat, directory: &Stat, in_user_namespace: bool) -> bool {
    FileType::from_raw_mode(socket.st_mode) == FileType::Socket
        && (is_roots(directory.st_uid, in_user_namespace) || directory.st_uid == socket.st_uid)
        && directory.st_mode & 0o022 == 0
}

/// A directory of root's, or of the user whose namespace this is, in a directory of root's where others cannot replace
/// it. The overflow id stands for every user outside a namespace: it is root's for sure only where no other user could
/// have made the directory.
fn is_owners(directory: &Stat, parent: &Stat, in_user_namespace: bool) -> bool {
    let is_open = parent.st_mode & 0o022 != 0;
    let is_sticky = Mode::from_raw_mode(parent.st_mode).contains(Mode::SVTX);
    FileType::from_raw_mode(directory.st_mode) == FileType::Directory
        && is_roots(parent.st_uid, in_user_namespace)
        && (!is_open || is_sticky)
        && (directory.st_uid == 0 || (is_roots(directory.st_uid, in_user_namespace) && !is_open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_core::exit::Exit;
    use nvbind_core::failure::Explain as _;
    use nvbind_core::trust::OVERFLOW_UID;

    #[test]
    fn only_files_of_root_that_others_cannot_write_are_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let stat = |mode: u32, uid: u32| {
            let mut stat = fstat(tempfile::tempfile_in(&directory).unwrap()).unwrap();
            (stat.st_mode, stat.st_uid) = (mode, uid);
            stat
        };
        for (mode, uid, in_user_namespace, trusted) in [
            (0o100_644, 0, false, true),
            (0o100_755, 0, true, true),
            (0o100_664, 0, false, false),
            (0o100_640, 0, false, false),
            (0o100_646, 0, false, false),
            (0o100_644, 1000, false, false),
            (0o100_644, OVERFLOW_UID, false, false),
            (0o100_644, OVERFLOW_UID, true, true),
            (0o040_755, 0, false, false),
        ] {
            assert_eq!(is_trusted(&stat(mode, uid), in_user_namespace), trusted, "{mode:o} {uid}");
        }
    }

    /// What has this mode and owner.
    fn stat(mode: u32, uid: u32) -> Stat {
        let mut stat = fstat(std::fs::File::open("/").unwrap()).unwrap();
        (stat.st_mode, stat.st_uid) = (mode, uid);
        stat
    }

    #[test]
    fn a_socket_is_in_a_directory_that_only_root_and_its_daemon_can_change() {
        const USER: u32 = 1000;
        for (socket, directory, in_user_namespace, trusted) in [
            (stat(0o140_666, 0), stat(0o040_755, 0), false, true),
            (stat(0o140_666, USER), stat(0o040_755, USER), false, true),
            (stat(0o140_666, USER), stat(0o040_755, 0), false, true),
            (stat(0o140_666, 0), stat(0o040_755, USER), false, false),
            (stat(0o140_666, 0), stat(0o040_775, 0), false, false),
            (stat(0o140_666, 0), stat(0o041_777, 0), false, false),
            (stat(0o100_666, 0), stat(0o040_755, 0), false, false),
            (stat(0o120_777, 0), stat(0o040_755, 0), false, false),
            (stat(0o140_666, USER), stat(0o040_755, OVERFLOW_UID), true, true),
            (stat(0o140_666, USER), stat(0o040_755, OVERFLOW_UID), false, false),
        ] {
            let (mode, owner) = (directory.st_mode, directory.st_uid);
            assert_eq!(is_daemons(&socket, &directory, in_user_namespace), trusted, "{mode:o} {owner}");
        }
    }

    #[test]
    fn a_file_that_went_away_since_it_was_read_is_told_as_a_driver_that_changes() {
        let machine = tempfile::tempdir().unwrap();
        std::fs::create_dir(machine.path().join("lib")).unwrap();
        let tree = Tree::open(machine.path()).unwrap();
        let error = Files::of(&tree, false).clone_file("/lib/libcuda.so.570.172.08").unwrap_err();
        assert_eq!(error.exit(), Exit::Driver);
        assert!(error.to_string().contains("the driver is being changed"), "{error}");
    }

    #[test]
    fn a_socket_that_went_away_is_left_out() {
        let machine = tempfile::tempdir().unwrap();
        let tree = Tree::open(machine.path()).unwrap();
        let files = Files::of(&tree, false);
        let path = "/run/nvidia-persistenced/socket";
        assert!(files.clone_socket(path).unwrap().is_none());
        std::fs::create_dir_all(machine.path().join("run/nvidia-persistenced")).unwrap();
        assert!(files.clone_socket(path).unwrap().is_none());
    }

    #[test]
    fn a_shared_directory_is_one_that_only_its_owner_could_have_put_there() {
        const USER: u32 = 1000;
        let (tmp, run) = (0o041_777, 0o040_755);
        for (mode, uid, parent, parent_uid, in_user_namespace, trusted) in [
            (0o040_777, 0, tmp, 0, false, true),
            (0o040_755, 0, run, 0, false, true),
            (0o040_755, USER, tmp, 0, false, false),
            (0o120_777, 0, tmp, 0, false, false),
            (0o100_644, 0, tmp, 0, false, false),
            // Others can rename it and put their own there.
            (0o040_755, 0, 0o040_777, 0, false, false),
            (0o040_755, 0, 0o040_775, 0, false, false),
            (0o040_755, 0, tmp, USER, false, false),
            // In a user namespace 0 is the user, and everybody else the overflow id.
            (0o040_755, 0, tmp, OVERFLOW_UID, true, true),
            (0o040_755, OVERFLOW_UID, tmp, OVERFLOW_UID, true, false),
            (0o040_755, OVERFLOW_UID, run, OVERFLOW_UID, true, true),
            (0o040_755, USER, tmp, OVERFLOW_UID, true, false),
        ] {
            let seen = is_owners(&stat(mode, uid), &stat(parent, parent_uid), in_user_namespace);
            assert_eq!(seen, trusted, "{mode:o} {uid} in {parent:o} {parent_uid}");
        }
    }
}
