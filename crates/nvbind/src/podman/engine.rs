//! podman itself: which one a command line starts, with which hooks, and its start.

use super::command_line::Remote;
use super::containers_conf::{Error, Sources};
use super::hooks::{self, Installed};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Why podman does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    /// It is not there.
    #[error("podman is not installed, or not in PATH")]
    Missing,
    /// It cannot be executed.
    #[error("cannot start podman")]
    Failed(#[source] io::Error),
}

impl NotStarted {
    /// What to do, where the message does not say it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            NotStarted::Missing => Some("install podman with the system's package manager".into()),
            NotStarted::Failed(_) => None,
        }
    }
}

/// Runs podman in place of this process; returns only where that fails.
pub(crate) fn become_podman(arguments: &[OsString]) -> NotStarted {
    let error = Command::new("podman").args(arguments).exec();
    if error.kind() == io::ErrorKind::NotFound { NotStarted::Missing } else { NotStarted::Failed(error) }
}

/// Where this podman looks for hooks; none where the container starts on another machine.
pub(crate) fn hooks_dirs(
    remote: Remote,
    modules: &[PathBuf],
    given: &[OsString],
) -> Result<Option<Vec<PathBuf>>, Error> {
    if is_remote(remote) {
        return Ok(None);
    }
    let engine = Sources::of_this_process().read(modules)?;
    if engine.remote {
        return Ok(None);
    }
    let given = hooks::from_command_line(given);
    Ok(Some(if given.is_empty() { engine.hooks_dirs } else { given }))
}

/// The hook that podman runs.
pub(crate) fn hook(directories: &[PathBuf]) -> Result<Installed, hooks::Error> {
    let hook = hooks::find(directories)?;
    log::debug!("podman runs {} by {}", hook.binary.display(), hook.json.display());
    Ok(hook)
}

/// Whether podman will be a client of another one, as its `registry.IsRemote` decides: that host is not this one.
fn is_remote(remote: Remote) -> bool {
    let from_environment =
        || ["CONTAINER_HOST", "CONTAINER_CONNECTION"].iter().any(|name| std::env::var_os(name).is_some());
    remote.service || remote.switch.unwrap_or_else(from_environment)
}
