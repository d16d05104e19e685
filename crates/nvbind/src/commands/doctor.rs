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
    let done = if options.last { last(options.json) } else { examine(options.json) };
    done.map_err(|error| Failure::new(error, FAILED))
}

fn examine(json: bool) -> Result<(), Error> {
    let report = doctor::examine(&Machine::this());
    let text = if json { document(&report)? } else { report.text() };
    output::print(text.as_bytes())?;
    match report.count(Status::Fail) {
        0 => Ok(()),
        count => Err(Error::Checks(count)),
    }
}

fn last(json: bool) -> Result<(), Error> {
    let record = Record::read(&Machine::this())?;
    let text = if json { document(&record)? } else { record.text() };
    Ok(output::print(text.as_bytes())?)
}
