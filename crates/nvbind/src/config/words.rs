//! What the configuration adds to a command line: words before the caller's own.

use super::Configuration;
use super::expand::{self, expand};
use crate::podman::command_line::Verb;
use crate::podman::lexer::{self, Given, Item};
use crate::podman::options::OF_RUN_ALONE;
use nvbind_core::visible_devices;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Who calls nvbind, and how.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// What podman is to do.
    pub(crate) verb: Verb,
    /// Whether it is root.
    pub(crate) is_root: bool,
    /// Whether stdin is a terminal.
    pub(crate) has_terminal: bool,
    /// The caller's variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The words, and what was left out of them and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// What is to follow `nvbind run`.
    pub(crate) words: Vec<OsString>,
    /// For the caller to read.
    pub(crate) notes: Vec<String>,
}

/// What a default argument meets.
struct Mode<'a> {
    caller: Caller<'a>,
    /// The user asks for the container's removal.
    removed: bool,
    /// The user asks for restarts, in a way that podman does not do with `--rm`.
    restarted: bool,
}

/// An option that some mode cannot have.
struct Rule {
    names: &'static [&'static str],
    holds: fn(&Given, &Mode<'_>) -> bool,
    why: &'static str,
}

/// When an option of `default_args` is left out. podman's own refusals are those of `pkg/specgenutil/createparse.go` and
/// `pkg/specgen/generate/oci_linux.go`.
const RULES: &[Rule] = &[
    Rule {
        names: &["tty"],
        holds: |given, mode| given.is_on() && !mode.caller.has_terminal,
        why: "stdin is no terminal",
    },
    Rule {
        names: &["device-cgroup-rule"],
        holds: |_given, mode| !mode.caller.is_root,
        why: "podman has no device rules for rootless containers, whose devices nothing filters",
    },
    Rule {
        names: &["rm", "rmi"],
        holds: |given, mode| given.is_on() && mode.restarted,
        why: "podman does not take it with the --restart of the command line",
    },
    Rule {
        names: &["restart"],
        holds: |given, mode| is_lasting(given) && mode.removed,
        why: "podman does not take it with the --rm of the command line",
    },
    Rule {
        names: OF_RUN_ALONE,
        holds: |_given, mode| mode.caller.verb == Verb::Create,
        why: "podman create has no such option",
    },
    Rule {
        names: &["env"],
        holds: |given, _mode| given.value.as_deref().is_some_and(is_visible_variable),
        why: "nvbind run sets NVIDIA_VISIBLE_DEVICES to the GPUs that --gpu or gpu.default_selection names",
    },
];

impl Configuration {
    /// The words for the caller who typed these: the configuration's, and then the caller's own, which win.
    pub(crate) fn words(&self, typed: &[OsString], caller: Caller<'_>) -> Words {
        let mut words = Words::default();
        self.add_own_options(&mut words);
        self.add_arguments(&mut words, typed, caller);
        self.add_environment(&mut words, caller);
        for device in &self.settings.gpu.additional_devices {
            words.add("--device", device);
        }
        for library in &self.settings.gpu.additional_libraries {
            if Path::new(library).exists() {
                words.add("--volume", format!("{library}:{library}:ro"));
            } else {
                words.notes.push(format!(
                    "{library} of {} is left out: it is not on this machine",
                    self.named(&["gpu", "additional_libraries"])
                ));
            }
        }
        for option in &self.settings.security.security_opts {
            words.add("--security-opt", option);
        }
        words.words.extend_from_slice(typed);
        words
    }

    /// nvbind's own options, where a file says something else than they would be anyway.
    fn add_own_options(&self, words: &mut Words) {
        let (runtime, gpu) = (&self.settings.runtime, &self.settings.gpu);
        if self.is_set(&["runtime", "default_runtime"]) {
            words.add("--runtime", &runtime.default_runtime);
        }
        if self.is_set(&["gpu", "default_selection"]) {
            words.add("--gpu", &gpu.default_selection);
        }
        if gpu.enable_isolation {
            words.words.push("--isolate".into());
        }
    }

    fn add_arguments(&self, words: &mut Words, typed: &[OsString], caller: Caller<'_>) {
        let last = |name: &str| lexer::options(typed).filter(|given| given.name == name).last();
        let mode = Mode {
            caller,
            removed: ["rm", "rmi"].iter().any(|name| last(name).is_some_and(|given| given.is_on())),
            restarted: last("restart").is_some_and(|given| is_lasting(&given)),
        };
        let mut arguments = self.settings.runtime.default_args.iter().map(OsString::from);
        // There is no image among them: the file was checked.
        while let Some(Item::Options(options)) = lexer::next(&mut arguments) {
            for given in &options.all {
                if let Some(rule) = broken(given, &mode) {
                    let place = self.named(&["runtime", "default_args"]);
                    let note = format!("--{} of {place} is left out: {}", given.name, rule.why);
                    if !words.notes.contains(&note) {
                        words.notes.push(note);
                    }
                }
            }
            words.words.extend(options.without(|given| broken(given, &mode).is_some()));
        }
    }

    fn add_environment(&self, words: &mut Words, caller: Caller<'_>) {
        for (name, value) in &self.settings.runtime.environment {
            let place = self.named(&["runtime", "environment", name]);
            if name == visible_devices::VARIABLE {
                // `all` is what people write by habit, and says no more than the option's default.
                if ![self.settings.gpu.default_selection.as_str(), "all"].contains(&value.as_str()) {
                    words
                        .notes
                        .push(format!("{place} is left out: --gpu or gpu.default_selection names the GPUs"));
                }
                continue;
            }
            match expand(value, caller.variable) {
                Ok(value) => {
                    let mut variable = OsString::from(format!("{name}="));
                    variable.push(value);
                    words.add("--env", variable);
                }
                Err(expand::Error::Unset(unset)) => {
                    words.notes.push(format!("{place} is left out: {unset} is not set here"));
                }
                // Not in a checked file.
                Err(expand::Error::Dollar) => {}
            }
        }
    }

    fn is_set(&self, path: &[&str]) -> bool {
        self.values.origin(path).is_some()
    }

    /// A key with its place, for a message.
    fn named(&self, path: &[&str]) -> String {
        let key = path.join(".");
        self.values.origin(path).map_or_else(|| key.clone(), |origin| format!("{key} ({origin})"))
    }
}

impl Words {
    fn add(&mut self, option: &str, value: impl AsRef<OsStr>) {
        self.words.extend([OsStr::new(option), value.as_ref()].map(OsStr::to_owned));
    }
}

fn broken(given: &Given, mode: &Mode<'_>) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.names.contains(&given.name.as_str()) && (rule.holds)(given, mode))
}

/// Whether podman refuses this `--restart` beside `--rm`.
fn is_lasting(given: &Given) -> bool {
    given.value.as_deref().is_some_and(|policy| !["", "no", "on-failure"].iter().any(|fits| policy == *fits))
}

fn is_visible_variable(variable: &OsStr) -> bool {
    variable.as_bytes().split(|byte| *byte == b'=').next() == Some(visible_devices::VARIABLE.as_bytes())
}
