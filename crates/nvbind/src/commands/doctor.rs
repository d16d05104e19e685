//! `nvbind doctor`: all that a container with GPUs needs of this machine, checked.

use super::document;
use crate::args;
use crate::doctor::{self, Machine, Record, Status};
use crate::failure::Failure;
use crate::output;

/// Why it does not end well.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0} of the checks failed")]
    Checks(usize),
    #[error(transparent)]
    Record(#[from] doctor::RecordError),
    #[error("cannot make JSON of it")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// The exit code when a check failed, or nothing could be told.
const FAILED: u8 = 1;

/// Prints what was found; fails where a check failed.
pub(crate) fn doctor(options: args::Doctor) -> Result<(), Failure> {
    let args::Doctor { json, last: shows_last, fix } = options;
    let done = match (shows_last, fix) {
        (true, _) => last(json),
        (false, true) => mend(json),
        (false, false) => examine(json),
    };
    done.map_err(|error| Failure::new(error, FAILED))
}

fn examine(json: bool) -> Result<(), Error> {
    let report = doctor::examine(&Machine::this());
    let text = if json { document(&report)? } else { report.text() };
    output::print(text.as_bytes())?;
    judge(report.count(Status::Fail))
}

/// What is fine afterwards counts, not what was before.
fn mend(json: bool) -> Result<(), Error> {
    let mended = doctor::mend(&Machine::this());
    let text = if json { document(&mended)? } else { mended.text() };
    output::print(text.as_bytes())?;
    judge(mended.failed())
}

fn judge(failed: usize) -> Result<(), Error> {
    if failed == 0 { Ok(()) } else { Err(Error::Checks(failed)) }
}

fn last(json: bool) -> Result<(), Error> {
    let record = Record::read(&Machine::this())?;
    let text = if json { document(&record)? } else { record.text() };
    Ok(output::print(text.as_bytes())?)
}
