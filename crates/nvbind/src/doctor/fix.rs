//! The one command that fixes something: it runs as it is printed.

use super::Machine;
use crate::podman::shell;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::ffi::OsStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fix {
    /// The program with its arguments, `sudo` before them where this user could not do it.
    command: Vec<String>,
    /// Whether `--fix` runs it: this user can, and it [is safe](Fix::safe).
    runs: bool,
}

impl Fix {
    /// A command for this user that is to be run by hand.
    pub(super) fn new<W: Into<String>>(command: impl IntoIterator<Item = W>) -> Fix {
        Fix { command: command.into_iter().map(Into::into).collect(), runs: false }
    }

    /// The same for root.
    pub(super) fn as_root<W: Into<String>>(machine: &Machine, command: impl IntoIterator<Item = W>) -> Fix {
        let sudo = (!machine.user.is_root()).then(|| "sudo".to_owned());
        Fix::new(sudo.into_iter().chain(command.into_iter().map(Into::into)))
    }

    /// One that `--fix` may run: it changes nothing but files of nvbind's own, which `nvbind setup --uninstall` takes
    /// back, or does what the driver's own tools do at boot; it installs no package, and nobody may do more afterwards
    /// than before. Not where it needs sudo, which may ask for a password.
    #[must_use]
    pub(super) fn safe(mut self) -> Fix {
        self.runs = self.command.first().is_some_and(|program| program != "sudo");
        self
    }

    /// A script of a shell, for root.
    pub(super) fn script(machine: &Machine, script: &str) -> Fix {
        Fix::as_root(machine, ["sh", "-c", script])
    }

    /// A file that has to be edited.
    pub(super) fn edit(machine: &Machine, path: &str) -> Fix {
        Fix::as_root(machine, ["vi", path])
    }

    /// The command, where `--fix` runs it.
    pub(super) fn to_run(&self) -> Option<&[String]> {
        self.runs.then_some(&self.command)
    }

    /// As a shell takes it.
    pub(super) fn text(&self) -> String {
        text(&self.command)
    }
}

/// A command as a shell takes it.
pub(super) fn text(command: &[String]) -> String {
    String::from_utf8_lossy(&shell::quote(command.iter().map(OsStr::new))).into_owned()
}

/// As text, as a list, and whether `--fix` runs it.
impl Serialize for Fix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_struct("Fix", 3)?;
        keys.serialize_field("fix", &self.text())?;
        keys.serialize_field("command", &self.command)?;
        keys.serialize_field("safe", &self.runs)?;
        keys.end()
    }
}
