//! One module for each command.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod info;
pub(crate) mod kube;
pub(crate) mod man;
pub(crate) mod nvml;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod run;
pub(crate) mod setup;

use crate::failure::Failure;
use crate::{driver, output};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain as _;
use serde::Serialize;

/// Why a report on the driver can't be given.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Driver(#[from] driver::Error),
    #[error("cannot make JSON of it")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
}

impl ReportError {
    fn into_failure(self) -> Failure {
        let (code, hint) = match &self {
            ReportError::Driver(error) => (error.exit(), error.hint()),
            ReportError::Json(_) => (Exit::Bug, None),
            ReportError::Output(_) => (Exit::Permission, None),
        };
        Failure::new(self, code as u8).hint(hint)
    }
}

/// A JSON document as it is printed.
fn document(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
