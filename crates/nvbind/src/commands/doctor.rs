//! `nvbind doctor`: all that a container with GPUs needs of this machine, checked.

use super::to_json;
use crate::args;
use crate::doctor::{self, Failures, Machine, Status};
use crate::failure::Failure;
use crate::output;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;

#[derive(Debug, thiserror::Error)]
#[error("{0} of the checks failed")]
struct ChecksFailed(usize);

impl Explain for ChecksFailed {
    fn exit(&self) -> Exit {
        Exit::Driver
    }
}

/// The exit code when a check failed, or nothing could be told.
const FAILED: u8 = 1;

/// Prints what was found; fails where a check failed.
pub(crate) fn doctor(options: args::Doctor) -> Result<(), Failure> {
    let args::Doctor { json, last: shows_last, fix } = options;
    let done = match (shows_last, fix) {
        (true, _) => last(json),
        (false, true) => run_fixes(json),
        (false, false) => examine(json),
    };
    done.map_err(|failure| failure.with_code(FAILED))
}

fn examine(json: bool) -> Result<(), Failure> {
    let report = doctor::examine(&Machine::this());
    if json {
        output::print(to_json(&report)?.as_bytes())?;
    } else {
        output::print_coloured(&report.text())?;
    }
    judge(report.count(Status::Fail))
}

/// What is fine afterwards counts, not what was before.
fn run_fixes(json: bool) -> Result<(), Failure> {
    let fixed = doctor::run_fixes(&Machine::this());
    if json {
        output::print(to_json(&fixed)?.as_bytes())?;
    } else {
        output::print_coloured(&fixed.text())?;
    }
    judge(fixed.failed())
}

fn judge(failed: usize) -> Result<(), Failure> {
    if failed == 0 { Ok(()) } else { Err(ChecksFailed(failed).into()) }
}

fn last(json: bool) -> Result<(), Failure> {
    let failures = Failures::read(&Machine::this());
    let text = if json { to_json(&failures)? } else { failures.text() };
    Ok(output::print(text.as_bytes())?)
}
