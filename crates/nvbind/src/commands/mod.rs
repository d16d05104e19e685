//! One module for each command.

pub(crate) mod cdi;
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

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::message::printable_json;
use serde::Serialize;

/// A report that no JSON can hold.
#[derive(Debug, thiserror::Error)]
#[error("cannot make JSON of it")]
struct NoJson(#[from] serde_json::Error);

impl Explain for NoJson {
    fn exit(&self) -> Exit {
        Exit::Bug
    }
}

/// A JSON document as it is printed.
fn to_json(value: &impl Serialize) -> Result<String, NoJson> {
    let mut text = printable_json(&serde_json::to_string_pretty(value)?);
    text.push('\n');
    Ok(text)
}
