//! The tables of a configuration file, as values.

use serde::Deserialize;
use std::collections::BTreeMap;

/// How `nvbind run` starts podman.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The runtime where `--runtime` is absent.
    pub default_runtime: String,
    /// Options before those of the command line.
    pub default_args: Vec<String>,
    /// Variables of the container.
    pub environment: BTreeMap<String, String>,
}

impl Default for Runtime {
    fn default() -> Runtime {
        Runtime {
            default_runtime: "podman".to_owned(),
            default_args: Vec::new(),
            environment: BTreeMap::new(),
        }
    }
}

/// What `nvbind run` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpu {
    /// The selection where `--gpu` is absent.
    pub default_selection: String,
    /// Whether containers are isolated where `--isolate` is absent.
    pub enable_isolation: bool,
    /// Values of podman's `--device`.
    pub additional_devices: Vec<String>,
    /// Files of the host that the container sees at the same path, read-only.
    pub additional_libraries: Vec<String>,
}

impl Default for Gpu {
    fn default() -> Gpu {
        Gpu {
            default_selection: "all".to_owned(),
            enable_isolation: false,
            additional_devices: Vec::new(),
            additional_libraries: Vec::new(),
        }
    }
}
