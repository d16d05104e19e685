//! nvbind's own options on a command line that is podman's otherwise.

use super::lexer::{Given, Origin};
use super::ways::Way;
use crate::choice::{self, Choice};
use clap::ColorChoice;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// nvbind's own options. Of an option that stands there twice the last one counts, but all that ask for GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) help: bool,
    /// `--verbose`; podman's `-v` is `--volume`.
    pub(crate) verbose: bool,
    pub(crate) color: Option<ColorChoice>,
    pub(crate) dry_run: bool,
    pub(crate) config: Option<PathBuf>,
    /// What asks for GPUs, in order: `--gpu`, `--gpus`, and options of podman's.
    pub(crate) ways: Vec<Way>,
    /// What is asked for where no option asks.
    pub(crate) default_gpus: Option<Choice>,
    pub(crate) capabilities: Option<String>,
    pub(crate) extras: Option<String>,
    pub(crate) isolate: Option<bool>,
    pub(crate) device_rules: Option<bool>,
    pub(crate) rootless: Option<bool>,
    /// `--profile`, which may be repeated.
    pub(crate) profiles: Vec<String>,
    pub(crate) runtime: Option<Runtime>,
}

/// The OCI runtime for podman: a name or a path; none for podman's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runtime(pub(crate) Option<OsString>);

/// Why a command line can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("{option} needs a value")]
    NoValue { option: String },
    #[error("the value of {option} is not UTF-8")]
    NotText { option: String },
    #[error("{option} takes no value but true or false")]
    Switch { option: String },
    #[error("--color takes auto, always or never")]
    Color,
    #[error(
        "{name:?} is no runtime that nvbind can use: write podman, crun, runc or the path of an OCI runtime"
    )]
    Runtime { name: String },
    /// What asks for GPUs cannot be understood.
    #[error(transparent)]
    Choice(#[from] choice::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }

    fn hint(&self) -> Option<String> {
        if let Error::Choice(error) = self { error.hint() } else { None }
    }
}

impl Own {
    /// Adds what the option asks for, if it is one that asks for GPUs: podman's, too.
    pub(super) fn ask(&mut self, given: &Given, origin: &Origin) -> Result<(), Error> {
        self.ways.extend(Way::read(given, origin)?);
        Ok(())
    }

    /// Sets what the option says.
    pub(super) fn set(&mut self, given: &Given) -> Result<(), Error> {
        let option = || format!("--{}", given.name);
        let value = || given.value.clone().ok_or_else(|| Error::NoValue { option: option() });
        let switch = || given.switch().ok_or_else(|| Error::Switch { option: option() });
        let text = || value()?.into_string().map_err(|_value| Error::NotText { option: option() });
        match given.name.as_str() {
            "help" => self.help = switch()?,
            "verbose" => self.verbose = switch()?,
            "color" => self.color = Some(color(&value()?)?),
            "dry-run" => self.dry_run = switch()?,
            "config" => self.config = Some(value()?.into()),
            // It is read with all that asks for GPUs.
            "gpu" | "gpus" => drop(text()?),
            "capabilities" => self.capabilities = Some(text()?),
            "extras" => self.extras = Some(text()?),
            "isolate" => self.isolate = Some(switch()?),
            "device-rules" => self.device_rules = Some(switch()?),
            "rootless" => self.rootless = Some(switch()?),
            "profile" => self.profiles.push(text()?),
            "runtime" => self.runtime = Some(Runtime::parse(value()?)?),
            _ => {}
        }
        Ok(())
    }

    /// These options, and the earlier ones where these say nothing. What tells nvbind how to run, and not what to
    /// start, is only for who types it.
    pub(super) fn after(self, earlier: Own) -> Own {
        Own {
            ways: [earlier.ways, self.ways].concat(),
            default_gpus: self.default_gpus.or(earlier.default_gpus),
            capabilities: self.capabilities.or(earlier.capabilities),
            extras: self.extras.or(earlier.extras),
            isolate: self.isolate.or(earlier.isolate),
            device_rules: self.device_rules.or(earlier.device_rules),
            rootless: self.rootless.or(earlier.rootless),
            profiles: [earlier.profiles, self.profiles].concat(),
            runtime: self.runtime.or(earlier.runtime),
            ..self
        }
    }
}

impl Runtime {
    /// Whether it is NVIDIA's, as Docker's `--runtime nvidia`: it would add GPUs of its own, and starts the container
    /// by another runtime.
    pub(crate) fn is_nvidias(name: &OsStr) -> bool {
        let program = Path::new(name).file_name().unwrap_or(name).as_bytes();
        program == b"nvidia" && name == "nvidia" || program.starts_with(b"nvidia-container-runtime")
    }

    /// Reads the value of `--runtime`.
    pub(crate) fn parse(name: OsString) -> Result<Runtime, Error> {
        match name.as_bytes() {
            b"podman" => Ok(Runtime(None)),
            _ if Runtime::is_nvidias(&name) => Ok(Runtime(None)),
            b"crun" | b"runc" => Ok(Runtime(Some(name))),
            path if path.contains(&b'/') => Ok(Runtime(Some(name))),
            _ => Err(Error::Runtime { name: name.to_string_lossy().into_owned() }),
        }
    }
}

fn color(value: &OsStr) -> Result<ColorChoice, Error> {
    value.to_str().and_then(|value| value.parse().ok()).ok_or(Error::Color)
}
