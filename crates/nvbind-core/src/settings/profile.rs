//! `[profiles.NAME]`: what `nvbind run --profile NAME` adds to a command line.
//!
//! The hook uses none of it, but reads the system's file, in which it may stand.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A profile; what a key does not say stays as it is without the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// For `nvbind profile list`.
    pub description: String,
    /// What `--capabilities` would say.
    pub capabilities: Option<String>,
    /// What `--isolate` would say.
    pub isolate: Option<bool>,
    /// Words of `--extras`.
    pub extras: Vec<String>,
    /// Options, nvbind's and podman's.
    pub args: Vec<String>,
    /// Variables of the container.
    pub environment: BTreeMap<String, String>,
    /// Values of podman's `--volume`.
    pub volumes: Vec<String>,
    /// Values of podman's `--device`.
    pub devices: Vec<String>,
    /// Values of podman's `--ulimit`.
    pub ulimits: Vec<String>,
    /// The value of podman's `--shm-size`.
    pub shm_size: Option<String>,
}
