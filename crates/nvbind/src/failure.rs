//! Why a command failed, as a person reads it: one line, then a hint where there is a known remedy.

use crate::messages::{BAD, GOOD};
use nvbind_core::failure::Explain;
use nvbind_core::message::{line, printable};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// A failed command. `?` makes it from every error that explains itself.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Explain>,
    hint: Option<String>,
    code: u8,
}

impl<E: Explain + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { hint: error.hint(), code: error.exit() as u8, error: Box::new(error) }
    }
}

impl Failure {
    /// With another remedy.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<Option<String>>) -> Failure {
        Failure { hint: hint.into(), ..self }
    }

    /// With another exit code.
    #[must_use]
    pub(crate) fn with_code(self, code: u8) -> Failure {
        Failure { code, ..self }
    }

    /// Prints it on stderr, once.
    pub(crate) fn report(&self) -> ExitCode {
        // A closed stderr is no reason to fail otherwise.
        let _ = anstream::stderr().write_all(self.text().as_bytes());
        ExitCode::from(self.code)
    }

    /// What is wrong, without the remedy.
    #[cfg(test)]
    pub(crate) fn message(&self) -> String {
        line(&*self.error)
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
    use nvbind_core::exit::Exit;
    use std::io;
    use std::path::PathBuf;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {}", path.display())]
    struct Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    }

    impl Explain for Unreadable {
        fn exit(&self) -> Exit {
            Exit::Permission
        }

        fn hint(&self) -> Option<String> {
            Some("run as root".into())
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_a_hint() {
        let error = Unreadable { path: "/a\x1b[2J".into(), source: io::Error::from_raw_os_error(13) };
        let failure = Failure::from(error);
        let expected =
            "nvbind: cannot read /a\\u{1b}[2J: Permission denied (os error 13)\nhint: run as root\n";
        assert_eq!(anstream::adapter::strip_str(&failure.text()).to_string(), expected);
        assert_eq!(failure.code, Exit::Permission as u8);
    }
}
