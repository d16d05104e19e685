//! podman itself: which one a command line starts, with which hooks, and its start.

use super::containers_conf::{Error, Sources};
use super::hooks::{self, Installed};
use super::lexer::{Given, Group};
use super::options::Options;
use nvbind_core::child;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Podman may have to wait for another one that holds a lock of its storage.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

/// Why podman does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("podman is not installed, or not in PATH")]
    Missing,
    #[error("cannot start podman")]
    Failed(#[source] io::Error),
}

impl Explain for NotStarted {
    fn exit(&self) -> Exit {
        Exit::Driver
    }

    fn hint(&self) -> Option<String> {
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

/// What podman prints, asked something that it answers without starting a container; none where it does not.
pub(crate) fn ask(arguments: &[OsString]) -> Option<Vec<u8>> {
    child::read_output_with_environment(Command::new("podman").args(arguments), ASKED_WITHIN).ok()
}

/// The processes of containers that a podman with these options tells by these words, as `inspect
/// --format={{.State.Pid}} NAME`; none where there is no such container.
pub(crate) fn processes(options: &Options, words: &[&str]) -> Vec<u32> {
    let global = options.for_podman().filter(|group| group.is_global()).flat_map(Group::arguments);
    let arguments: Vec<OsString> = global.chain(words.iter().map(OsString::from)).collect();
    let output = ask(&arguments).unwrap_or_default();
    String::from_utf8_lossy(&output).split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Where a podman with these options looks for hooks; none where the container starts on another machine.
pub(crate) fn hooks_dirs(options: &Options) -> Result<Option<Vec<PathBuf>>, Error> {
    if Remote::find(options).is_remote() {
        return Ok(None);
    }
    let modules: Vec<PathBuf> = options.values("module").map(PathBuf::from).collect();
    let engine = Sources::of_this_process().read(&modules)?;
    if engine.remote {
        return Ok(None);
    }
    let given = hooks::from_command_line(options.values("hooks-dir"));
    Ok(Some(if given.is_empty() { engine.hooks_dirs } else { given }))
}

/// The hook that podman runs.
pub(crate) fn hook(directories: &[PathBuf]) -> Result<Installed, hooks::Error> {
    let hook = hooks::find(directories)?;
    log::debug!("podman runs {} by {}", hook.binary.display(), hook.json.display());
    Ok(hook)
}

/// Where the command line puts podman's service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Remote {
    /// `--remote`, `-r` or `--remote=BOOL`.
    switch: Option<bool>,
    /// `--url`, `--connection`, `--context` or `--host`.
    service: bool,
}

impl Remote {
    fn find(options: &Options) -> Remote {
        let names = ["url", "connection", "context", "host"];
        Remote {
            switch: options.last("remote").map(Given::is_on),
            service: names.iter().any(|name| options.last(name).is_some()),
        }
    }

    /// Whether podman will be a client of another one, as its `registry.IsRemote` decides: that host is not this one.
    fn is_remote(self) -> bool {
        let from_environment =
            || ["CONTAINER_HOST", "CONTAINER_CONNECTION"].iter().any(|name| std::env::var_os(name).is_some());
        self.service || self.switch.unwrap_or_else(from_environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podman::command_line::CommandLine;

    #[test]
    fn a_switch_of_another_service_is_seen_in_every_spelling() {
        let table = [
            ("I --remote", Remote::default()),
            ("--remote I", Remote { switch: Some(true), service: false }),
            ("-r I", Remote { switch: Some(true), service: false }),
            ("--remote=0 I", Remote { switch: Some(false), service: false }),
            ("-Htcp://h I", Remote { switch: None, service: true }),
            ("--connection c I", Remote { switch: None, service: true }),
        ];
        for (typed, expected) in table {
            let line = CommandLine::parse(typed.split(' ').map(OsString::from)).unwrap();
            assert_eq!(Remote::find(&line.options), expected, "nvbind run {typed}");
        }
    }

    #[test]
    fn a_named_service_is_remote_even_where_the_switch_is_off() {
        for (switch, service, expected) in
            [(false, true, true), (false, false, false), (true, false, true), (true, true, true)]
        {
            assert_eq!(Remote { switch: Some(switch), service }.is_remote(), expected);
        }
    }
}
