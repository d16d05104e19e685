//! What NVIDIA's management library says, asked in a process of its own: `nvbind nvml --library PATH`.
//!
//! The hook is static and cannot load a library; and a library that talks with a driver can take long or crash. So both
//! the hook and the command line start the dynamic `nvbind`, with an empty environment and a time limit, and only for a
//! request that procfs does not answer. Its answer is a [`Listing`] in JSON on stdout.

use crate::child;
use crate::exit::Exit;
use crate::failure::Explain;
use crate::host::Host;
use crate::inventory::{self, Inventory, MigIdentity, PciAddress};
use crate::request::{GpuName, Gpus, Request};
use crate::trust;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A driver that does not answer within this does not answer at all; loading and starting it takes a second or two per
/// GPU where nothing keeps the driver's state (persistence mode).
const LIMIT: Duration = Duration::from_secs(10);

/// Why it is not asked with a driver root of the command line: its library would be run as the hook's user, who may be
/// root, and could be anything.
pub const OTHER_ROOT: &str = "with --driver-root";

/// How much NVML is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which GPUs and MIG devices there are: all that a request needs.
    Devices,
    /// What a report tells of them besides.
    Details,
}

/// What NVML says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The GPUs that it can talk to.
    pub gpus: Vec<ListedGpu>,
    /// The version of CUDA that the driver brings, as `cuda.h` counts; of [`Question::Details`], where NVML can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<u32>,
    /// Why others are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// What NVML says of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGpu {
    /// PCI address.
    pub pci: PciAddress,
    /// UUID, with `GPU-`.
    pub uuid: String,
    /// Its memory in bytes; of [`Question::Details`], where NVML can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
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

/// Why NVML was not asked, or gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It must not be asked here.
    #[error(
        "{name} is a MIG device that only NVML could look up, which is not asked {why}; name it MIG-GPU-UUID/GI/CI, by its GPU's UUID and the numbers of its GPU instance and compute instance"
    )]
    NotAsked {
        /// What was asked for.
        name: String,
        /// Where it is not asked.
        why: &'static str,
    },
    /// Its library, or the program that loads it, could be somebody's else than root's.
    #[error("NVML is not asked")]
    Untrusted(#[from] trust::Error),
    /// There is no such library.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
    /// The process failed.
    #[error("NVML cannot be asked")]
    Child(#[from] child::Error),
    /// What it printed is no listing.
    #[error("{program} printed no list of GPUs; is it of the same version?")]
    Answer {
        /// The program.
        program: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::NotAsked { .. } => Exit::Request,
            Error::Untrusted(error) => error.exit(),
            Error::Inventory(error) => error.exit(),
            Error::Child(error) => error.exit(),
            Error::Answer { .. } => Exit::Driver,
        }
    }
}

/// The first name of a request for which NVML has to be asked: there are MIG devices, and it names one as NVML does, or it
/// means some and those that are allowed are named so.
#[must_use]
pub fn needed_for<'a>(request: &'a Request, inventory: &Inventory) -> Option<&'a GpuName> {
    if inventory.gpus.iter().all(|gpu| gpu.mig.is_empty()) {
        return None;
    }
    let (names, means_mig): (&[GpuName], _) = match &request.gpus {
        Gpus::All => (&[], true),
        Gpus::None => (&[], false),
        Gpus::Listed(names) => (names, names.iter().any(GpuName::is_mig)),
    };
    let allowed = request.allowed.iter().filter(|_| means_mig).flat_map(|allowed| &allowed.names);
    names.iter().chain(allowed).find(|name| name.needs_nvml())
}

/// The library of the loaded driver as this process sees it, if nobody but root could have put it there.
///
/// # Errors
/// When it is not there, or not root's.
pub fn library(host: &Host, inventory: &Inventory) -> Result<PathBuf, Error> {
    let path = inventory.nvml(host)?;
    Ok(trust::file(Path::new(&host.files.display(&path)))?)
}

/// Asks NVML, in a process that runs this program, which has to be `nvbind`.
///
/// # Errors
/// When the process cannot be started, fails, takes too long, or says something else.
pub fn ask(program: &Path, library: &Path, question: Question) -> Result<Listing, Error> {
    let mut command = Command::new(program);
    command.args(["nvml", "--library"]).arg(library);
    if question == Question::Details {
        command.arg("--details");
    }
    let output = child::output(&mut command, LIMIT)?;
    serde_json::from_slice(&output)
        .map_err(|source| Error::Answer { program: program.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::settings::Settings;

    #[test]
    fn nvml_is_asked_only_for_names_of_its_own_and_where_there_are_mig_devices() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-aa", &[]);
        let is_needed = |selection: &str| {
            let request = Request::parse(selection, None, None).unwrap();
            needed_for(&request, &machine.inventory().unwrap()).map(ToString::to_string)
        };
        assert_eq!(is_needed("0:0,MIG-aa"), None);
        machine.mig(0, &[(1, 0, 12, 13)]);
        for selection in ["all", "none", "0", "0-0", "GPU-aa", "01:00.0", "MIG-GPU-aa/1/0"] {
            assert_eq!(is_needed(selection), None, "{selection}");
        }
        assert_eq!(is_needed("0,0:0"), Some("0:0".to_owned()));
        assert_eq!(is_needed("MIG-aa"), Some("MIG-aa".to_owned()));
    }

    #[test]
    fn nvml_is_asked_for_allowed_mig_devices_where_a_request_means_some() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-aa", &[]);
        let is_needed = |selection: &str, allowed: &str| {
            let text = format!("[security]\nrestrict_devices = true\nallowed_devices = [{allowed}]");
            let security = Settings::parse(&text, "f").unwrap().security;
            let request = Request::parse(selection, None, None).unwrap().within(&security);
            needed_for(&request, &machine.inventory().unwrap()).map(ToString::to_string)
        };
        assert_eq!(is_needed("all", "\"0\", \"MIG-aa\""), None);
        machine.mig(0, &[(1, 0, 12, 13)]);
        for selection in ["all", "MIG-GPU-aa/1/0", "0,MIG-GPU-aa/1/0"] {
            assert_eq!(is_needed(selection, "\"0\", \"MIG-aa\", \"0:1\""), Some("MIG-aa".to_owned()));
            assert_eq!(is_needed(selection, "\"0\", \"MIG-GPU-aa/1/0\""), None);
        }
        for selection in ["none", "0", "0-0", "GPU-aa", "01:00.0"] {
            assert_eq!(is_needed(selection, "\"MIG-aa\", \"0:1\""), None, "{selection}");
        }
    }

    #[test]
    fn a_program_that_prints_something_else_is_named() {
        let error = ask(Path::new("/bin/echo"), Path::new("/x"), Question::Devices).unwrap_err();
        assert_eq!(error.to_string(), "/bin/echo printed no list of GPUs; is it of the same version?");
        assert_eq!(error.exit(), Exit::Driver);
    }
}
