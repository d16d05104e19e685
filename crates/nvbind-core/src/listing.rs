//! What NVML says of a machine: the answer of `nvbind nvml`, in JSON.

use crate::pci::PciAddress;
use serde::{Deserialize, Serialize};

/// What NVML says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The GPUs that it can talk to.
    pub gpus: Vec<ListedGpu>,
    /// The version of CUDA that the driver brings, as `cuda.h` counts; of
    /// [`Question::Details`](crate::nvml::Question::Details), where NVML can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<u32>,
    /// Why others are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// What NVML says of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGpu {
    /// Where it is on the PCI bus.
    pub pci: PciAddress,
    /// UUID, with `GPU-`.
    pub uuid: String,
    /// Its memory in bytes; of [`Question::Details`](crate::nvml::Question::Details), where NVML can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// How many of these bytes are in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Its MIG devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mig: Vec<ListedMig>,
}

/// What NVML says of a MIG device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMig {
    /// The number of its GPU instance.
    pub gpu_instance: u32,
    /// The number of its compute instance within that.
    pub compute_instance: u32,
    /// What is known of it by NVML alone.
    #[serde(flatten)]
    pub identity: MigIdentity,
}

/// What NVML says of a MIG device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigIdentity {
    /// Its position among the MIG devices of its GPU, as `nvidia-smi -L` counts.
    pub index: u32,
    /// UUID, with `MIG-`.
    pub uuid: String,
    /// Profile, such as `1g.10gb`; none where the driver does not tell.
    pub profile: Option<String>,
}
