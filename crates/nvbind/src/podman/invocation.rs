//! What podman is told to start a container: the command line with nvbind's own options turned into annotations and
//! variables.

use super::command_line::{CommandLine, Container, Verb};
use super::lexer::{Group, Origin};
use super::own::Runtime;
use nvbind_core::request::{
    self, CAPABILITIES_ANNOTATION, CAPABILITIES_VARIABLE, EXTRAS_ANNOTATION, GPU_ANNOTATION,
    ISOLATE_ANNOTATION, Request,
};
use nvbind_core::visible_devices;
use std::ffi::OsString;

/// What `nvbind run` asks for without `--gpu`.
const ALL: &str = "all";

/// CUDA counts GPUs by speed unless told otherwise; the selection and nvidia-smi count them by PCI address (CUDA
/// programming guide, "CUDA Environment Variables").
pub(crate) const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// More than any machine has: a range beyond is refused when the selection is read.
const MANY_GPUS: u32 = 256;

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
    /// podman counts as well.
    pub(crate) fn request(&self) -> Result<Request, request::Error> {
        let own = &self.options.own;
        let capabilities = self.annotation(CAPABILITIES_ANNOTATION).or(own.capabilities.as_deref());
        let extras = self.annotation(EXTRAS_ANNOTATION).or(own.extras.as_deref());
        let isolate = self.annotation(ISOLATE_ANNOTATION).or_else(|| self.isolation());
        Request::parse(self.gpus(), capabilities, self.last("env", CAPABILITIES_VARIABLE))?
            .with_extras(extras)?
            .with_isolation(isolate)
    }

    /// What podman is told. The annotations and variables come first, so that one that the user gives wins. Where
    /// NVIDIA's own hook is installed, the variable that it reads must not ask it for anything. `device_rules` are
    /// values of `--device-cgroup-rule`.
    #[must_use]
    pub(crate) fn invocation(
        &self,
        verb: Verb,
        has_nvidias_hook: bool,
        device_rules: &[String],
    ) -> Invocation {
        let own = &self.options.own;
        let group = |name: &str, value: String| Group::new(name, Some(value.into()), Origin::Nvbind);
        let annotations = [
            (GPU_ANNOTATION, Some(own.gpu.as_deref().unwrap_or(ALL))),
            (CAPABILITIES_ANNOTATION, own.capabilities.as_deref()),
            (EXTRAS_ANNOTATION, own.extras.as_deref()),
            (ISOLATE_ANNOTATION, self.isolation()),
        ];
        let annotations = annotations.into_iter().filter_map(|(key, value)| {
            Some(group("annotation", format!("{key}={}", without_commas(value?))))
        });
        let visible = if has_nvidias_hook { request::VOID.to_owned() } else { visible(self.gpus()) };
        let variables = [(visible_devices::VARIABLE, visible.as_str()), DEVICE_ORDER];
        let variables = variables.map(|(key, value)| group("env", format!("{key}={value}")));
        let rules = device_rules.iter().map(|rule| group("device-cgroup-rule", rule.clone()));
        let runtime = own.runtime.clone().and_then(|Runtime(name)| name);
        let runtime = runtime.map(|name| Group::new("runtime", Some(name), Origin::Nvbind));
        let (global, typed): (Vec<Group>, Vec<Group>) =
            self.options.for_podman().cloned().partition(Group::is_global);
        Invocation {
            global: runtime.into_iter().chain(global).collect(),
            verb,
            options: annotations.chain(variables).chain(rules).chain(typed).collect(),
            container: self.container.clone(),
        }
    }

    fn isolation(&self) -> Option<&'static str> {
        (self.options.own.isolate == Some(true)).then_some("true")
    }

    /// The selection that the hook will see.
    fn gpus(&self) -> &str {
        self.annotation(GPU_ANNOTATION).or(self.options.own.gpu.as_deref()).unwrap_or(ALL)
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
