//! Errors as a person meets them: beside the message a documented exit code and, where the message lacks it, a remedy.

use crate::exit::Exit;
use std::error::Error;

/// An error that knows its exit code and its remedy. The message comes from `Display`, its cause from `source`.
pub trait Explain: Error {
    /// The documented exit code.
    fn exit(&self) -> Exit;

    /// What to do, where the message does not tell.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Any error that explains itself. `?` makes it from each of them, so that nobody has to list the errors of what they
/// call only to pass them on.
pub type Failure = Box<dyn Explain>;

impl<E: Explain + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        Box::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it is broken")]
    struct Broken;

    impl Explain for Broken {
        fn exit(&self) -> Exit {
            Exit::Bug
        }
    }

    #[test]
    fn a_question_mark_keeps_the_message_and_the_exit_code() {
        let fail = || -> Result<(), Failure> { Err(Broken)? };
        let failure = fail().unwrap_err();
        assert_eq!(
            (failure.to_string(), failure.exit(), failure.hint()),
            ("it is broken".into(), Exit::Bug, None)
        );
    }
}
