//! `nvbind info`: the driver and the GPUs of this machine.

use super::to_json;
use crate::args;
use crate::driver::{self, HookOptions, Modules};
use crate::failure::Failure;
use crate::output;
use nvbind_core::message::line;
use nvbind_core::render::{self, InfoDocument};

/// Prints the inventory.
pub(crate) fn info(options: args::Info) -> Result<(), Failure> {
    let machine = HookOptions::new(options.driver_root).open(Modules::Leave)?;
    let (inventory, listing) = driver::inventory(&machine)?;
    if let Some(Err(error)) = &listing {
        log::warn!("{}", line(error));
    }
    let listing = listing.and_then(Result::ok);
    let listing = listing.as_ref();
    let text = match options.json {
        false => render::info_text(&inventory, listing, machine.host()),
        true => to_json(&InfoDocument::new(&inventory, listing, machine.host()))?,
    };
    Ok(output::print(text.as_bytes())?)
}
