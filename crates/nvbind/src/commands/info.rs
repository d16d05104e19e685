//! `nvbind info`: the driver and the GPUs of this machine.

use super::{ReportError, document};
use crate::args;
use crate::driver::{self, Modules, Place};
use crate::failure::{self, Failure};
use crate::output;
use nvbind_core::render::{self, InfoDocument};

/// Prints the inventory.
pub(crate) fn info(options: args::Info) -> Result<(), Failure> {
    show(options).map_err(ReportError::into_failure)
}

fn show(options: args::Info) -> Result<(), ReportError> {
    let machine = Place::new(options.driver_root).open(Modules::Leave)?;
    let (inventory, listing) = driver::inventory(&machine)?;
    if let Some(Err(error)) = &listing {
        log::warn!("{}", failure::line(error));
    }
    let listing = listing.and_then(Result::ok);
    let listing = listing.as_ref();
    let text = match options.json {
        false => render::info_text(&inventory, listing, machine.host()),
        true => document(&InfoDocument::new(&inventory, listing, machine.host()))?,
    };
    Ok(output::print(text.as_bytes())?)
}
