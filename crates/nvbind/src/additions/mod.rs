//! What the configuration and its profiles add to a command line: options that count where the user types nothing else.

mod host;
mod profile;
mod taken;

#[cfg(test)]
mod profile_tests;
#[cfg(test)]
mod tests;

use crate::choice::Choice;
use crate::config::Configuration;
use crate::config::expand::{self, expand};
use crate::failure::Failure;
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::known::OF_RUN_ONLY;
use crate::podman::lexer::{Given, Origin};
use crate::podman::options::Options;
use crate::podman::own::{self, Runtime};
use crate::profiles::Profiles;
pub(crate) use host::{Host, This};
use nvbind_core::visible_devices;
use profile::Selection;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Who calls nvbind, and how.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) verb: Verb,
    pub(crate) is_root: bool,
    /// Whether stdin is a terminal.
    pub(crate) has_terminal: bool,
    /// The caller's variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The machine, for profiles.
    pub(crate) host: &'a dyn Host,
}

/// Adds what the configuration says, and returns notes on what was left out.
pub(crate) fn add(
    line: &mut CommandLine,
    configuration: &Configuration,
    caller: Caller<'_>,
) -> Result<Vec<String>, Failure> {
    let mut additions = Additions::default();
    additions.add_configuration(configuration, &line.options, caller)?;
    additions.add_profiles(configuration, &line.options, caller)?;
    line.add_before(additions.options);
    Ok(additions.notes)
}

/// Options to be added, and what was left out of them and why.
#[derive(Debug, Default)]
struct Additions {
    options: Options,
    notes: Vec<String>,
}

/// What an added option meets.
struct Mode<'a> {
    caller: Caller<'a>,
    /// What else is on the command line, the later ones last.
    others: &'a [&'a Options],
    /// The user asks for the container's removal.
    removed: bool,
    /// The user asks for restarts, in a way that podman does not do with `--rm`.
    restarted: bool,
}

impl<'a> Mode<'a> {
    fn new(caller: Caller<'a>, others: &'a [&'a Options]) -> Mode<'a> {
        let mut mode = Mode { caller, others, removed: false, restarted: false };
        mode.removed = ["rm", "rmi"].iter().any(|name| mode.last(name).is_some_and(Given::is_on));
        mode.restarted = mode.last("restart").is_some_and(is_lasting);
        mode
    }

    fn last(&self, name: &str) -> Option<&Given> {
        self.others.iter().rev().find_map(|options| options.last(name))
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
        names: OF_RUN_ONLY,
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

impl Additions {
    /// Adds what the configuration says for every container.
    fn add_configuration(
        &mut self,
        configuration: &Configuration,
        typed: &Options,
        caller: Caller<'_>,
    ) -> Result<(), Failure> {
        let settings = &configuration.settings;
        let origin = |path: &[&str]| Origin::Setting(configuration.locate(path));
        self.set_own_options(configuration)?;
        let default_args = origin(&["runtime", "default_args"]);
        self.add_arguments(&settings.runtime.default_args, &default_args, &Mode::new(caller, &[typed]))?;
        self.add_environment(configuration, caller);
        for device in &settings.gpu.additional_devices {
            self.options.add_device(device, &origin(&["gpu", "additional_devices"]))?;
        }
        for library in &settings.gpu.additional_libraries {
            let origin = origin(&["gpu", "additional_libraries"]);
            if Path::new(library).exists() {
                self.options.add("volume", format!("{library}:{library}:ro"), &origin);
            } else {
                self.notes.push(format!("{library} of {origin} is left out: it is not on this machine"));
            }
        }
        for option in &settings.security.security_opts {
            self.options.add("security-opt", option, &origin(&["security", "security_opts"]));
        }
        Ok(())
    }

    /// Adds what the profiles say that the configuration and the user name.
    fn add_profiles(
        &mut self,
        configuration: &Configuration,
        typed: &Options,
        caller: Caller<'_>,
    ) -> Result<(), Failure> {
        let names = [self.options.own.profiles.as_slice(), &typed.own.profiles].concat();
        if names.is_empty() {
            return Ok(());
        }
        let all = Profiles::of(configuration)?;
        let mut profiles = Vec::new();
        for name in &names {
            let found = all.find(name)?;
            profiles.retain(|(known, _)| known != name);
            profiles.push(found);
        }
        let others = [&self.options, typed];
        let selection = Selection {
            profiles: &profiles,
            before: &self.options,
            typed,
            mode: &Mode::new(caller, &others),
            driver: &configuration.settings.driver,
        };
        let additions = selection.additions()?;
        self.extend(additions);
        Ok(())
    }

    /// nvbind's own options, where a file says something else than they would be anyway.
    fn set_own_options(&mut self, configuration: &Configuration) -> Result<(), own::Error> {
        let (runtime, gpu) = (&configuration.settings.runtime, &configuration.settings.gpu);
        let own = &mut self.options.own;
        if configuration.is_set(&["runtime", "default_runtime"]) {
            own.runtime = Some(Runtime::parse((&runtime.default_runtime).into())?);
        }
        if configuration.is_set(&["gpu", "default_selection"]) {
            own.default_gpus = Some(Choice::parse(&gpu.default_selection)?);
        }
        own.isolate = gpu.enable_isolation.then_some(true);
        Ok(())
    }

    fn add_environment(&mut self, configuration: &Configuration, caller: Caller<'_>) {
        let settings = &configuration.settings;
        for (name, value) in &settings.runtime.environment {
            let place = configuration.locate(&["runtime", "environment", name]);
            if name == visible_devices::VARIABLE {
                // `all` is what people write by habit, and says no more than the option's default.
                if ![settings.gpu.default_selection.as_str(), "all"].contains(&value.as_str()) {
                    self.notes
                        .push(format!("{place} is left out: --gpu or gpu.default_selection names the GPUs"));
                }
                continue;
            }
            match expand(value, caller.variable) {
                Ok(value) => self.add_variable(name, &value, &Origin::Setting(place)),
                Err(expand::Error::Unset(unset)) => {
                    self.notes.push(format!("{place} is left out: {unset} is not set here"));
                }
                // Not in a checked file.
                Err(expand::Error::Dollar) => {}
            }
        }
    }

    fn add_variable(&mut self, name: &str, value: &OsStr, origin: &Origin) {
        let mut variable = OsString::from(format!("{name}="));
        variable.push(value);
        self.options.add("env", variable, origin);
    }

    /// Adds the options of a list, without those that this start cannot have.
    fn add_arguments(&mut self, list: &[String], origin: &Origin, mode: &Mode<'_>) -> Result<(), own::Error> {
        // There is no image among them: the file was checked.
        let (mut options, _) = Options::parse(&mut list.iter().map(OsString::from), origin)?;
        for given in options.iter() {
            if let Some(rule) = find_rule(given, mode) {
                let note = format!("--{} of {origin} is left out: {}", given.name, rule.why);
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
        }
        options.remove(|given| find_rule(given, mode).is_some());
        self.options.extend(options);
        Ok(())
    }

    fn extend(&mut self, later: Additions) {
        self.options.extend(later.options);
        self.notes.extend(later.notes);
    }
}

fn find_rule(given: &Given, mode: &Mode<'_>) -> Option<&'static Rule> {
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
