//! The names by which a machine's GPUs are devices, beside their numbers.

use super::{Error, HookOptions, Modules};
use nvbind_core::capability::Capabilities;
use nvbind_core::extras::Extras;
use nvbind_core::inventory::Inventory;
use nvbind_core::message::line;
use std::path::PathBuf;

/// The names of the GPUs of this machine, or of a driver root, that the Container Device Interface can have (SPEC.md:
/// letters, digits and `_-.:`): UUIDs, PCI addresses, MIG devices by position and UUID.
///
/// # Errors
/// When the driver cannot be read.
pub(crate) fn device_names(driver_root: Option<PathBuf>) -> Result<Vec<String>, Error> {
    let machine = HookOptions::new(driver_root).open(Modules::Load)?;
    let mut inventory = machine.read(Capabilities::ALL, &Extras::default())?;
    if inventory.gpus.iter().any(|gpu| !gpu.mig.is_empty())
        && let Err(error) = machine.identify("MIG", &mut inventory)
    {
        log::warn!("MIG devices get no names: {}", line(&error));
    }
    Ok(names(&inventory))
}

fn names(inventory: &Inventory) -> Vec<String> {
    let mut names = Vec::new();
    for gpu in &inventory.gpus {
        names.extend(gpu.uuid.clone());
        names.push(gpu.pci.to_string());
        for identity in gpu.mig.iter().filter_map(|device| device.identity.as_ref()) {
            names.extend([format!("{}:{}", gpu.index, identity.index), identity.uuid.clone()]);
        }
    }
    names
}
