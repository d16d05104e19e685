//! What follows `nvbind run`: nvbind's own options taken out, all others kept for podman, untouched and in order.
//!
//! It ends at IMAGE as podman's own parser (spf13/pflag, not interspersed) would: at the first word that is neither an
//! option nor the value of one. clap can't do this, because it has to know every option, and loses their order.

use super::options::{self, Form};

use nvbind_core::request::{
    self, CAPABILITIES_ANNOTATION, CAPABILITIES_VARIABLE, EXTRAS_ANNOTATION, GPU_ANNOTATION,
    ISOLATE_ANNOTATION, Request,
};
use nvbind_core::visible_devices;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What `nvbind run` asks for without `--gpu`.
const ALL: &str = "all";

/// CUDA counts GPUs by speed unless told otherwise; the selection and nvidia-smi count them by PCI address (CUDA
/// programming guide, "CUDA Environment Variables").
const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// More than any machine has: a range beyond is refused when the selection is read.
const MANY_GPUS: u32 = 256;

/// A scanned command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `--help` before IMAGE.
    pub(crate) help: bool,
    /// `--dry-run`.
    pub(crate) dry_run: bool,
    /// `--gpu` or `--gpus`.
    pub(crate) gpu: Option<String>,
    /// `--capabilities`.
    pub(crate) capabilities: Option<String>,
    /// `--extras`.
    pub(crate) extras: Option<String>,
    /// `--isolate`.
    pub(crate) isolate: bool,
    /// `--device-rules`.
    pub(crate) device_rules: bool,
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
}

impl CommandLine {
    /// Scans the words after `nvbind run`.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, Error> {
        let mut line = CommandLine::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                line.after_run.push(word);
                break;
            } else if let Some(option) = bytes.strip_prefix(b"--") {
                line.take_long(&word, option, &mut words)?;
            } else if let Some(cluster) = bytes.strip_prefix(b"-").filter(|cluster| !cluster.is_empty()) {
                line.take_cluster(&word, cluster, &mut words);
            } else {
                line.after_run.push(word);
                break;
            }
        }
        line.after_run.extend(words);
        Ok(line)
    }

    fn take_long(
        &mut self,
        word: &OsStr,
        option: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Error> {
        let (name, attached) = split_at_equals(option);
        let name = String::from_utf8_lossy(name);
        let mut own_value = || {
            attached
                .clone()
                .or_else(|| rest.next())
                .ok_or_else(|| Error::NoValue { option: format!("--{name}") })
        };
        match &*name {
            "help" if attached.is_none() => self.help = true,
            "dry-run" if attached.is_none() => self.dry_run = true,
            "isolate" if attached.is_none() => self.isolate = true,
            "device-rules" if attached.is_none() => self.device_rules = true,
            "gpu" | "gpus" => self.gpu = Some(text(own_value()?, &name)?),
            "capabilities" => self.capabilities = Some(text(own_value()?, &name)?),
            "extras" => self.extras = Some(text(own_value()?, &name)?),
            "runtime" => self.runtime = Some(own_value()?).filter(|runtime| runtime != "podman"),
            _ => {
                let known = options::long(&name);
                let separate =
                    if known.form == Form::Value && attached.is_none() { rest.next() } else { None };
                self.note(&name, attached.as_deref().or(separate.as_deref()));
                let target = if known.before_run { &mut self.before_run } else { &mut self.after_run };
                target.push(word.to_owned());
                target.extend(separate);
            }
        }
        Ok(())
    }

    fn take_cluster(&mut self, word: &OsStr, cluster: &[u8], rest: &mut impl Iterator<Item = OsString>) {
        if let Some((letter, attached)) = cluster.split_first()
            && let Some(name) = options::short_before_run(*letter)
        {
            // `-r`, `-D`, `-H VALUE`, `-HVALUE`; in a longer cluster podman refuses them by itself.
            let takes_value = options::long(name).form == Form::Value;
            if attached.is_empty() || takes_value {
                self.note(name, None);
                self.before_run.push(word.to_owned());
                if takes_value && attached.is_empty() {
                    self.before_run.extend(rest.next());
                }
                return;
            }
        }
        self.after_run.push(word.to_owned());
        let value_of = |letter: &u8| *letter == b'=' || options::short(*letter) == Form::Value;
        let Some((_switches, [letter, attached @ ..])) =
            cluster.iter().position(value_of).map(|at| cluster.split_at(at))
        else {
            return;
        };
        // In `-itv a:b` the value is the next word, in `-itva:b` and `-t=false` the rest of this one.
        let separate = if attached.is_empty() && *letter != b'=' { rest.next() } else { None };
        if *letter == b'e' {
            let attached = OsStr::from_bytes(attached.strip_prefix(b"=").unwrap_or(attached));
            self.note("env", Some(separate.as_deref().unwrap_or(attached)));
        }
        self.after_run.extend(separate);
    }

    /// Remembers what the pre-flight has to know of an option that goes to podman.
    fn note(&mut self, name: &str, value: Option<&OsStr>) {
        match (name, value) {
            ("annotation", Some(value)) => self.annotations.push(value.to_owned()),
            ("env", Some(value)) => self.environment.push(value.to_owned()),
            ("hooks-dir", Some(value)) => self.hooks_dirs.push(value.to_owned()),
            ("module", Some(value)) => self.modules.push(PathBuf::from(value)),
            ("group-add", Some(value)) => self.keeps_groups |= value == "keep-groups",
            ("remote", value) => self.remote.switch = Some(value.is_none_or(go_bool)),
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

    /// podman's arguments, without `podman` itself. The annotations and variables come first, so that one that the user
    /// gives wins. Where NVIDIA's own hook is installed, the variable that it reads must not ask it for anything.
    /// `device_rules` are values of `--device-cgroup-rule`.
    #[must_use]
    pub(crate) fn podman_arguments(&self, has_nvidias_hook: bool, device_rules: &[String]) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if let Some(runtime) = &self.runtime {
            arguments.push("--runtime".into());
            arguments.push(runtime.clone());
        }
        arguments.extend_from_slice(&self.before_run);
        arguments.push("run".into());
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
        let visible = if has_nvidias_hook { visible_devices::VOID.to_owned() } else { visible(self.gpus()) };
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
fn visible(selection: &str) -> String {
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

fn split_at_equals(option: &[u8]) -> (&[u8], Option<OsString>) {
    match option.iter().position(|byte| *byte == b'=').and_then(|at| option.split_at_checked(at)) {
        Some((name, value)) => (name, value.get(1..).map(|value| OsString::from_vec(value.to_vec()))),
        None => (option, None),
    }
}

fn text(value: OsString, name: &str) -> Result<String, Error> {
    value.into_string().map_err(|_value| Error::NotText { option: format!("--{name}") })
}

/// Go's strconv.ParseBool, which podman's switches use; what it refuses, podman refuses too.
fn go_bool(value: &OsStr) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].iter().any(|word| value == *word)
}

#[cfg(test)]
mod tests;
