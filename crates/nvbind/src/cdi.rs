//! nvbind's specification for the Container Device Interface: names for GPUs, and one hook.
//!
//! No driver file, no device node and no version is in it, so that it stays the same with every driver: what a
//! container gets is decided by the hook, when it starts. The specification's own edit is the hook that acts, once for
//! any number of devices; each device only leaves its name in config.json, as a hook at stage `poststop` that does
//! nothing (CDI has no edit that is a remark).

use nvbind_core::oci::MARKER;
use serde_json::{Value, json};
use std::fmt;

/// The version of the format: the first in which names may begin with a digit (CDI's SPEC.md).
const VERSION: &str = "0.5.0";

/// How many GPUs have a name of their own by number. CDI has no patterns.
const NUMBERS: usize = 16;

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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Nvidia => "nvidia.com/gpu",
            Kind::Own => "nvbind.io/gpu",
        })
    }
}

/// The specification, for a hook at this path.
pub(crate) fn specification(kind: Kind, hook: &str) -> Value {
    let entry = |stage: &str, arguments: &[&str]| {
        let arguments: Vec<&str> = std::iter::once("nvbind-hook").chain(arguments.iter().copied()).collect();
        json!({"hookName": stage, "path": hook, "args": arguments, "env": [ENVIRONMENT]})
    };
    let mut acting = entry("prestart", &["prestart", "--cdi"]);
    if let Some(acting) = acting.as_object_mut() {
        acting.insert("timeout".to_owned(), TIMEOUT.into());
    }
    let names = ["all", "none"].map(str::to_owned).into_iter();
    let names = names.chain((0..NUMBERS).map(|number| number.to_string()));
    let device = |name: String| {
        let marker = entry("poststop", &[MARKER, &name]);
        json!({"name": name, "containerEdits": {"hooks": [marker]}})
    };
    json!({
        "cdiVersion": VERSION,
        "kind": kind.to_string(),
        // NVIDIA's own hook, and nvbind's for this variable, are to leave the container alone.
        "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=void"], "hooks": [acting]},
        "devices": names.map(device).collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_has_names_and_hooks_and_nothing_of_a_driver() {
        let document = specification(Kind::Own, "/usr/libexec/nvbind/nvbind-hook");
        assert_eq!(document["kind"], "nvbind.io/gpu");
        let devices = document["devices"].as_array().unwrap();
        let names: Vec<&str> = devices.iter().map(|device| device["name"].as_str().unwrap()).collect();
        assert_eq!((names[0], names[1], names[2], names.len()), ("all", "none", "0", 2 + NUMBERS));
        for device in devices {
            let edits = device["containerEdits"].as_object().unwrap();
            assert_eq!(edits.keys().collect::<Vec<_>>(), ["hooks"]);
            assert_eq!(edits["hooks"][0]["args"], json!(["nvbind-hook", "gpu", device["name"]]));
        }
        assert_eq!(
            document["containerEdits"]["hooks"][0]["args"],
            json!(["nvbind-hook", "prestart", "--cdi"])
        );
        assert!(document["containerEdits"].get("deviceNodes").is_none());
    }
}
