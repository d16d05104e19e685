//! `[security]` of the configuration: which GPUs containers may have, who may ask for them, and how containers are
//! confined.

use crate::exit::Exit;
use crate::failure::Explain;
use crate::gpu_name::GpuName;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::fmt;

/// The table `[security]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// Whether containers may have the GPUs of the list alone.
    pub restrict_devices: bool,
    /// GPUs and MIG devices, in the grammar of `io.nvbind.gpu`.
    #[serde(deserialize_with = "parse_names")]
    pub allowed_devices: Vec<GpuName>,
    /// Whether `NVIDIA_VISIBLE_DEVICES` of a container without CAP_SYS_ADMIN is a request, too, where it is one at all.
    pub visible_devices_when_unprivileged: bool,
    /// Whether annotations are requests: where they are not, GPUs are asked for as devices of CDI.
    pub annotations: bool,
    /// Whether `nvbind run` starts containers for others than root.
    pub allow_rootless: bool,
    /// Values of podman's `--security-opt`.
    pub security_opts: Vec<String>,
    /// The file that says so, for messages.
    #[serde(skip)]
    file: String,
}

impl Default for Security {
    fn default() -> Security {
        Security {
            restrict_devices: false,
            allowed_devices: Vec::new(),
            visible_devices_when_unprivileged: false,
            annotations: true,
            allow_rootless: true,
            security_opts: Vec::new(),
            file: String::new(),
        }
    }
}

/// Annotations ask for nothing on this machine, and a container has one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "annotations ask for no GPU here, since an image may bring its own (security.annotations is false in {file}); ask by --device nvidia.com/gpu=NAME, without io.nvbind annotations"
)]
pub struct NoAnnotations {
    file: String,
}

impl Explain for NoAnnotations {
    fn exit(&self) -> Exit {
        Exit::Permission
    }
}

/// The GPUs that a container may have, where not all are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Them, or MIG devices.
    pub names: Vec<GpuName>,
    /// What says so.
    pub by: String,
    /// By which numbers it names them.
    pub numbers: Numbers,
}

/// What a number of a GPU counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// All GPUs of the machine: root's configuration means the same GPU in every job.
    OfMachine,
    /// Those that this process may use, as a request does.
    OfProcess,
}

impl Security {
    /// As this file says.
    pub(crate) fn of(self, file: &str) -> Security {
        Security { file: file.to_owned(), ..self }
    }

    /// The file that says so.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Sees that a container may ask by annotations.
    ///
    /// # Errors
    /// When it may not.
    pub fn allow_annotations(&self) -> Result<(), NoAnnotations> {
        if self.annotations { Ok(()) } else { Err(NoAnnotations { file: self.file.clone() }) }
    }

    /// What containers may have; none where they may have everything.
    #[must_use]
    pub fn allowed(&self) -> Option<Allowed> {
        let allowed = || Allowed {
            names: self.allowed_devices.clone(),
            by: format!("security.allowed_devices of {}", self.file),
            numbers: Numbers::OfMachine,
        };
        self.restrict_devices.then(allowed)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(",") };
        write!(f, "{} allows {names}", self.by)
    }
}

/// The parser of the file adds line and column, but not the key.
fn parse_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GpuName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let parse = |name: &String| {
        GpuName::parse(name).map_err(|error| D::Error::custom(format!("security.allowed_devices: {error}")))
    };
    names.iter().map(parse).collect()
}
