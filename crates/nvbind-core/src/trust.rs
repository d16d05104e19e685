//! Whether root alone decides what a path of the host leads to.

use crate::exit::Exit;
use crate::failure::Explain;
use rustix::fs::{FileType, Mode, Stat, stat};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The inode number of the initial user namespace (Linux, `include/linux/proc_ns.h`, `PROC_USER_INIT_INO`). Its map of
/// ids does not tell it: rootful `--userns=keep-id` of Podman 5 maps every id to itself, too.
pub const PROC_USER_INIT_INO: u64 = 0xEFFF_FFFD;

/// What an unmapped owner, such as the host's root, looks like in a user namespace
/// (`/proc/sys/kernel/overflowuid`, by default).
pub const OVERFLOW_UID: u32 = 65534;

/// Why a file of the host is not used.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be looked at.
    #[error("cannot look at {path}")]
    Stat { path: String, source: io::Error },
    /// Somebody else could have put it there, or could change it.
    #[error("{path} is not root's alone to write")]
    NotRoots { path: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Stat { .. } => Exit::Driver,
            Error::NotRoots { .. } => Exit::Permission,
        }
    }
}

/// The path without links of a regular file that nobody but root can change or put another in the place of: neither
/// itself nor any directory on the way. In a user namespace its root, who is an ordinary user outside, counts, too.
///
/// # Errors
/// When it is not there, or not such a file.
pub fn check_file(path: &Path) -> Result<PathBuf, Error> {
    real_path(path, true)
}

/// The same of a directory, in which nobody but root can change or replace a file.
///
/// # Errors
/// When it, or what is there of it already, is not such a directory.
pub fn check_directory(path: &Path) -> Result<(), Error> {
    for there in path.ancestors() {
        match fs::metadata(there) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(source) => return Err(Error::Stat { path: there.display().to_string(), source }),
            Ok(_) => return real_path(there, false).map(drop),
        }
    }
    real_path(path, false).map(drop)
}

fn real_path(path: &Path, is_to_be_file: bool) -> Result<PathBuf, Error> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source: io::Error| Error::Stat { path, source }
    };
    let namespace = Path::new("/proc/self/ns/user");
    let in_user_namespace = fs::metadata(namespace).map_err(failed(namespace))?.ino() != PROC_USER_INIT_INO;
    let real = fs::canonicalize(path).map_err(failed(path))?;
    for (depth, path) in real.ancestors().enumerate() {
        let stat = stat(path).map_err(|errno| failed(path)(errno.into()))?;
        let is_fine =
            if depth == 0 && is_to_be_file { is_file(&stat) } else { is_directory(&stat, in_user_namespace) };
        if !is_fine || !is_roots(stat.st_uid, in_user_namespace) {
            return Err(Error::NotRoots { path: path.display().to_string() });
        }
    }
    Ok(real)
}

/// Whether a file belongs to root, as seen in this user namespace.
#[must_use]
pub fn is_roots(uid: u32, in_user_namespace: bool) -> bool {
    uid == 0 || (in_user_namespace && uid == OVERFLOW_UID)
}

fn is_file(stat: &Stat) -> bool {
    let others = Mode::WGRP | Mode::WOTH;
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && !Mode::from_raw_mode(stat.st_mode).intersects(others)
}

/// A group may own directories, as `staff` does below Debian's `/usr/local`. In a sticky one others can only add; but
/// in a user namespace what they add looks like root's.
fn is_directory(stat: &Stat, in_user_namespace: bool) -> bool {
    let mode = Mode::from_raw_mode(stat.st_mode);
    !mode.intersects(Mode::WOTH) || (mode.intersects(Mode::SVTX) && !in_user_namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    #[test]
    fn a_file_is_trusted_only_where_others_cannot_change_it_or_its_directories() {
        let directory = tempfile::tempdir().unwrap();
        if directory.path().metadata().unwrap().uid() != 0 {
            // Past the capture of test output: a skip has to be seen.
            let said = b"test trust::tests::a_file_is_trusted ... SKIPPED: it needs root\n";
            return io::stdout().write_all(said).unwrap();
        }
        let place = directory.path().join("place");
        let path = place.join("file");
        fs::create_dir(&place).unwrap();
        fs::write(&path, "").unwrap();
        let set = |path: &Path, mode, uid| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            chown(path, Some(uid), None).unwrap();
        };
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        for (directory_mode, directory_uid, mode, uid, blamed) in [
            (0o755, 0, 0o755, 0, None),
            (0o775, 0, 0o755, 0, None),
            (0o1777, 0, 0o755, 0, None),
            (0o777, 0, 0o755, 0, Some(&place)),
            (0o755, 1000, 0o755, 0, Some(&place)),
            (0o755, 0, 0o775, 0, Some(&path)),
            (0o755, 0, 0o757, 0, Some(&path)),
            (0o755, 0, 0o755, 1000, Some(&path)),
        ] {
            set(&place, directory_mode, directory_uid);
            set(&path, mode, uid);
            for way in [&path, &link] {
                match (check_file(way), blamed) {
                    (Ok(real), None) => assert_eq!(real, path),
                    (Err(Error::NotRoots { path }), Some(blamed)) => assert_eq!(Path::new(&path), blamed),
                    (other, _) => panic!("{directory_mode:o} {mode:o}: {other:?}"),
                }
            }
        }
        assert!(matches!(check_file(&place), Err(Error::NotRoots { .. })));
        for (mode, uid, is_fine) in [(0o755, 0, true), (0o777, 0, false), (0o755, 1000, false)] {
            set(&place, mode, uid);
            assert_eq!(check_directory(&place.join("not/there")).is_ok(), is_fine, "{mode:o} {uid}");
        }
        assert!(matches!(check_file(&place.join("none")), Err(Error::Stat { .. })));
    }

    #[test]
    fn a_directory_to_which_everybody_can_add_is_not_trusted_in_a_user_namespace() {
        for (mode, in_user_namespace, expected) in [
            (0o755, true, true),
            (0o2775, true, true),
            (0o1777, false, true),
            (0o1777, true, false),
            (0o777, false, false),
        ] {
            let mut directory = stat("/").unwrap();
            directory.st_mode = mode;
            assert_eq!(is_directory(&directory, in_user_namespace), expected, "{mode:o} {in_user_namespace}");
        }
    }

    #[test]
    fn an_unmapped_owner_counts_in_a_user_namespace_alone() {
        for (uid, in_user_namespace, expected) in [
            (0, false, true),
            (0, true, true),
            (65534, true, true),
            (65534, false, false),
            (1000, true, false),
        ] {
            assert_eq!(is_roots(uid, in_user_namespace), expected, "{uid} {in_user_namespace}");
        }
    }
}
