//! The machine that is examined: any directory can stand in for its `/`.

use crate::config::{self, Layer};
use crate::driver::User;
use crate::podman::containers_conf::Sources;
use crate::podman::hooks;
use crate::version::{self, Version};
use nix::unistd::{AccessFlags, Uid};
use nvbind_core::message::line;
use nvbind_core::{child, input, selinux};
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// No text file that is read here is as large.
const SIZE_LIMIT: u64 = 4 << 20;

/// No policy of SELinux's is as large.
const BINARY_LIMIT: u64 = 64 << 20;

/// The variables that checks look at.
const VARIABLES: &[&str] =
    &["CONTAINERS_REGISTRIES_CONF", "DISPLAY", "HOME", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"];

/// The driver's modules may have to initialise GPUs.
const FIX_TIMEOUT: Duration = Duration::from_secs(120);

/// Who asks, and where.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// What stands in for `/`. Absolute links are not followed inside it, but from the real `/`.
    pub(super) root: PathBuf,
    pub(super) user: User,
    /// The user's name, else the number.
    pub(super) name: String,
    /// `PATH`, as paths of the machine.
    pub(super) search: Vec<PathBuf>,
    /// The variables that checks look at, where they are set.
    pub(super) environment: BTreeMap<&'static str, OsString>,
    /// Where podman's configuration is, with the root in front.
    pub(super) sources: Sources,
    /// Where nvbind's own is, with the root in front.
    pub(super) layers: Vec<Layer>,
    /// The name or path by which a shell finds this program.
    pub(super) nvbind: String,
    /// What a program prints when it is asked for its version.
    pub(super) version_of: fn(&Path) -> Option<String>,
    /// The SELinux type of a file.
    pub(super) type_of: fn(&Path) -> Option<String>,
}

/// A program of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Where it is, with the root in front.
    pub(super) path: PathBuf,
    /// Its version, where it tells one.
    pub(super) version: Option<Version>,
}

impl Machine {
    /// The machine of this process.
    #[must_use]
    pub(crate) fn this() -> Machine {
        let user = User::this();
        let named = nix::unistd::User::from_uid(Uid::from_raw(user.uid)).ok().flatten();
        let search: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        let set = |name: &&'static str| Some((*name, env::var_os(name).filter(|value| !value.is_empty())?));
        Machine {
            root: PathBuf::from("/"),
            name: named.map_or_else(|| user.uid.to_string(), |user| user.name),
            user,
            environment: VARIABLES.iter().filter_map(set).collect(),
            sources: Sources::of_this_process(),
            layers: config::layers(None),
            nvbind: this_program(&search),
            search,
            version_of: version::ask,
            type_of: selinux::type_of,
        }
    }

    /// Where a path of this machine is.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        hooks::below(&self.root, path.as_ref())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A text file, without the space around it; none where it can't be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = text(&self.path(path))?;
        Some(text.trim().to_owned())
    }

    /// Whether these bytes are somewhere in a file; not where it can't be read.
    pub(super) fn holds(&self, path: &str, bytes: &[u8]) -> bool {
        let content = input::read(&self.path(path), BINARY_LIMIT);
        content.is_ok_and(|(content, _)| content.windows(bytes.len()).any(|window| window == bytes))
    }

    /// The files of a directory of this machine, as [`files`].
    pub(super) fn files(&self, directory: &str, extensions: &[&str]) -> Vec<PathBuf> {
        files(&self.path(directory), extensions)
    }

    /// A program of these directories, or one by its absolute path.
    pub(super) fn program(&self, directories: &[impl AsRef<Path>], name: &str) -> Option<Program> {
        let candidates = directories.iter().map(|directory| self.path(directory.as_ref().join(name)));
        let path = candidates
            .filter(|path| path.is_file())
            .find(|path| nix::unistd::access(path, AccessFlags::X_OK).is_ok())?;
        let version = (self.version_of)(&path).as_deref().and_then(Version::find);
        Some(Program { path, version })
    }
}

/// The files of a directory whose names end in one of these, all where there is none, in order; none where it can't be
/// read.
pub(super) fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_meant = |path: &PathBuf| {
        extensions.is_empty()
            || extensions.iter().any(|extension| path.extension() == Some(OsStr::new(extension)))
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_meant).collect();
    paths.sort();
    paths
}

/// A text file of a sensible size; none where it can't be read. Bytes that are not UTF-8 are replaced.
pub(super) fn text(path: &Path) -> Option<String> {
    read(path).ok()
}

/// The same, and why it can't be read.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let (bytes, _) = input::read(path, SIZE_LIMIT)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `nvbind`, if that is what a shell runs by this name, else this program's path.
fn this_program(search: &[PathBuf]) -> String {
    const NAME: &str = "nvbind";
    let this = env::current_exe().ok();
    let found = search.iter().map(|directory| directory.join(NAME)).find(|path| path.is_file());
    let is_this = found.and_then(|path| fs::canonicalize(path).ok()) == this;
    match this {
        Some(path) if !is_this => path.display().to_string(),
        _ => NAME.to_owned(),
    }
}

/// Runs a command that fixes something, or returns why it did not.
pub(super) fn run(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    match child::read_output_with_environment(Command::new(program).args(arguments), FIX_TIMEOUT) {
        Ok(_) => Ok(()),
        Err(child::Error::TimedOut { timeout, .. }) => {
            Err(format!("it did not end within {} seconds", timeout.as_secs()))
        }
        Err(error) => Err(line(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_runs_as_it_is_and_says_why_it_failed() {
        let command = |command: &[&str]| command.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(run(&command(&["/bin/true", "$("])), Ok(()));
        let failed = run(&command(&["/bin/sh", "-c", "echo \"no $0\" >&2; exit 3", "driver"]));
        assert_eq!(failed, Err("/bin/sh failed (exit status: 3): no driver".to_owned()));
    }

    #[test]
    fn this_program_is_named_as_a_shell_finds_it() {
        let this = env::current_exe().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let search = [directory.path().to_owned()];
        assert_eq!(this_program(&search), this.display().to_string());
        std::os::unix::fs::symlink(&this, directory.path().join("nvbind")).unwrap();
        assert_eq!(this_program(&search), "nvbind");
    }
}
