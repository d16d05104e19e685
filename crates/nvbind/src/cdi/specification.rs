//! nvbind's specification: names for GPUs, and one hook.
//!
//! No driver file, no device node and no version is in it, so that it stays the same with every driver: what a
//! container gets is decided by the hook, when it starts. The specification's own edit is the hook that acts, once for
//! any number of devices; each device only leaves its name in config.json, as a hook at stage `poststop` that does
//! nothing (CDI has no edit that is a remark).

use nvbind_core::oci::{HOOK, MARKER};
use serde_json::{Value, json};
use std::fmt;

/// The version of the format: the first in which names may begin with a digit (CDI's SPEC.md).
const VERSION: &str = "0.5.0";

/// How many GPUs have a name of their own by number. CDI has no patterns.
const NUMBERS: usize = 16;

/// The names that are no number.
const STANDARD: [&str; 2] = ["all", "none"];

/// The hook's environment: an empty one would be the runtime's own (crun).
const ENVIRONMENT: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the hook may take, in seconds, as in the hook JSON.
const TIMEOUT: u32 = 30;

/// By which names devices are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Those that documents, compose files and tools have; NVIDIA's own specification has them, too.
    #[value(name = "nvidia.com/gpu")]
    Nvidia,
    /// nvbind's own, which no other specification has.
    #[value(name = "nvbind.io/gpu")]
    Own,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Nvidia, Kind::Own];

    /// As a device's name begins.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Nvidia => "nvidia.com/gpu",
            Kind::Own => "nvbind.io/gpu",
        }
    }

    /// The file in `/etc/cdi` that has it.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Kind::Nvidia => "nvbind.json",
            Kind::Own => "nvbind.io.json",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a specification of nvbind's depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Specification<'a> {
    pub(crate) kind: Kind,
    /// Where the hook is installed.
    pub(crate) hook: &'a str,
    /// Further arguments of the hook that acts: `--driver-root DIR`, `--config FILE`.
    pub(crate) options: &'a [String],
    /// Names beyond `all`, `none` and the numbers.
    pub(crate) names: &'a [String],
}

impl Specification<'_> {
    /// The document.
    #[must_use]
    pub(crate) fn document(&self) -> Value {
        let mut acting = self.entry("prestart", ["prestart", "--cdi"]);
        if let Some(acting) = acting.as_object_mut() {
            acting.insert("timeout".to_owned(), TIMEOUT.into());
        }
        if let Some(arguments) = acting.get_mut("args").and_then(Value::as_array_mut) {
            arguments.extend(self.options.iter().map(|option| json!(option)));
        }
        let numbers = (0..NUMBERS).map(|number| number.to_string());
        let names = STANDARD.map(str::to_owned).into_iter().chain(numbers);
        let device = |name: String| {
            let marker = self.entry("poststop", [MARKER, &name]);
            json!({"name": name, "containerEdits": {"hooks": [marker]}})
        };
        json!({
            "cdiVersion": VERSION,
            "kind": self.kind.name(),
            // NVIDIA's own hook, and nvbind's for this variable, are to leave the container alone.
            "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=void"], "hooks": [acting]},
            "devices": names.chain(self.names.iter().cloned()).map(device).collect::<Vec<Value>>(),
        })
    }

    /// Whether every specification has this name.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        STANDARD.contains(&name) || (0..NUMBERS).any(|number| number.to_string() == name)
    }

    fn entry(&self, stage: &str, arguments: [&str; 2]) -> Value {
        let arguments: Vec<&str> = std::iter::once(HOOK).chain(arguments).collect();
        json!({"hookName": stage, "path": self.hook, "args": arguments, "env": [ENVIRONMENT]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_has_names_and_hooks_and_nothing_of_a_driver() {
        let specification = Specification {
            kind: Kind::Own,
            hook: "/usr/libexec/nvbind/nvbind-hook",
            options: &["--driver-root".to_owned(), "/d".to_owned()],
            names: &["GPU-ab".to_owned()],
        };
        let document = specification.document();
        assert_eq!(document["kind"], "nvbind.io/gpu");
        let devices = document["devices"].as_array().unwrap();
        let names: Vec<&str> = devices.iter().map(|device| device["name"].as_str().unwrap()).collect();
        assert_eq!((names[0], names[1], names[2], names.len()), ("all", "none", "0", 2 + NUMBERS + 1));
        assert_eq!(names.last(), Some(&"GPU-ab"));
        for device in devices {
            let edits = device["containerEdits"].as_object().unwrap();
            assert_eq!(edits.keys().collect::<Vec<_>>(), ["hooks"]);
            assert_eq!(edits["hooks"][0]["args"], json!(["nvbind-hook", "gpu", device["name"]]));
        }
        assert_eq!(
            document["containerEdits"]["hooks"][0]["args"],
            json!(["nvbind-hook", "prestart", "--cdi", "--driver-root", "/d"])
        );
        assert!(document["containerEdits"].get("deviceNodes").is_none());
    }
}
