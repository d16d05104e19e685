//! `nvbind cdi`: the specification for engines that are asked by names of CDI.

use super::setup;
use super::to_json;
use crate::args;
use crate::cdi;
use crate::failure::Failure;
use crate::output;

/// Does what the subcommand says.
pub(crate) fn cdi(command: &args::Cdi) -> Result<(), Failure> {
    let args::Cdi::Print { kind, hook } = command;
    let hook = match hook {
        Some(hook) => hook.clone(),
        None => setup::find_hook()?,
    };
    let text = to_json(&cdi::specification(*kind, &hook.display().to_string()))?;
    Ok(output::print(text.as_bytes())?)
}
