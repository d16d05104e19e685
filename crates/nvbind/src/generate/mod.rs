//! What podman would be told as a file that starts the same container: a Quadlet, a systemd unit, a pod.

pub(crate) mod pod;
pub(crate) mod quadlet;
pub(crate) mod systemd;
pub(crate) mod unit;

#[cfg(test)]
mod tests;

use crate::podman::invocation::Invocation;
use crate::podman::lexer::Group;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::ffi::OsString;
use std::path::Path;

/// Options that podman knows before and after `run`, and that its other commands need as well to find the container
/// (`cmd/podman/root.go` of its source).
const OF_ALL_COMMANDS: &[&str] = &[
    "cgroup-manager",
    "conmon",
    "events-backend",
    "hooks-dir",
    "imagestore",
    "log-level",
    "network-cmd-path",
    "network-config-dir",
    "root",
    "runroot",
    "runtime",
    "runtime-flag",
    "storage-driver",
    "syslog",
    "tmpdir",
    "transient-store",
    "volumepath",
];

/// Options whose value is a path, which may begin at the current directory.
const PATHS: &[&str] = &[
    "authfile",
    "cert-dir",
    "config",
    "conmon-pidfile",
    "env-file",
    "hooks-dir",
    "label-file",
    "pidfile",
    "pod-id-file",
];

/// The start of a container by podman. All text: unit files and JSON hold nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    /// Options of all of podman's commands.
    global: Vec<Setting>,
    /// Options of `podman run`.
    options: Vec<Setting>,
    /// IMAGE, or a directory with `--rootfs`.
    image: String,
    /// COMMAND with its arguments.
    command: Vec<String>,
}

/// An option of podman's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    /// The long name.
    name: String,
    value: Option<String>,
    /// The value of a switch.
    is_on: bool,
}

/// A file, and notes on it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Generated {
    pub(crate) text: String,
    /// What is not as it would be with `nvbind run`.
    pub(crate) notes: Vec<String>,
}

/// Why there can't be a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("there is no image in the command line")]
    NoImage,
    #[error("--{option} needs a value")]
    NoValue { option: String },
    /// A short option that no podman has.
    #[error("podman run has no option {option}")]
    Unknown { option: String },
    #[error("{argument:?} is not UTF-8")]
    NotText { argument: OsString },
    /// It would end the line, or the value.
    #[error("{image:?} cannot stand in a Quadlet as an image")]
    Image { image: String },
    /// Quadlet hands `;` to systemd unquoted, which begins another command there, and drops all that follows an empty word.
    #[error("the command has the word {word:?}, which Quadlet cannot hold")]
    Word { word: &'static str },
    #[error("podman has no restart policy {policy:?}")]
    Restart { policy: String },
    /// Left out, they would make another container.
    #[error("a pod cannot hold {}", options.join(", "))]
    Pod { options: Vec<String> },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::NoImage => "write it as `nvbind generate KIND -- [OPTIONS] IMAGE [COMMAND]`",
            Error::Word { .. } => "`nvbind generate systemd` can, or put the command into `sh -c`",
            Error::Pod { .. } => {
                "take them out, of runtime.default_args too, or see `nvbind generate quadlet`"
            }
            Error::NoValue { .. }
            | Error::Unknown { .. }
            | Error::NotText { .. }
            | Error::Image { .. }
            | Error::Restart { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Start {
    /// What podman is told, for a file. Paths get absolute: a service has another current directory.
    pub(crate) fn new(podman: &Invocation, directory: &Path) -> Result<Start, Error> {
        let mut start = Start { global: settings(&podman.global)?, ..Start::default() };
        for mut setting in settings(&podman.options)? {
            if let Some(path) = setting.value.as_deref().and_then(|it| absolute(&setting.name, it, directory))
            {
                setting.value = Some(path);
            }
            let target = if OF_ALL_COMMANDS.contains(&setting.name.as_str()) {
                &mut start.global
            } else {
                &mut start.options
            };
            target.push(setting);
        }
        start.image = text(podman.container.image.as_ref().ok_or(Error::NoImage)?)?;
        start.command = podman.container.command.iter().map(text).collect::<Result<_, _>>()?;
        if start.is_on("rootfs") && !start.image.starts_with('/') {
            start.image = below(directory, &start.image);
        }
        Ok(start)
    }

    /// The value that podman would use of an option that counts once.
    fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|setting| setting.name == name)?.value.as_deref()
    }

    /// Whether a switch is on.
    fn is_on(&self, name: &str) -> bool {
        self.options.iter().rev().find(|setting| setting.name == name).is_some_and(|setting| setting.is_on)
    }
}

impl Setting {
    /// The option as one argument, which podman takes for every option.
    fn argument(&self) -> String {
        match &self.value {
            Some(value) => format!("--{}={value}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

fn settings(groups: &[Group]) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    for group in groups {
        for given in &group.options {
            if given.name.is_empty() {
                return Err(Error::Unknown { option: group.text().to_string_lossy().into_owned() });
            }
            if given.lacks_its_value() {
                return Err(Error::NoValue { option: given.name.clone() });
            }
            let value = given.value.as_ref().map(text).transpose()?;
            settings.push(Setting { name: given.name.clone(), value, is_on: given.is_on() });
        }
    }
    Ok(settings)
}

fn text(argument: &OsString) -> Result<String, Error> {
    argument.clone().into_string().map_err(|argument| Error::NotText { argument })
}

/// The value of an option with its path absolute; none where it needs no change.
fn absolute(option: &str, value: &str, directory: &Path) -> Option<String> {
    match option {
        // What begins with neither is the name of a volume (podman-run(1)).
        "volume" => value.starts_with('.').then(|| below(directory, value)),
        "mount" => {
            let parts = value.split(',').map(|part| match part.split_once('=') {
                Some((key @ ("src" | "source"), path)) if path.starts_with('.') => {
                    format!("{key}={}", below(directory, path))
                }
                _ => part.to_owned(),
            });
            Some(parts.collect::<Vec<_>>().join(",")).filter(|changed| changed != value)
        }
        "security-opt" => {
            let profile = value.strip_prefix("seccomp=").filter(|profile| *profile != "unconfined")?;
            (!profile.starts_with('/')).then(|| format!("seccomp={}", below(directory, profile)))
        }
        option if PATHS.contains(&option) && !value.starts_with('/') => Some(below(directory, value)),
        _ => None,
    }
}

fn below(directory: &Path, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    directory.join(path).display().to_string()
}

/// What the user should know of a variable without a value, whose value podman takes from its own environment.
fn note_inherited(setting: &Setting) -> Option<String> {
    let variable = setting.value.as_deref().filter(|value| setting.name == "env" && !value.contains('='))?;
    Some(format!("--env {variable} takes the value from the service's environment, not from this one"))
}
