//! `nvbind nvml`: what NVML says of GPUs and MIG devices.

use super::to_json;
use crate::args;
use crate::failure::Failure;
use crate::nvml;
use crate::output;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::nvml::Question;
use nvbind_core::trust;

/// Others could have written the library.
#[derive(Debug, thiserror::Error)]
#[error("the library is not loaded")]
struct Untrusted(#[from] trust::Error);

impl Explain for Untrusted {
    fn exit(&self) -> Exit {
        match self {
            Untrusted(trust::Error::Stat { .. }) => Exit::Driver,
            Untrusted(trust::Error::NotRoots { .. }) => Exit::Permission,
        }
    }
}

/// Prints the listing.
pub(crate) fn nvml(options: &args::Nvml) -> Result<(), Failure> {
    // Who asks has checked the same; but anybody can start this, also by sudo.
    let library = trust::check_file(&options.library).map_err(Untrusted)?;
    let question = if options.details { Question::Details } else { Question::Devices };
    let text = to_json(&nvml::list(&library, question)?)?;
    Ok(output::print(text.as_bytes())?)
}
