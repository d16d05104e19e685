//! Why a command failed, as a person reads it: one line, then a hint where there is a known remedy.

use crate::messages::{BAD, GOOD};
pub(crate) use nvbind_core::message::{line, printable};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure with this exit code.
    pub(crate) fn new(error: impl Error + 'static, code: u8) -> Failure {
        Failure { error: Box::new(error), hint: None, code }
    }

    /// With a remedy.
    #[must_use]
    pub(crate) fn hint(mut self, hint: Option<String>) -> Failure {
        self.hint = hint;
        self
    }

    /// Tells it on stderr, once.
    pub(crate) fn report(&self) -> ExitCode {
        // A closed stderr is no reason to fail otherwise.
        let _ = anstream::stderr().write_all(self.text().as_bytes());
        ExitCode::from(self.code)
    }

    fn text(&self) -> String {
        let mut text = format!("{BAD}nvbind:{BAD:#} {}\n", printable(&line(&*self.error)));
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{GOOD}hint:{GOOD:#} {}", printable(hint));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::PathBuf;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {}", path.display())]
    struct Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_a_hint() {
        let error = Unreadable { path: "/a\x1b[2J".into(), source: io::Error::from_raw_os_error(13) };
        let failure = Failure::new(error, 4).hint(Some("run as root".into()));
        let expected =
            "nvbind: cannot read /a\\u{1b}[2J: Permission denied (os error 13)\nhint: run as root\n";
        assert_eq!(anstream::adapter::strip_str(&failure.text()).to_string(), expected);
    }
}
