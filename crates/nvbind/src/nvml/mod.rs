//! GPUs and MIG devices as NVML lists them.

mod code;
mod library;

use code::Code;
use library::{Device, Divided, Nvml};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::listing::{ListedGpu, ListedMig, Listing, MigIdentity};
use nvbind_core::nvml::Question;
use std::path::Path;

/// Why NVML does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot load {path}")]
    Load { path: String, source: libloading::Error },
    /// Not NVML, or one of another age.
    #[error("{path} has no {function}; is it the driver's libnvidia-ml?")]
    Function { path: String, function: &'static str, source: libloading::Error },
    #[error("{function} failed: {code} ({says})")]
    Call {
        function: &'static str,
        code: Code,
        /// What NVML calls that.
        says: String,
    },
    /// A call gave what is none.
    #[error("{function} gave an unusable answer: {answer:?}")]
    Answer { function: &'static str, answer: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Driver
    }
}

impl Error {
    /// Whether a call failed like this.
    fn is(&self, codes: &[Code]) -> bool {
        matches!(self, Error::Call { code, .. } if codes.contains(code))
    }
}

/// All GPUs, with their MIG devices.
pub(crate) fn list(library: &Path, question: Question) -> Result<Listing, Error> {
    let nvml = Nvml::load(library)?;
    nvml.init()?;
    let listing = of(&nvml, question);
    // The process is about to end, and the driver notices that, too.
    let _ = nvml.shutdown();
    listing
}

fn of(nvml: &Nvml, question: Question) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    if question == Question::Details {
        match nvml.cuda() {
            Ok(cuda) => listing.cuda = cuda,
            Err(error) => listing.errors.push(format!("CUDA's version: {error}")),
        }
    }
    for index in 0..nvml.count()? {
        // One GPU that fell off the bus does not keep the others from being used.
        match gpu(nvml, index, question) {
            Ok(gpu) => listing.gpus.push(gpu),
            Err(error) => listing.errors.push(format!("GPU {index} in NVML's order: {error}")),
        }
    }
    Ok(listing)
}

fn gpu(nvml: &Nvml, index: u32, question: Question) -> Result<ListedGpu, Error> {
    let device = nvml.device(index)?;
    let mut mig = Vec::new();
    if let Some(divided) = nvml.divided(device)? {
        // Indexes are of places, and some may be empty.
        for index in 0..divided.places()? {
            if let Some(device) = divided.device(index)? {
                mig.push(mig_device(nvml, &divided, index, device)?);
            }
        }
    }
    let memory = match question {
        Question::Devices => None,
        Question::Details => nvml.memory(device)?,
    };
    let (memory, used) = memory.unzip();
    Ok(ListedGpu { pci: nvml.pci(device)?, uuid: nvml.uuid(device)?, memory, used, mig })
}

fn mig_device(nvml: &Nvml, gpu: &Divided<'_>, index: u32, device: Device) -> Result<ListedMig, Error> {
    let profile = profile(&nvml.name(device)?);
    Ok(ListedMig {
        gpu_instance: gpu.gpu_instance(device)?,
        compute_instance: gpu.compute_instance(device)?,
        identity: MigIdentity { index, uuid: nvml.uuid(device)?, profile },
    })
}

/// A MIG device is called `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
fn profile(name: &str) -> Option<String> {
    name.rsplit_once("MIG ").map(|(_, profile)| profile.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_the_end_of_the_name() {
        for (name, expected) in [
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", Some("1g.5gb")),
            ("NVIDIA H100 80GB HBM3 MIG 1c.2g.20gb", Some("1c.2g.20gb")),
            ("NVIDIA A30 MIG 1g.6gb+me", Some("1g.6gb+me")),
            ("NVIDIA A100-SXM4-40GB", None),
        ] {
            assert_eq!(profile(name).as_deref(), expected);
        }
    }
}
