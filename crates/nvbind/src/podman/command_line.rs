//! What follows `nvbind run` or `create`: nvbind's own options taken out, all others kept for podman, untouched and in order.
//!
//! clap can't do this, because it has to know every option, and loses their order.

use super::lexer::{self, Given, Item, Options};
use super::options;
use clap::ColorChoice;
use nvbind_core::request::{
    self, CAPABILITIES_ANNOTATION, CAPABILITIES_VARIABLE, EXTRAS_ANNOTATION, GPU_ANNOTATION,
    ISOLATE_ANNOTATION, Request,
};
use nvbind_core::visible_devices;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What `nvbind run` asks for without `--gpu`.
const ALL: &str = "all";

/// CUDA counts GPUs by speed unless told otherwise; the selection and nvidia-smi count them by PCI address (CUDA
/// programming guide, "CUDA Environment Variables").
pub(crate) const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// More than any machine has: a range beyond is refused when the selection is read.
const MANY_GPUS: u32 = 256;

/// A scanned command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `--help` before IMAGE.
    pub(crate) help: bool,
    /// `--verbose`; podman's `-v` is `--volume`.
    pub(crate) verbose: bool,
    /// `--color`.
    pub(crate) color: Option<ColorChoice>,
    /// `--dry-run`.
    pub(crate) dry_run: bool,
    /// `--gpu` or `--gpus`.
    pub(crate) gpu: Option<String>,
    /// `--capabilities`.
    pub(crate) capabilities: Option<String>,
    /// `--extras`.
    pub(crate) extras: Option<String>,
    /// `--isolate`, and not `--isolate=false` after it.
    pub(crate) isolate: bool,
    /// `--device-rules`.
    pub(crate) device_rules: bool,
    /// `--rootless`.
    pub(crate) rootless: bool,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// Values of `--profile`; those words are made by the configuration.
    pub(crate) profiles: Vec<String>,
    /// `--runtime`, except for `podman`.
    pub(crate) runtime: Option<OsString>,
    /// Values of podman's `--annotation`.
    annotations: Vec<OsString>,
    /// Values of podman's `--env`.
    environment: Vec<OsString>,
    /// Values of podman's `--hooks-dir`.
    pub(crate) hooks_dirs: Vec<OsString>,
    /// Values of podman's `--module`.
    pub(crate) modules: Vec<PathBuf>,
    /// Whether podman's `--group-add` says that the container keeps the user's groups.
    pub(crate) keeps_groups: bool,
    /// podman's `--privileged`.
    pub(crate) privileged: bool,
    /// What podman's `--remote` says, and whether an option names another service.
    pub(crate) remote: Remote,
    /// Options that podman takes only before `run`.
    pub(crate) before_run: Vec<OsString>,
    /// The rest as it was typed: podman's options, IMAGE, COMMAND.
    pub(crate) after_run: Vec<OsString>,
}

/// Where the command line puts podman's service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remote {
    /// `--remote`, `-r` or `--remote=BOOL`.
    pub(crate) switch: Option<bool>,
    /// `--url`, `--connection`, `--context` or `--host`.
    pub(crate) service: bool,
}

/// Why a command line can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// An option of nvbind stands last.
    #[error("{option} needs a value")]
    NoValue {
        /// The option as it was typed.
        option: String,
    },
    /// A selection can only be text.
    #[error("the value of {option} is not UTF-8")]
    NotText {
        /// The option as it was typed.
        option: String,
    },
    /// Neither yes nor no.
    #[error("{option} takes no value but true or false")]
    Switch {
        /// The option.
        option: String,
    },
    /// No way to colour.
    #[error("--color takes auto, always or never")]
    Color,
    /// No OCI runtime for podman.
    #[error(
        "{name:?} is no runtime that nvbind can use: write podman, crun, runc or the path of an OCI runtime"
    )]
    Runtime {
        /// As it was typed.
        name: String,
    },
}

/// What podman is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `podman run`
    Run,
    /// `podman create`
    Create,
}

impl Verb {
    /// The verb of `nvbind WORD`.
    #[must_use]
    pub(crate) fn of(word: &OsStr) -> Option<Verb> {
        [Verb::Run, Verb::Create].into_iter().find(|verb| word == verb.word())
    }

    /// nvbind's and podman's word for it.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Verb::Run => "run",
            Verb::Create => "create",
        }
    }
}

impl CommandLine {
    /// Scans the words after `nvbind run` or `nvbind create`.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, Error> {
        let mut line = CommandLine::default();
        let mut words = words.into_iter();
        while let Some(item) = lexer::next(&mut words) {
            match item {
                Item::Options(options) => {
                    if !line.take_own(&options)? {
                        line.pass_on(options);
                    }
                }
                Item::End(word) => {
                    line.after_run.push(word);
                    break;
                }
            }
        }
        line.after_run.extend(words);
        Ok(line)
    }

    /// Takes an option of nvbind's own; whether it was one.
    fn take_own(&mut self, options: &Options) -> Result<bool, Error> {
        let Some(given) = options.long() else { return Ok(false) };
        let name = given.name.as_str();
        let own_value = || given.value.clone().ok_or_else(|| Error::NoValue { option: format!("--{name}") });
        let switch = || given.switch().ok_or_else(|| Error::Switch { option: format!("--{name}") });
        match name {
            "help" => self.help = switch()?,
            "verbose" => self.verbose = switch()?,
            "color" => self.color = Some(color(&own_value()?)?),
            "dry-run" => self.dry_run = switch()?,
            "device-rules" => self.device_rules = switch()?,
            "rootless" => self.rootless = switch()?,
            "isolate" => self.isolate = switch()?,
            "config" => self.config = Some(own_value()?.into()),
            "gpu" | "gpus" => self.gpu = Some(text(own_value()?, name)?),
            "capabilities" => self.capabilities = Some(text(own_value()?, name)?),
            "extras" => self.extras = Some(text(own_value()?, name)?),
            "runtime" => self.runtime = oci_runtime(own_value()?)?,
            "profile" => self.profiles.push(text(own_value()?, name)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Keeps podman's options for it, and remembers what the pre-flight has to know of them.
    fn pass_on(&mut self, options: Options) {
        let Options { word, separate, all } = options;
        // In a longer cluster podman refuses its global options by itself.
        let is_global = matches!(all.as_slice(), [only] if options::long(&only.name).before_run);
        all.into_iter().for_each(|given| self.note(given));
        let target = if is_global { &mut self.before_run } else { &mut self.after_run };
        target.push(word);
        target.extend(separate);
    }

    fn note(&mut self, given: Given) {
        let is_on = given.is_on();
        match (given.name.as_str(), given.value) {
            ("annotation", Some(value)) => self.annotations.push(value),
            ("env", Some(value)) => self.environment.push(value),
            ("hooks-dir", Some(value)) => self.hooks_dirs.push(value),
            ("module", Some(value)) => self.modules.push(value.into()),
            ("group-add", Some(value)) => self.keeps_groups |= value == "keep-groups",
            ("privileged", _) => self.privileged = is_on,
            ("remote", _) => self.remote.switch = Some(is_on),
            ("url" | "connection" | "context" | "host", _) => self.remote.service = true,
            _ => {}
        }
    }

    /// What the container will ask for, as the hook will read it: an annotation or a variable that the user gives to
    /// podman counts as well.
    pub(crate) fn request(&self) -> Result<Request, request::Error> {
        let capabilities = last(&self.annotations, CAPABILITIES_ANNOTATION).or(self.capabilities.as_deref());
        let extras = last(&self.annotations, EXTRAS_ANNOTATION).or(self.extras.as_deref());
        let isolate = last(&self.annotations, ISOLATE_ANNOTATION).or_else(|| self.isolation());
        Request::parse(self.gpus(), capabilities, last(&self.environment, CAPABILITIES_VARIABLE))?
            .with_extras(extras)?
            .with_isolation(isolate)
    }

    /// podman's arguments for this verb, without `podman` itself. The annotations and variables come first, so that one that the user
    /// gives wins. Where NVIDIA's own hook is installed, the variable that it reads must not ask it for anything.
    /// `device_rules` are values of `--device-cgroup-rule`.
    #[must_use]
    pub(crate) fn podman_arguments(
        &self,
        verb: Verb,
        has_nvidias_hook: bool,
        device_rules: &[String],
    ) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if let Some(runtime) = &self.runtime {
            arguments.push("--runtime".into());
            arguments.push(runtime.clone());
        }
        arguments.extend_from_slice(&self.before_run);
        arguments.push(verb.word().into());
        let annotations = [
            (GPU_ANNOTATION, Some(self.gpu.as_deref().unwrap_or(ALL))),
            (CAPABILITIES_ANNOTATION, self.capabilities.as_deref()),
            (EXTRAS_ANNOTATION, self.extras.as_deref()),
            (ISOLATE_ANNOTATION, self.isolation()),
        ];
        for (key, value) in annotations {
            let Some(value) = value else { continue };
            arguments.push("--annotation".into());
            arguments.push(format!("{key}={}", comma_free(value)).into());
        }
        let visible = if has_nvidias_hook { request::VOID.to_owned() } else { visible(self.gpus()) };
        for (key, value) in [(visible_devices::VARIABLE, visible.as_str()), DEVICE_ORDER] {
            arguments.push("--env".into());
            arguments.push(format!("{key}={value}").into());
        }
        for rule in device_rules {
            arguments.push("--device-cgroup-rule".into());
            arguments.push(rule.into());
        }
        arguments.extend_from_slice(&self.after_run);
        arguments
    }

    fn isolation(&self) -> Option<&'static str> {
        self.isolate.then_some("true")
    }

    /// The selection that the hook will see.
    fn gpus(&self) -> &str {
        last(&self.annotations, GPU_ANNOTATION).or(self.gpu.as_deref()).unwrap_or(ALL)
    }
}

/// A selection as NVIDIA's tools write it: they know commas, and no ranges.
pub(crate) fn visible(selection: &str) -> String {
    let mut words = Vec::new();
    for word in selection.split([',', '+']) {
        let ends =
            word.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ends {
            Some((first, last)) if first <= last && last < MANY_GPUS => {
                words.extend((first..=last).map(|index: u32| index.to_string()));
            }
            _ => words.push(word.to_owned()),
        }
    }
    words.join(",")
}

/// Podman before 5.0 splits the value of `--annotation` at commas (pflag's StringSlice), later ones don't, so a list
/// gets through both only with another separator.
fn comma_free(list: &str) -> String {
    list.replace(',', "+")
}

/// The value of the last `key=value` with this key.
fn last<'a>(list: &'a [OsString], key: &str) -> Option<&'a str> {
    list.iter().rev().find_map(|entry| entry.to_str()?.strip_prefix(key)?.strip_prefix('='))
}

pub(super) fn color(word: &OsStr) -> Result<ColorChoice, Error> {
    word.to_str().and_then(|word| word.parse().ok()).ok_or(Error::Color)
}

fn text(value: OsString, name: &str) -> Result<String, Error> {
    value.into_string().map_err(|_value| Error::NotText { option: format!("--{name}") })
}

/// The OCI runtime that podman is told; none for podman's own default.
pub(crate) fn oci_runtime(name: OsString) -> Result<Option<OsString>, Error> {
    match name.as_bytes() {
        b"podman" => Ok(None),
        b"crun" | b"runc" => Ok(Some(name)),
        path if path.contains(&b'/') => Ok(Some(name)),
        _ => Err(Error::Runtime { name: name.to_string_lossy().into_owned() }),
    }
}

#[cfg(test)]
mod tests;
