//! Where records are: directories that nobody but the container's user can read or change.

use super::{Record, SIZE_LIMIT};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;
use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// No directory of ours has as many files; one that has is not read to its end.
const ENTRIES: usize = 1024;

/// The last directory of every place.
const RECORDS: &str = "failures";

/// The same of every place for locks.
const CLAIMS: &str = "claims";

/// A place for the records of a user's containers: directories of the user's, below one that the system has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    base: PathBuf,
    names: [String; 2],
}

/// The user of this process, as the machine knows them: whoever is root in the user namespace of rootless podman is an
/// ordinary user outside (user_namespaces(7), `uid_map`). None where that cannot be told.
#[must_use]
pub fn user() -> Option<u32> {
    outer(&fs::read_to_string("/proc/self/uid_map").ok()?, geteuid().as_raw())
}

fn outer(map: &str, uid: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return None;
        };
        let offset = uid.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

/// The places for a user, the best first. The user's own directory is systemd's (pam_systemd(8)), and missing without a
/// session: in cron, after su, in a service. Then it is a directory in /tmp, as it is for podman's own files; who made
/// one of this name first can only keep records from being written.
#[must_use]
pub fn places(uid: u32) -> Vec<Place> {
    places_of(uid, RECORDS)
}

/// The same for locks of GPUs that a start has chosen.
#[must_use]
pub fn claims(uid: u32) -> Vec<Place> {
    places_of(uid, CLAIMS)
}

fn places_of(uid: u32, last: &str) -> Vec<Place> {
    let place = |base: String, name: String| Place { base: base.into(), names: [name, last.to_owned()] };
    match uid {
        0 => vec![place("/run".to_owned(), "nvbind".to_owned())],
        uid => vec![
            place(format!("/run/user/{uid}"), "nvbind".to_owned()),
            place("/tmp".to_owned(), format!("nvbind-{uid}")),
        ],
    }
}

impl Place {
    /// The directory with the records.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.names.iter().fold(self.base.clone(), |path, name| path.join(name))
    }

    /// The same place of a machine whose `/` is that directory.
    #[must_use]
    pub fn below(&self, root: &Path) -> Place {
        let base = self.base.strip_prefix("/").unwrap_or(&self.base);
        Place { base: root.join(base), names: self.names.clone() }
    }

    /// Opens it, if the directories are `owner`'s alone to change. One that is not there is made by `make`, which gets
    /// the directory above and a name.
    ///
    /// # Errors
    /// When a directory is not there, is a link or something else, or another user can change what is in it.
    pub fn open(&self, owner: u32, make: impl Fn(BorrowedFd<'_>, &str) -> Result<()>) -> Result<Directory> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory = open(&self.base, flags | OFlags::PATH, Mode::empty())?;
        for name in &self.names {
            // A link in its place would lead elsewhere.
            let open = || openat(&directory, name, flags | OFlags::NOFOLLOW, Mode::empty());
            let below = match open() {
                Err(Errno::NOENT) => {
                    // Another hook may have made it meanwhile.
                    make(directory.as_fd(), name).or_else(|errno| ignore(errno, Errno::EXIST))?;
                    open()
                }
                opened => opened,
            }?;
            let stat = fstat(&below)?;
            if stat.st_uid != owner || Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
                return Err(Errno::PERM);
            }
            directory = below;
        }
        Ok(Directory { fd: directory, owner })
    }
}

fn ignore(errno: Errno, known: Errno) -> Result<()> {
    if errno == known { Ok(()) } else { Err(errno) }
}

/// An open place.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    owner: u32,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// Opens a file in it, if that is a regular one of the directory's owner, by no other name. It neither waits nor
    /// follows a link, whatever stands there.
    ///
    /// # Errors
    /// When it is not there and `flags` do not create it, or is something else.
    pub fn open_file(&self, name: &str, flags: OFlags) -> Result<File> {
        let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.fd, name, flags | careful, Mode::RUSR | Mode::WUSR)?;
        if self.is_ours(&fstat(&file)?) { Ok(file.into()) } else { Err(Errno::PERM) }
    }

    fn is_ours(&self, stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == self.owner
            && stat.st_nlink == 1
    }

    /// The names in it, in no order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)?.take(ENTRIES) {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// The record in a file; none where it is none of ours, or not complete.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<Record> {
        let mut content = Vec::new();
        let file = self.open_file(name, OFlags::RDONLY).ok()?;
        file.take(SIZE_LIMIT).read_to_end(&mut content).ok()?;
        Record::parse(&content)
    }

    /// All records in it, each with its file's name, in no order.
    pub fn records(&self) -> impl Iterator<Item = (String, Record)> {
        let names = self.names().unwrap_or_default().into_iter();
        names.filter_map(|name| {
            let record = self.record(&name)?;
            Some((name, record))
        })
    }
}

/// The records of a user's containers, the newest first. `root` stands in for `/`, and `owner` is the user as this
/// process sees them.
#[must_use]
pub fn read(root: &Path, uid: u32, owner: u32) -> Vec<Record> {
    let open = |place: Place| place.below(root).open(owner, |_, _| Err(Errno::NOENT)).ok();
    let directories: Vec<Directory> = places(uid).into_iter().filter_map(open).collect();
    let mut records: Vec<Record> =
        directories.iter().flat_map(Directory::records).map(|(_, record)| record).collect();
    records.sort_by_key(|record| Reverse(record.time));
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use tempfile::TempDir;

    fn make(above: BorrowedFd<'_>, name: &str) -> Result<()> {
        mkdirat(above, name, Mode::RWXU)
    }

    /// A directory with `/tmp`, the place there, and who owns what is made in it.
    fn world() -> (TempDir, Place, u32) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let owner = root.path().metadata().unwrap().uid();
        let place = places(4242).pop().unwrap().below(root.path());
        (root, place, owner)
    }

    #[test]
    fn a_user_is_who_they_are_outside_of_their_namespace() {
        let rootless = "         0       2000          1\n         1     300000      65536\n";
        for (map, uid, expected) in [
            ("0 0 4294967295\n", 0, Some(0)),
            ("0 0 4294967295\n", 1000, Some(1000)),
            (rootless, 0, Some(2000)),
            (rootless, 5, Some(300_004)),
            (rootless, 65537, None),
            ("", 0, None),
            ("0 x 1\n", 0, None),
        ] {
            assert_eq!(outer(map, uid), expected, "{map} {uid}");
        }
    }

    #[test]
    fn every_user_has_places_of_their_own() {
        let paths =
            |uid| places(uid).iter().map(|place| place.path().display().to_string()).collect::<Vec<_>>();
        assert_eq!(paths(0), ["/run/nvbind/failures"]);
        assert_eq!(paths(7), ["/run/user/7/nvbind/failures", "/tmp/nvbind-7/failures"]);
    }

    #[test]
    fn a_place_is_made_once_and_for_its_owner_alone() {
        let (root, place, owner) = world();
        assert_eq!(place.open(owner, |_, _| Err(Errno::NOENT)).unwrap_err(), Errno::NOENT);
        place.open(owner, make).unwrap();
        place.open(owner, |_, _| Err(Errno::NOENT)).unwrap();
        assert_eq!(place.open(owner + 1, make).unwrap_err(), Errno::PERM);
        let mode = |path: &str, mode| {
            fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in ["tmp/nvbind-4242", "tmp/nvbind-4242/failures"] {
            for open in [0o777, 0o770, 0o1777] {
                mode(path, open);
                assert_eq!(place.open(owner, make).unwrap_err(), Errno::PERM, "{path} {open:o}");
            }
            mode(path, 0o755);
            place.open(owner, make).unwrap();
        }
    }

    #[test]
    fn what_stands_in_the_place_is_not_followed() {
        for name in ["tmp/nvbind-4242", "tmp/nvbind-4242/failures"] {
            let (root, place, owner) = world();
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let elsewhere = root.path().join("elsewhere");
            fs::create_dir(&elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
            place.open(owner, make).unwrap_err();
            assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
            fs::remove_file(&path).unwrap();
            fs::write(&path, "").unwrap();
            assert_eq!(place.open(owner, make).unwrap_err(), Errno::NOTDIR);
        }
    }

    #[test]
    fn records_are_read_newest_first_and_nothing_else_counts() {
        let (root, place, owner) = world();
        let directory = place.open(owner, make).unwrap();
        let path = place.path();
        let write = |name: &str, reason: &str| {
            fs::write(path.join(name), Record::new(name, 2, reason.to_owned()).to_line().unwrap()).unwrap();
        };
        write("first", "1");
        std::thread::sleep(std::time::Duration::from_millis(2));
        write(".spare-0", "2");
        fs::write(path.join("damaged"), "{").unwrap();
        fs::write(path.join("empty"), "").unwrap();
        fs::create_dir(path.join("directory")).unwrap();
        symlink(path.join("first"), path.join("link")).unwrap();
        nix_fifo(&path.join("fifo"));
        write("other", "of others");
        fs::hard_link(path.join("other"), root.path().join("linked")).unwrap();
        let reasons = || read(root.path(), 4242, owner).into_iter().map(|it| it.reason).collect::<Vec<_>>();
        assert_eq!(reasons(), ["2", "1"]);
        assert_eq!(directory.names().unwrap().len(), 8);
        assert!(read(root.path(), 4242, owner + 1).is_empty());
        assert!(read(root.path(), 1, owner).is_empty());
    }

    fn nix_fifo(path: &Path) {
        use rustix::fs::{CWD, mknodat};
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
}
