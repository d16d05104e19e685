//! `nvbind info`: the driver and the GPUs of this machine.

use super::{ReportError, document};
use crate::args;
use crate::driver::{self, Place};
use crate::failure::{self, Failure};
use crate::output;
use nvbind_core::render::{self, InventoryDocument};

/// Prints the inventory.
pub(crate) fn info(options: args::Info) -> Result<(), Failure> {
    show(options).map_err(ReportError::into_failure)
}

fn show(options: args::Info) -> Result<(), ReportError> {
    let place = Place::new(options.driver_root);
    let (host, _) = place.open()?;
    let (inventory, unknown) = driver::inventory(&place, &host)?;
    if let Some(error) = unknown {
        failure::note(&failure::line(&error));
    }
    let text = match options.json {
        false => render::inventory_text(&inventory, &host.files),
        true => document(&InventoryDocument::new(&inventory, &host.files))?,
    };
    Ok(output::print(text.as_bytes())?)
}
