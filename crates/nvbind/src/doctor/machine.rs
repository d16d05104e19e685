//! The machine that is examined: any directory can stand in for its `/`.

use crate::podman::containers_conf::Sources;
use crate::podman::hooks;
use nix::unistd::{AccessFlags, User};
use nvbind_core::input;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// No text file that is read here is as large.
const SIZE_LIMIT: u64 = 4 << 20;

/// Who asks, and where.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// What stands in for `/`. Absolute links are not followed inside it, but from the real `/`.
    pub(super) root: PathBuf,
    /// The user.
    pub(super) uid: u32,
    /// The user's name, else the number.
    pub(super) user: String,
    /// The user's groups.
    pub(super) groups: Vec<u32>,
    /// `PATH`, as paths of the machine.
    pub(super) search: Vec<PathBuf>,
    /// Where podman's configuration is, with the root in front.
    pub(super) sources: Sources,
    /// What a program prints when it is asked for its version.
    pub(super) version_of: fn(&Path) -> Option<String>,
}

impl Machine {
    /// The machine of this process.
    #[must_use]
    pub(crate) fn this() -> Machine {
        let uid = nix::unistd::geteuid();
        let named = User::from_uid(uid).ok().flatten().map(|user| user.name);
        let mut groups = nix::unistd::getgroups().unwrap_or_default();
        groups.push(nix::unistd::getegid());
        let search = std::env::var_os("PATH").unwrap_or_default();
        Machine {
            root: PathBuf::from("/"),
            uid: uid.as_raw(),
            user: named.unwrap_or_else(|| uid.to_string()),
            groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            search: std::env::split_paths(&search).collect(),
            sources: Sources::of_this_process(),
            version_of,
        }
    }

    /// Where a path of this machine is.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        hooks::below(&self.root, path.as_ref())
    }

    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A text file, without the space around it; none where it can't be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = text(&self.path(path))?;
        Some(text.trim().to_owned())
    }

    /// The files of a directory whose names end in one of these, in order, with the root in front; none where it can't be read.
    pub(super) fn files(&self, directory: &str, extensions: &[&str]) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
        let is_meant = |path: &PathBuf| {
            extensions.iter().any(|extension| path.extension() == Some(OsStr::new(extension)))
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_meant).collect();
        paths.sort();
        paths
    }

    /// A program of `PATH`, or one by its absolute path, and what it says of its version.
    pub(super) fn program(&self, name: &str) -> Option<(PathBuf, Option<String>)> {
        self.program_in(&self.search, name)
    }

    /// The same in other directories.
    pub(super) fn program_in(
        &self,
        directories: &[impl AsRef<Path>],
        name: &str,
    ) -> Option<(PathBuf, Option<String>)> {
        let candidates = directories.iter().map(|directory| self.path(directory.as_ref().join(name)));
        let path = candidates
            .filter(|path| path.is_file())
            .find(|path| nix::unistd::access(path, AccessFlags::X_OK).is_ok())?;
        let says = (self.version_of)(&path);
        Some((path, says))
    }

    /// `sudo ` in front of what only root can do.
    pub(super) fn as_root(&self, command: &str) -> String {
        if self.is_root() { command.to_owned() } else { format!("sudo {command}") }
    }

    /// The command of this distribution that installs a package.
    pub(super) fn install(&self, package: &str) -> String {
        const MANAGERS: &[(&str, &str)] = &[
            ("/usr/bin/apt-get", "apt-get install"),
            ("/usr/bin/dnf", "dnf install"),
            ("/usr/bin/zypper", "zypper install"),
            ("/usr/bin/pacman", "pacman -S"),
        ];
        let manager = MANAGERS.iter().find(|(path, _)| self.has(path));
        let (_, command) = manager.or_else(|| MANAGERS.first()).copied().unwrap_or_default();
        self.as_root(&format!("{command} {package}"))
    }
}

/// A text file of a sensible size; none where it can't be read. Bytes that are not UTF-8 are replaced.
pub(super) fn text(path: &Path) -> Option<String> {
    let (bytes, _) = input::read(path, SIZE_LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks a program for its version. It gets this process's environment: a rootless podman needs a home directory.
fn version_of(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_really_asked() {
        assert!(version_of(Path::new(env!("CARGO"))).unwrap().starts_with("cargo "));
        assert_eq!(version_of(Path::new("/nonexistent")), None);
        assert_eq!(version_of(Path::new("/bin/false")), None);
    }
}
