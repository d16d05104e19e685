//! The ways to name a GPU: the `name` of the grammar in [`request`](crate::request).

use crate::exit::Exit;
use crate::failure::Explain;
use crate::pci::PciAddress;
use std::fmt;

/// A word that names no GPU.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none"
)]
pub struct Error(pub String);

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// One way to name a GPU, several in a row, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuName {
    /// Position in PCI order.
    Index(u32),
    /// All positions from the first to the last.
    Range(u32, u32),
    /// UUID or a prefix of it, with `GPU-`.
    Uuid(String),
    /// By where it is on the PCI bus.
    Pci(PciAddress),
    /// A MIG device by positions.
    MigIndex {
        /// The GPU's, in PCI order.
        gpu: u32,
        /// The MIG device's among those of that GPU.
        mig: u32,
    },
    /// A MIG device's UUID or a prefix of it, with `MIG-`.
    MigUuid(String),
    /// A MIG device by its instances.
    MigInstance {
        /// UUID of its GPU or a prefix of it, with `GPU-`.
        gpu: String,
        /// The number of the GPU instance.
        gpu_instance: u32,
        /// The number of the compute instance within that.
        compute_instance: u32,
    },
}

impl GpuName {
    /// Reads one name.
    ///
    /// # Errors
    /// When it is not in the grammar.
    pub fn parse(word: &str) -> Result<GpuName, Error> {
        parse_name(word).ok_or_else(|| Error(word.to_owned()))
    }

    /// Whether it names a MIG device, and no GPU.
    #[must_use]
    pub fn is_mig(&self) -> bool {
        match self {
            GpuName::MigIndex { .. } | GpuName::MigUuid(_) | GpuName::MigInstance { .. } => true,
            GpuName::Index(_) | GpuName::Range(..) | GpuName::Uuid(_) | GpuName::Pci(_) => false,
        }
    }

    /// Whether only NVML knows what is meant: procfs tells instances, but neither positions nor UUIDs of MIG devices.
    #[must_use]
    pub fn needs_nvml(&self) -> bool {
        match self {
            GpuName::MigIndex { .. } | GpuName::MigUuid(_) => true,
            GpuName::Index(_)
            | GpuName::Range(..)
            | GpuName::Uuid(_)
            | GpuName::Pci(_)
            | GpuName::MigInstance { .. } => false,
        }
    }
}

impl fmt::Display for GpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuName::Index(index) => write!(f, "{index}"),
            GpuName::Range(first, last) => write!(f, "{first}-{last}"),
            GpuName::Uuid(uuid) | GpuName::MigUuid(uuid) => f.write_str(uuid),
            GpuName::Pci(address) => write!(f, "{address}"),
            GpuName::MigIndex { gpu, mig } => write!(f, "{gpu}:{mig}"),
            GpuName::MigInstance { gpu, gpu_instance, compute_instance } => {
                write!(f, "MIG-{gpu}/{gpu_instance}/{compute_instance}")
            }
        }
    }
}

fn parse_name(word: &str) -> Option<GpuName> {
    if let Some(rest) = word.strip_prefix("MIG-") {
        return match rest.split_once('/') {
            None => parse_uuid("MIG-", rest).map(GpuName::MigUuid),
            Some((gpu, instances)) => {
                let (gpu_instance, compute_instance) = parse_pair(instances, '/')?;
                let gpu = parse_uuid("GPU-", gpu.strip_prefix("GPU-")?)?;
                Some(GpuName::MigInstance { gpu, gpu_instance, compute_instance })
            }
        };
    }
    if let Some(rest) = word.strip_prefix("GPU-") {
        return parse_uuid("GPU-", rest).map(GpuName::Uuid);
    }
    if let Some(index) = parse_number(word) {
        return Some(GpuName::Index(index));
    }
    if let Some((first, last)) = parse_pair(word, '-') {
        return (first <= last).then_some(GpuName::Range(first, last));
    }
    if let Some((gpu, mig)) = parse_pair(word, ':') {
        return Some(GpuName::MigIndex { gpu, mig });
    }
    PciAddress::parse(word).map(GpuName::Pci)
}

fn parse_uuid(prefix: &str, rest: &str) -> Option<String> {
    let hex = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    hex.then(|| format!("{prefix}{}", rest.to_ascii_lowercase()))
}

fn parse_pair(text: &str, separator: char) -> Option<(u32, u32)> {
    let (one, other) = text.split_once(separator)?;
    Some((parse_number(one)?, parse_number(other)?))
}

/// Digits alone: the standard library would take a sign, too.
fn parse_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
