//! `nvbind nvml`: what NVML says of GPUs and MIG devices.

use super::document;
use crate::args;
use crate::failure::Failure;
use crate::nvml;
use crate::output;
use nvbind_core::exit::Exit;
use nvbind_core::nvml::Question;
use nvbind_core::trust;

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the library is not loaded")]
    Untrusted(#[from] trust::Error),
    #[error(transparent)]
    Nvml(#[from] nvml::Error),
    #[error("cannot make JSON of it")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Nvml(_) | Error::Untrusted(trust::Error::Stat { .. }) => Exit::Driver,
            Error::Untrusted(trust::Error::NotRoots { .. }) | Error::Output(_) => Exit::Permission,
            Error::Json(_) => Exit::Bug,
        }
    }
}

/// Prints the listing.
pub(crate) fn nvml(options: &args::Nvml) -> Result<(), Failure> {
    show(options).map_err(|error| {
        let exit = error.exit();
        Failure::new(error, exit as u8)
    })
}

fn show(options: &args::Nvml) -> Result<(), Error> {
    // Who asks has checked the same; but anybody can start this, also by sudo.
    let library = trust::file(&options.library)?;
    let question = if options.details { Question::Details } else { Question::Devices };
    let text = document(&nvml::list(&library, question)?)?;
    Ok(output::print(text.as_bytes())?)
}
