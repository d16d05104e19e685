//! What can go wrong in xtask: a system call, a program, or the state of this machine.

use crate::process::ProcessError;
use std::io;
use std::path::Path;

/// A failed step, told to the person who ran `cargo xtask`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("cannot {doing}")]
    Io {
        /// What was being done, and to which path.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A program did not do its work.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The simulated driver, the probe or the image could not be made.
    #[error("cannot make what the tests run with")]
    Fixture(#[source] Box<dyn std::error::Error>),
    /// Anything whose message says it all.
    #[error("{0}")]
    Failed(String),
}

/// The result of a step of xtask.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error whose message says it all.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The message and its causes in one line.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// Says what was being done when the system refused.
pub trait Doing<T> {
    /// Wraps the system's answer: `doing` completes the sentence "cannot …".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;

    /// The same for a path: "cannot VERB PATH".
    fn on(self, verb: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Io { doing: doing(), source: error.into() })
    }
}
