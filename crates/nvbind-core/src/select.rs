//! The GPUs of a machine that a request means.

use crate::inventory::{Gpu, Inventory};
use crate::request::{GpuName, Gpus};

/// Why a request cannot be met.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No GPU has that name.
    #[error("there is no GPU {name}; this machine has {there_is}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        there_is: String,
    },
    /// A UUID prefix of several GPUs.
    #[error("{name} means more than one GPU; this machine has {there_is}")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What there is.
        there_is: String,
    },
    /// `all` on a machine without a GPU.
    #[error("the driver is loaded but has no GPU; ask for io.nvbind.gpu=none to get its files alone")]
    NoGpu,
    /// One of the GPUs of a Windows host.
    #[error("WSL2 has one device node for all GPUs, so that {name} cannot be chosen; ask for all, 0 or none")]
    Wsl {
        /// What was asked for.
        name: String,
    },
}

/// Whether the GPUs of a Windows host are chosen: in WSL2 all of them are one, with the index 0.
///
/// # Errors
/// When one of them is asked for.
pub fn select_all(gpus: &Gpus) -> Result<bool, Error> {
    match gpus {
        Gpus::All => Ok(true),
        Gpus::None => Ok(false),
        Gpus::Listed(names) => match names.iter().find(|name| **name != GpuName::Index(0)) {
            Some(name) => Err(Error::Wsl { name: name.to_string() }),
            None => Ok(true),
        },
    }
}

/// The chosen GPUs, in PCI order, each once.
///
/// # Errors
/// When a name fits none or several.
pub fn select<'a>(gpus: &Gpus, inventory: &'a Inventory) -> Result<Vec<&'a Gpu>, Error> {
    let names = match gpus {
        Gpus::None => return Ok(Vec::new()),
        Gpus::All if inventory.gpus.is_empty() => return Err(Error::NoGpu),
        Gpus::All => return Ok(inventory.gpus.iter().collect()),
        Gpus::Listed(names) => names,
    };
    let mut chosen = Vec::new();
    for name in names {
        chosen.push(find(name, inventory)?);
    }
    chosen.sort_by_key(|gpu| gpu.index);
    chosen.dedup_by_key(|gpu| gpu.index);
    Ok(chosen)
}

fn find<'a>(name: &GpuName, inventory: &'a Inventory) -> Result<&'a Gpu, Error> {
    let fits = |gpu: &&Gpu| match name {
        GpuName::Index(index) => gpu.index == *index,
        GpuName::Pci(address) => gpu.pci == *address,
        GpuName::Uuid(prefix) => gpu
            .uuid
            .as_ref()
            .is_some_and(|uuid| uuid.to_ascii_lowercase().starts_with(&prefix.to_ascii_lowercase())),
    };
    let mut found = inventory.gpus.iter().filter(fits);
    let (name, there_is) = (name.to_string(), || describe(&inventory.gpus));
    match (found.next(), found.next()) {
        (Some(gpu), None) => Ok(gpu),
        (None, _) => Err(Error::Unknown { name, there_is: there_is() }),
        (Some(_), Some(_)) => Err(Error::Ambiguous { name, there_is: there_is() }),
    }
}

fn describe(gpus: &[Gpu]) -> String {
    if gpus.is_empty() {
        return "none".to_owned();
    }
    let one = |gpu: &Gpu| {
        let uuid = gpu.uuid.as_deref().unwrap_or("UUID not known yet");
        format!("{} ({uuid}, {})", gpu.index, gpu.pci)
    };
    gpus.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::PciAddress;
    use crate::machine;
    use crate::request::Request;

    fn indexes(selection: &str) -> Result<Vec<u32>, Error> {
        let inventory = machine::two_gpus();
        let request = Request::parse(selection, None, None).unwrap();
        select(&request.gpus, &inventory).map(|gpus| gpus.iter().map(|gpu| gpu.index).collect())
    }

    #[test]
    fn names_of_every_kind_find_their_gpu_once_and_in_order() {
        for (selection, expected) in [
            ("all", vec![0, 1]),
            ("none", vec![]),
            ("1,0,1", vec![0, 1]),
            ("GPU-b", vec![1]),
            ("GPU-AAAA", vec![0]),
            ("0000:41:00.0,1", vec![1]),
        ] {
            assert_eq!(indexes(selection).unwrap(), expected, "{selection}");
        }
    }

    #[test]
    fn an_unknown_or_ambiguous_name_lists_what_there_is() {
        let there_is = "0 (GPU-aaaa0000-0000-0000-0000-000000000001, 0000:01:00.0), \
                        1 (GPU-bbbb0000-0000-0000-0000-000000000002, 0000:41:00.0)";
        let unknown = |name: &str| Error::Unknown { name: name.to_owned(), there_is: there_is.to_owned() };
        assert_eq!(indexes("2").unwrap_err(), unknown("2"));
        assert_eq!(indexes("GPU-c").unwrap_err(), unknown("GPU-c"));
        assert_eq!(indexes("0000:02:00.0").unwrap_err(), unknown("0000:02:00.0"));
        let mut inventory = machine::two_gpus();
        for gpu in &mut inventory.gpus {
            gpu.uuid = Some(format!("GPU-cc{}", gpu.index));
        }
        let both = Gpus::Listed(vec![GpuName::Uuid("GPU-cc".into())]);
        assert!(matches!(select(&both, &inventory).unwrap_err(), Error::Ambiguous { .. }));
    }

    #[test]
    fn all_on_a_machine_without_a_gpu_is_refused() {
        let mut inventory = machine::two_gpus();
        inventory.gpus.clear();
        assert_eq!(select(&Gpus::All, &inventory).unwrap_err(), Error::NoGpu);
        assert_eq!(select(&Gpus::None, &inventory).unwrap(), Vec::<&Gpu>::new());
        assert_eq!(PciAddress::parse("0000:01:00.0").unwrap().to_string(), "0000:01:00.0");
    }
}
