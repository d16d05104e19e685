//! What podman is told to start a container: the command line with nvbind's own options turned into annotations and
//! variables.

use super::command_line::{CommandLine, Container, Verb};
use super::lexer::{Group, Origin};
use super::own::Runtime;
use super::ways;
use nvbind_core::request::{
    self, CAPABILITIES_ANNOTATION, CAPABILITIES_VARIABLE, EXTRAS_ANNOTATION, GPU_ANNOTATION, Gpus,
    ISOLATE_ANNOTATION, Request,
};
use nvbind_core::visible_devices;
use std::ffi::OsString;

/// CUDA counts GPUs by speed unless told otherwise; the selection and nvidia-smi count them by PCI address (CUDA
/// programming guide, "CUDA Environment Variables").
pub(crate) const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// More than any machine has: a range beyond is refused when the selection is read.
const MANY_GPUS: u32 = 256;

/// What a container is to have, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its GPUs; none for a container that is to have nothing of the driver.
    pub(crate) gpus: Option<Gpus>,
    /// Parts of the driver, where they were asked for with the GPUs.
    pub(crate) capabilities: Option<String>,
}

/// A command line of podman's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// Options that podman takes only before the verb.
    pub(crate) global: Vec<Group>,
    verb: Verb,
    pub(crate) options: Vec<Group>,
    pub(crate) container: Container,
}

impl Invocation {
    /// Adds an annotation before all options: one of the same name that the user gives wins.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        let value = Some(format!("{key}={value}").into());
        self.options.insert(0, Group::new("annotation", value, Origin::Nvbind));
    }

    /// podman's arguments, without `podman` itself.
    #[must_use]
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let global = self.global.iter().flat_map(Group::arguments);
        let options = self.options.iter().flat_map(Group::arguments);
        global.chain([self.verb.name().into()]).chain(options).chain(self.container.arguments()).collect()
    }
}

impl CommandLine {
    /// What the container will ask for, as the hook will read it: an annotation or a variable that the user gives to
    /// podman counts as well. None where it asks for nothing.
    pub(crate) fn request(&self, wanted: &Wanted) -> Result<Option<Request>, request::Error> {
        let Some(gpus) = &wanted.gpus else { return Ok(None) };
        let own = &self.options.own;
        let capabilities = self.annotation(CAPABILITIES_ANNOTATION).or_else(|| self.capabilities(wanted));
        let extras = self.annotation(EXTRAS_ANNOTATION).or(own.extras.as_deref());
        let isolate = self.annotation(ISOLATE_ANNOTATION).or_else(|| self.isolation());
        let request = Request::parse("none", capabilities, self.last("env", CAPABILITIES_VARIABLE))?
            .with_extras(extras)?
            .with_isolation(isolate)?;
        Ok(Some(Request { gpus: gpus.clone(), ..request }))
    }

    /// What podman is told. The annotations and variables come first, so that one that the user gives wins; options
    /// that ask for GPUs podman does not get, as the annotation has what they ask for. Where NVIDIA's own hook is
    /// installed, the variable that it reads must not ask it for anything. `device_rules` are values of
    /// `--device-cgroup-rule`.
    #[must_use]
    pub(crate) fn invocation(
        &self,
        verb: Verb,
        wanted: &Wanted,
        has_nvidias_hook: bool,
        device_rules: &[String],
    ) -> Invocation {
        let own = &self.options.own;
        let group = |name: &str, value: String| Group::new(name, Some(value.into()), Origin::Nvbind);
        let gpus = wanted.gpus.as_ref().map(ToString::to_string);
        let annotations = [
            (GPU_ANNOTATION, gpus.as_deref()),
            (CAPABILITIES_ANNOTATION, self.capabilities(wanted)),
            (EXTRAS_ANNOTATION, own.extras.as_deref()),
            (ISOLATE_ANNOTATION, self.isolation()),
        ];
        let annotations = annotations.into_iter().filter(|_| gpus.is_some()).filter_map(|(key, value)| {
            Some(group("annotation", format!("{key}={}", without_commas(value?))))
        });
        let shown = gpus.as_deref().filter(|_| !has_nvidias_hook).map(visible);
        let shown = shown.unwrap_or_else(|| request::VOID.to_owned());
        let shown = group("env", format!("{}={shown}", visible_devices::VARIABLE));
        let order = gpus.is_some().then(|| group("env", format!("{}={}", DEVICE_ORDER.0, DEVICE_ORDER.1)));
        // What podman takes from the caller would win over what stands before it.
        let again = self.options.iter().any(ways::is_pattern).then(|| shown.clone());
        let rules = device_rules.iter().map(|rule| group("device-cgroup-rule", rule.clone()));
        let runtime = own.runtime.clone().and_then(|Runtime(name)| name);
        let runtime = runtime.map(|name| Group::new("runtime", Some(name), Origin::Nvbind));
        let for_podman = self.options.for_podman().cloned();
        let (global, typed): (Vec<Group>, Vec<Group>) =
            for_podman.filter_map(|group| group.without(ways::is_taken)).partition(Group::is_global);
        Invocation {
            global: runtime.into_iter().chain(global).collect(),
            verb,
            options: annotations.chain([shown]).chain(order).chain(rules).chain(typed).chain(again).collect(),
            container: self.container.clone(),
        }
    }

    fn isolation(&self) -> Option<&'static str> {
        (self.options.own.isolate == Some(true)).then_some("true")
    }

    fn capabilities<'a>(&'a self, wanted: &'a Wanted) -> Option<&'a str> {
        wanted.capabilities.as_deref().or(self.options.own.capabilities.as_deref())
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.last("annotation", key)
    }

    /// The value of the last `--option key=value` with this key.
    fn last(&self, option: &str, key: &str) -> Option<&str> {
        let mut entries = self.options.values(option).rev();
        entries.find_map(|entry| entry.to_str()?.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A selection as NVIDIA's tools write it: they know commas, and no ranges.
pub(crate) fn visible(selection: &str) -> String {
    let mut names = Vec::new();
    for name in selection.split([',', '+']) {
        let ends =
            name.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ends {
            Some((first, last)) if first <= last && last < MANY_GPUS => {
                names.extend((first..=last).map(|index: u32| index.to_string()));
            }
            _ => names.push(name.to_owned()),
        }
    }
    names.join(",")
}

/// Podman before 5.0 splits the value of `--annotation` at commas (pflag's StringSlice), later ones don't, so a list
/// gets through both only with another separator.
fn without_commas(list: &str) -> String {
    list.replace(',', "+")
}

#[cfg(test)]
impl Wanted {
    /// What a line asks for that names its GPUs, of a caller without variables and files.
    pub(crate) fn of(line: &CommandLine) -> Wanted {
        let caller = super::asked::Caller { variable: &|_name| None, file: &|_path| None };
        let asked = line.options.asked(caller).unwrap();
        let gpus = match asked.choice {
            crate::choice::Choice::Nothing => None,
            crate::choice::Choice::Named(gpus) => Some(gpus),
            crate::choice::Choice::Any(count) => panic!("{count} GPUs"),
        };
        Wanted { gpus, capabilities: asked.capabilities }
    }
}
