//! Why a case did not pass.

use nvbind_fixtures::error::Error;

/// The end of a case that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It cannot run here, for a reason that has nothing to do with nvbind.
    Skipped(String),
    /// A claim did not hold.
    Failed {
        reason: String,
        /// What the programs printed.
        output: String,
    },
}

impl Ended {
    /// A claim that did not hold.
    pub fn failed(reason: impl Into<String>, output: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), output: output.into() }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::failed(error.chain(), "")
    }
}

/// Fails the case unless `holds`.
pub fn claim(holds: bool, reason: &str, output: impl FnOnce() -> String) -> Result<(), Ended> {
    if holds { Ok(()) } else { Err(Ended::failed(reason, output())) }
}
