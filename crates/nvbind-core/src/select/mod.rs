//! The GPUs, and parts of GPUs, of a machine that a request means.

mod limit;

#[cfg(test)]
mod tests;

use crate::exit::Exit;
use crate::failure::Explain;
use crate::gpu_name::GpuName;
use crate::inventory::{Gpu, Inventory, MigDevice};
use crate::request::{Gpus, Request};
use crate::security::{Allowed, Numbers};
use limit::Limit;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Why a request cannot be met.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No GPU has that name.
    #[error("there is no GPU {name}; this machine has {there_is}")]
    Unknown { name: String, there_is: String },
    /// A UUID prefix of several GPUs.
    #[error("{name} means more than one GPU; this machine has {there_is}")]
    Ambiguous { name: String, there_is: String },
    /// A GPU that a scheduler of jobs, or a container around, keeps from this process.
    #[error(
        "the device cgroup denies GPU {name} to this process, as a job's does with the GPUs of other jobs; it may use {there_is}"
    )]
    Denied { name: String, there_is: String },
    /// `all` where all are kept from this process.
    #[error(
        "the device cgroup denies all GPUs of this machine to this process: {denied}; ask the job scheduler for one, or whoever runs the container around"
    )]
    AllDenied { denied: String },
    /// `all` on a machine without a GPU.
    #[error("the driver is loaded but has no GPU; ask for io.nvbind.gpu=none to get its files alone")]
    NoGpu,
    /// One of the GPUs of a Windows host.
    #[error("WSL2 has one device node for all GPUs, so that {name} cannot be chosen; ask for all, 0 or none")]
    Wsl { name: String },
    /// A GPU that the configuration does not allow.
    #[error("GPU {name} is not allowed; {allowed}")]
    NotAllowed { name: String, allowed: Allowed },
    /// `all` where the configuration allows none of the GPUs.
    #[error("no GPU of this machine is allowed; {0}")]
    NoneAllowed(Allowed),
    /// A UUID prefix of several GPUs among the allowed ones.
    #[error("{name} means more than one GPU; {allowed}, and this machine has {there_is}")]
    AmbiguousAllowed { name: String, allowed: Box<Allowed>, there_is: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::NotAllowed { .. }
            | Error::NoneAllowed(_)
            | Error::Denied { .. }
            | Error::AllDenied { .. } => Exit::Permission,
            Error::AmbiguousAllowed { .. } => Exit::Request,
            Error::Unknown { .. } | Error::Ambiguous { .. } | Error::NoGpu | Error::Wsl { .. } => {
                Exit::Driver
            }
        }
    }
}

/// Whether the GPUs of a Windows host are chosen: in WSL2 all of them are one, with the index 0.
///
/// # Errors
/// When one of them is asked for, or they are not allowed.
pub fn select_all(request: &Request) -> Result<bool, Error> {
    match &request.gpus {
        Gpus::All => {}
        Gpus::None => return Ok(false),
        Gpus::Listed(names) => {
            if let Some(name) = names.iter().find(|name| **name != GpuName::Index(0)) {
                return Err(Error::Wsl { name: name.to_string() });
            }
        }
    }
    let is_it = |name: &GpuName| matches!(name, GpuName::Index(0) | GpuName::Range(0, _));
    match request.allowed.iter().find(|allowed| !allowed.names.iter().any(is_it)) {
        Some(allowed) => Err(Error::NoneAllowed(allowed.clone())),
        None => Ok(true),
    }
}

/// What is chosen of one GPU.
#[derive(Debug, Default)]
struct Parts {
    /// The GPU itself is asked for, and not only MIG devices of it.
    whole: bool,
    /// Positions in [`Gpu::mig`].
    mig: BTreeSet<usize>,
}

/// The position of a GPU in the inventory, or of a MIG device on it.
type Found = (usize, Option<usize>);

/// Positions of GPUs in the inventory, and what is chosen of them.
type Choice = BTreeMap<usize, Parts>;

/// The chosen GPUs, in PCI order, each once and narrowed to what is chosen of it: [`Gpu::mig`] has the chosen MIG
/// devices alone, and [`Gpu::drm`] nothing where only MIG devices are chosen, which do no graphics.
///
/// As NVIDIA's container toolkit has it, `all` means the MIG devices of a GPU that is divided into some, and such a GPU
/// by its own name means it without any of them. Where the configuration allows only some, `all` means these.
///
/// # Errors
/// When a name fits none or several, or something that is not allowed.
pub fn select(request: &Request, inventory: &Inventory) -> Result<Vec<Gpu>, Error> {
    let gpus = &inventory.gpus;
    let limits =
        || request.allowed.iter().map(|allowed| Limit::new(allowed, gpus)).collect::<Result<Vec<_>, _>>();
    let mut choice = Choice::new();
    match &request.gpus {
        Gpus::None => {}
        Gpus::All if gpus.is_empty() => return Err(all_denied(inventory).unwrap_or(Error::NoGpu)),
        Gpus::All => {
            choice.extend(gpus.iter().map(all_of).enumerate());
            for limit in limits()? {
                limit.narrow(&mut choice)?;
            }
        }
        Gpus::Listed(names) => {
            let limits = limits()?;
            for name in names {
                let found = find_exactly(name, inventory)?;
                for limit in &limits {
                    limit.check(name, &found)?;
                }
                add(&mut choice, found);
            }
        }
    }
    let chosen = gpus.iter().enumerate();
    Ok(chosen.filter_map(|(position, gpu)| Some(narrowed(gpu, choice.get(&position)?))).collect())
}

fn all_of(gpu: &Gpu) -> Parts {
    Parts { whole: gpu.mig.is_empty(), mig: (0..gpu.mig.len()).collect() }
}

fn narrowed(gpu: &Gpu, parts: &Parts) -> Gpu {
    let mut gpu = gpu.clone();
    if parts.mig.is_empty() && !gpu.mig.is_empty() {
        log::warn!(
            "GPU {} is divided into MIG devices of which none is asked for, so that CUDA finds no device on it",
            gpu.index
        );
    }
    let mig = gpu.mig.into_iter().enumerate();
    gpu.mig = mig.filter(|(position, _)| parts.mig.contains(position)).map(|(_, device)| device).collect();
    if !parts.whole {
        gpu.drm.clear();
    }
    gpu
}

fn add(choice: &mut Choice, found: Vec<Found>) {
    for (gpu, mig) in found {
        let parts = choice.entry(gpu).or_default();
        match mig {
            Some(mig) => _ = parts.mig.insert(mig),
            None => parts.whole = true,
        }
    }
}

/// What a name means, all of it.
fn find_exactly(name: &GpuName, inventory: &Inventory) -> Result<Vec<Found>, Error> {
    let found = find(name, &inventory.gpus, Numbers::OfProcess);
    match (found.len() as u64).cmp(&expected(name)) {
        Ordering::Equal => Ok(found),
        Ordering::Greater => {
            Err(Error::Ambiguous { name: name.to_string(), there_is: describe(&inventory.gpus) })
        }
        Ordering::Less => Err(all_denied(inventory).unwrap_or_else(|| {
            let (is_denied, name) = (is_denied(name, inventory), name.to_string());
            if is_denied {
                Error::Denied { name, there_is: describe(&inventory.gpus) }
            } else {
                Error::Unknown { name, there_is: there_is(inventory) }
            }
        })),
    }
}

/// Where this process may use no GPU of those that there are.
fn all_denied(inventory: &Inventory) -> Option<Error> {
    let is_so = inventory.gpus.is_empty() && !inventory.denied.is_empty();
    is_so.then(|| Error::AllDenied { denied: list(&inventory.denied) })
}

/// Whether it is a GPU or a MIG device that is denied. A number is none: it counts those that are not.
fn is_denied(name: &GpuName, inventory: &Inventory) -> bool {
    let is_part =
        |gpu: &Gpu| gpu.denied_mig.iter().any(|device| is_mig(name, gpu, device, Numbers::OfProcess));
    let is_whole = |gpu: &Gpu| {
        !matches!(name, GpuName::Index(_) | GpuName::Range(..)) && is_gpu(name, gpu, Numbers::OfProcess)
    };
    inventory.denied.iter().any(|gpu| is_whole(gpu) || is_part(gpu)) || inventory.gpus.iter().any(is_part)
}

/// How many GPUs or MIG devices a name means.
fn expected(name: &GpuName) -> u64 {
    match name {
        GpuName::Range(first, last) => u64::from(last.abs_diff(*first)) + 1,
        GpuName::Index(_)
        | GpuName::Uuid(_)
        | GpuName::Pci(_)
        | GpuName::MigIndex { .. }
        | GpuName::MigUuid(_)
        | GpuName::MigInstance { .. } => 1,
    }
}

/// What a name fits.
fn find(name: &GpuName, gpus: &[Gpu], numbers: Numbers) -> Vec<Found> {
    let mut found = Vec::new();
    for (position, gpu) in gpus.iter().enumerate() {
        if is_gpu(name, gpu, numbers) {
            found.push((position, None));
        }
        let migs = gpu.mig.iter().enumerate().filter(|(_, device)| is_mig(name, gpu, device, numbers));
        found.extend(migs.map(|(mig, _)| (position, Some(mig))));
    }
    found
}

fn is_gpu(name: &GpuName, gpu: &Gpu, numbers: Numbers) -> bool {
    match name {
        GpuName::Index(index) => number(gpu, numbers) == *index,
        GpuName::Range(first, last) => (*first..=*last).contains(&number(gpu, numbers)),
        GpuName::Pci(address) => gpu.pci == *address,
        GpuName::Uuid(prefix) => gpu.uuid.as_ref().is_some_and(|uuid| has_prefix(uuid, prefix)),
        GpuName::MigIndex { .. } | GpuName::MigUuid(_) | GpuName::MigInstance { .. } => false,
    }
}

fn is_mig(name: &GpuName, gpu: &Gpu, device: &MigDevice, numbers: Numbers) -> bool {
    match name {
        GpuName::MigIndex { gpu: index, mig } => {
            number(gpu, numbers) == *index
                && device.identity.as_ref().is_some_and(|identity| identity.index == *mig)
        }
        GpuName::MigUuid(prefix) => {
            device.identity.as_ref().is_some_and(|identity| has_prefix(&identity.uuid, prefix))
        }
        GpuName::MigInstance { gpu: prefix, gpu_instance, compute_instance } => {
            (device.gpu_instance, device.compute_instance) == (*gpu_instance, *compute_instance)
                && gpu.uuid.as_ref().is_some_and(|uuid| has_prefix(uuid, prefix))
        }
        GpuName::Index(_) | GpuName::Range(..) | GpuName::Pci(_) | GpuName::Uuid(_) => false,
    }
}

fn number(gpu: &Gpu, numbers: Numbers) -> u32 {
    match numbers {
        Numbers::OfMachine => gpu.position,
        Numbers::OfProcess => gpu.index,
    }
}

fn has_prefix(uuid: &str, prefix: &str) -> bool {
    uuid.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What there is for this process, and what there is beside it.
fn there_is(inventory: &Inventory) -> String {
    let usable = describe(&inventory.gpus);
    if inventory.denied.is_empty() {
        return usable;
    }
    format!("{usable}; the device cgroup denies this process {}", list(&inventory.denied))
}

/// GPUs without the numbers that they do not have for this process.
fn list(denied: &[Gpu]) -> String {
    let name = |gpu: &Gpu| match &gpu.uuid {
        Some(uuid) => format!("{uuid} ({})", gpu.pci),
        None => gpu.pci.to_string(),
    };
    denied.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn describe(gpus: &[Gpu]) -> String {
    if gpus.is_empty() {
        return "none".to_owned();
    }
    let mut all = Vec::new();
    for gpu in gpus {
        let uuid = gpu.uuid.as_deref().unwrap_or("UUID not known yet");
        all.push(format!("{} ({uuid}, {})", gpu.index, gpu.pci));
        all.extend(gpu.mig.iter().map(|device| gpu.name_of(device)));
    }
    all.join(", ")
}
