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
    pub(super) fn write(target: &Path, mode: u32, content: &mut impl Read) -> io::Result<Staged> {
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

    /// Writes a copy of the executable `source` beside `target`; nothing if they are the same file.
    pub(super) fn copy(target: &Path, source: &mut File) -> io::Result<Option<Staged>> {
        if is_same(source, target)? {
            return Ok(None);
        }
        Staged::write(target, 0o755, source).map(Some)
    }

    /// Moves it to its place.
    pub(super) fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
    }

    /// Its place.
    #[must_use]
    pub(super) fn target(&self) -> &Path {
        &self.target
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn is_same(source: &File, target: &Path) -> io::Result<bool> {
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
    fn a_file_is_not_copied_over_itself() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "x").unwrap();
        assert!(Staged::copy(&path, &mut File::open(&path).unwrap()).unwrap().is_none());
    }
}
