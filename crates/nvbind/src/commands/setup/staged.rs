//! A file that is written whole beside its place, and moved there only when all others are written too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A written file that is not in its place yet. Dropped before that, it is removed.
#[derive(Debug)]
#[must_use]
pub(super) struct Staged {
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Writes `content` beside `target`, making its directory where there is none.
    pub(super) fn write(target: &Path, mode: u32, content: &mut dyn Read) -> io::Result<Staged> {
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        fs::create_dir_all(directory)?;
        // No name that podman reads: neither *.json nor *.conf.
        let temporary = directory.join(format!(".{}.{}", name.display(), std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        let staged = Staged { temporary, target: target.to_owned() };
        io::copy(content, &mut file)?;
        // Else a crash could leave a hook JSON that names an empty binary: no container would start.
        file.sync_all()?;
        Ok(staged)
    }

    /// Moves it to its place.
    pub(super) fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Whether both are one file.
pub(super) fn is_same(source: &File, target: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match fs::metadata(target) {
        Ok(there) => Ok(identity(there) == identity(source.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = TempDir::new().unwrap();
        let target = dir.path().join("a/b");
        let staged = Staged::write(&target, 0o600, &mut &b"new"[..]).unwrap();
        assert!(!target.exists());
        drop(staged);
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0);

        Staged::write(&target, 0o600, &mut &b"new"[..]).unwrap().commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_file_and_a_link_to_it_are_the_same() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "x").unwrap();
        let file = File::open(&path).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        fs::copy(&path, dir.path().join("copy")).unwrap();
        for (name, expected) in [("x", true), ("link", true), ("copy", false), ("none", false)] {
            assert_eq!(is_same(&file, &dir.path().join(name)).unwrap(), expected, "{name}");
        }
    }
}
