//! What podman would be told, as a file that starts the same container: a Quadlet, a systemd unit, a pod.

pub(crate) mod kube;
pub(crate) mod quadlet;
pub(crate) mod systemd;
pub(crate) mod unit;

#[cfg(test)]
mod tests;

use crate::podman::lexer::{self, Given, Item};
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

/// A container as podman is asked for it. All text: unit files and JSON hold nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Options of all of podman's commands.
    pub(crate) global: Vec<Setting>,
    /// Options of `podman run`.
    pub(crate) options: Vec<Setting>,
    /// IMAGE, or a directory with `--rootfs`.
    pub(crate) image: String,
    /// COMMAND with its arguments.
    pub(crate) command: Vec<String>,
}

/// An option of podman's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The long name.
    pub(crate) name: String,
    /// Its value, if it has one.
    pub(crate) value: Option<String>,
    /// What a switch says.
    pub(crate) is_on: bool,
}

/// A file, and what a person has to know of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Generated {
    /// The file.
    pub(crate) text: String,
    /// What is not as it would be with `nvbind run`.
    pub(crate) notes: Vec<String>,
}

/// Why there can't be a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// Only options.
    #[error("there is no image in the command line")]
    NoImage,
    /// The option stands last.
    #[error("--{option} needs a value")]
    NoValue {
        /// Its long name.
        option: String,
    },
    /// A short option that no podman has.
    #[error("podman run has no option {word}")]
    Unknown {
        /// As it was typed.
        word: String,
    },
    /// Neither unit files nor JSON can hold it.
    #[error("{word:?} is not UTF-8")]
    NotText {
        /// As it was typed.
        word: OsString,
    },
    /// It would end the line, or the value.
    #[error("{image:?} cannot stand in a Quadlet as an image")]
    Image {
        /// As it was typed.
        image: String,
    },
    /// Quadlet hands `;` to systemd unquoted, which begins another command there, and drops all that follows an empty word.
    #[error("the command has the word {word:?}, which Quadlet cannot hold")]
    Word {
        /// The word.
        word: &'static str,
    },
    /// No policy of podman's.
    #[error("podman has no restart policy {policy:?}")]
    Restart {
        /// As it was typed.
        policy: String,
    },
    /// Left out, they would make another container.
    #[error("a pod cannot hold {}", options.join(", "))]
    Pod {
        /// With their values.
        options: Vec<String>,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
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

impl Asked {
    /// Reads podman's arguments, `run` among them. Paths get absolute: a service has another current directory.
    pub(crate) fn parse(arguments: Vec<OsString>, directory: &Path) -> Result<Asked, Error> {
        let mut words = arguments.into_iter();
        let mut asked = Asked::default();
        let (before, _run) = settings(&mut words)?;
        let (after, end) = settings(&mut words)?;
        let image = match end {
            Some(word) if word == "--" => words.next(),
            other => other,
        };
        asked.image = text(image.ok_or(Error::NoImage)?)?;
        asked.command = words.map(text).collect::<Result<_, _>>()?;
        asked.global = before;
        for mut setting in after {
            if let Some(path) = setting.value.as_deref().and_then(|it| absolute(&setting.name, it, directory))
            {
                setting.value = Some(path);
            }
            let target = if OF_ALL_COMMANDS.contains(&setting.name.as_str()) {
                &mut asked.global
            } else {
                &mut asked.options
            };
            target.push(setting);
        }
        if asked.is_on("rootfs") && !asked.image.starts_with('/') {
            asked.image = below(directory, &asked.image);
        }
        Ok(asked)
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
    fn new(given: Given, word: &OsString) -> Result<Setting, Error> {
        if given.name.is_empty() {
            return Err(Error::Unknown { word: word.to_string_lossy().into_owned() });
        }
        if given.lacks_its_value() {
            return Err(Error::NoValue { option: given.name });
        }
        let is_on = given.is_on();
        Ok(Setting { name: given.name, value: given.value.map(text).transpose()?, is_on })
    }

    /// The option as one word, which podman takes for every option.
    fn word(&self) -> String {
        match &self.value {
            Some(value) => format!("--{}={value}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

/// The options up to the first word that is none, and that word.
fn settings(words: &mut impl Iterator<Item = OsString>) -> Result<(Vec<Setting>, Option<OsString>), Error> {
    let mut settings = Vec::new();
    while let Some(item) = lexer::next(words) {
        match item {
            Item::Options(options) => {
                for given in options.all {
                    settings.push(Setting::new(given, &options.word)?);
                }
            }
            Item::End(word) => return Ok((settings, Some(word))),
        }
    }
    Ok((settings, None))
}

fn text(word: OsString) -> Result<String, Error> {
    word.into_string().map_err(|word| Error::NotText { word })
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
fn inherited(setting: &Setting) -> Option<String> {
    let variable = setting.value.as_deref().filter(|value| setting.name == "env" && !value.contains('='))?;
    Some(format!("--env {variable} takes the value from the service's environment, not from this one"))
}
