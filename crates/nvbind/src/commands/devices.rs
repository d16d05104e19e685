//! `nvbind devices`: the driver's modules loaded and its device nodes made, which a rootless container cannot have done.

use crate::driver::{self, HookOptions};
use crate::failure::Failure;
use crate::output;

/// Makes what is missing, and prints what was made.
pub(crate) fn devices() -> Result<(), Failure> {
    let made: String =
        driver::make_nodes(&HookOptions::new(None))?.iter().map(|path| format!("made {path}\n")).collect();
    Ok(output::print(made.as_bytes())?)
}
