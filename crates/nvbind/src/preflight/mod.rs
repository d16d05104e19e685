//! What the hook would refuse of a command line, told before podman starts anything: crun tells no reason.
//!
//! It refuses nothing that the hook takes. What only the hook can see, it refuses later, and the watcher tells why.

mod isolation;
mod requirements;

use crate::failure::Failure;
use crate::podman::command_line::{CommandLine, Verb};
use nvbind_core::host::Host;
use nvbind_core::plan::Plan;

/// Fails where the hook would refuse the container that this line starts.
pub(crate) fn check(line: &CommandLine, verb: Verb, host: &Host, plan: &Plan) -> Result<(), Failure> {
    requirements::check(line, verb, plan)?;
    if let Some(unseen) = &plan.unseen {
        isolation::check(&line.options, unseen, host)?;
    }
    Ok(())
}
