//! What the configuration adds to a command line: words before the caller's own.

use super::expand::{self, expand};
use super::{Configuration, Error};
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::lexer::{self, Given, Item};
use crate::podman::options::OF_RUN_ALONE;
use crate::profiles::{Host, Profiles, Selection};
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
    /// The machine, for profiles.
    pub(crate) host: &'a dyn Host,
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
    /// What else is on the command line.
    others: Vec<Given>,
    /// The user asks for the container's removal.
    removed: bool,
    /// The user asks for restarts, in a way that podman does not do with `--rm`.
    restarted: bool,
}

impl<'a> Mode<'a> {
    fn new(caller: Caller<'a>, others: &[OsString]) -> Mode<'a> {
        let mut mode =
            Mode { caller, others: lexer::options(others).collect(), removed: false, restarted: false };
        mode.removed = ["rm", "rmi"].iter().any(|name| mode.last(name).is_some_and(Given::is_on));
        mode.restarted = mode.last("restart").is_some_and(is_lasting);
        mode
    }

    fn last(&self, name: &str) -> Option<&Given> {
        self.others.iter().rev().find(|given| given.name == name)
    }
}

/// An option that some mode cannot have.
struct Rule {
    names: &'static [&'static str],
    holds: fn(&Given, &Mode<'_>) -> bool,
    why: &'static str,
}

/// When an option of `default_args` or of a profile is left out. podman's own refusals are those of
/// `pkg/specgenutil/createparse.go`, `pkg/specgen/container_validate.go` and `pkg/specgen/generate/oci_linux.go`.
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
        names: &["uts"],
        holds: |_given, mode| mode.last("hostname").is_some(),
        why: "podman does not take it with the --hostname of the command line",
    },
    Rule {
        names: &["shm-size"],
        holds: |_given, mode| mode.last("ipc").is_some_and(|ipc| !is_private(ipc)),
        why: "podman does not take it with the --ipc of the command line",
    },
    Rule {
        names: &["env"],
        holds: |given, _mode| given.value.as_deref().is_some_and(is_visible_variable),
        why: "nvbind run sets NVIDIA_VISIBLE_DEVICES to the GPUs that --gpu or gpu.default_selection names",
    },
];

impl Configuration {
    /// The words for the caller who typed these: the configuration's, and then the caller's own, which win.
    pub(crate) fn words(&self, typed: &[OsString], caller: Caller<'_>) -> Result<Words, Error> {
        let mut words = Words::default();
        self.add_own_options(&mut words);
        let place = self.named(&["runtime", "default_args"]);
        words.add_arguments(&self.settings.runtime.default_args, &place, &Mode::new(caller, typed));
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
        self.add_profiles(&mut words, typed, caller)?;
        words.words.extend_from_slice(typed);
        Ok(words)
    }

    /// What the profiles of the configuration's and the caller's words add.
    fn add_profiles(&self, words: &mut Words, typed: &[OsString], caller: Caller<'_>) -> Result<(), Error> {
        let others = [&words.words, typed].concat();
        let names = CommandLine::parse(others.iter().cloned())?.profiles;
        if names.is_empty() {
            return Ok(());
        }
        let all = Profiles::of(self)?;
        let mut profiles = Vec::new();
        for name in &names {
            let found = all.find(name)?;
            profiles.retain(|(known, _)| known != name);
            profiles.push(found);
        }
        let mode = Mode::new(caller, &others);
        let selection = Selection {
            profiles: &profiles,
            before: &words.words,
            typed,
            variable: caller.variable,
            host: caller.host,
            driver: &self.settings.driver,
        };
        let added = selection.additions(&|list, place| {
            let mut words = Words::default();
            words.add_arguments(list, place, &mode);
            words
        });
        words.extend(added);
        Ok(())
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
    /// Adds those words and notes.
    pub(crate) fn extend(&mut self, further: Words) {
        self.words.extend(further.words);
        self.notes.extend(further.notes);
    }

    /// Adds options that were written at `place`, without those that this start cannot have.
    fn add_arguments(&mut self, list: &[String], place: &str, mode: &Mode<'_>) {
        let mut arguments = list.iter().map(OsString::from);
        // There is no image among them: the file was checked.
        while let Some(Item::Options(options)) = lexer::next(&mut arguments) {
            for given in &options.all {
                if let Some(rule) = broken(given, mode) {
                    let note = format!("--{} of {place} is left out: {}", given.name, rule.why);
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
            self.words.extend(options.without(|given| broken(given, mode).is_some()));
        }
    }

    /// Adds an option with its value.
    pub(crate) fn add(&mut self, option: &str, value: impl AsRef<OsStr>) {
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

/// Whether a container of this `--ipc` has a /dev/shm of its own (podman-run(1)).
fn is_private(given: &Given) -> bool {
    given.value.as_deref().is_some_and(|ipc| ["", "private", "shareable"].iter().any(|own| ipc == *own))
}

fn is_visible_variable(variable: &OsStr) -> bool {
    variable.as_bytes().split(|byte| *byte == b'=').next() == Some(visible_devices::VARIABLE.as_bytes())
}
