//! stdout, which may be a pipe that nobody reads any more.

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::io::{self, Write};

/// The reader of stdout is gone for another reason than that it has read enough.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
pub(crate) struct Error(#[from] io::Error);

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Permission
    }
}

/// Writes text with colours to stdout, without them where nobody wants any.
pub(crate) fn print_coloured(text: &str) -> Result<(), Error> {
    if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        return print(anstream::adapter::strip_str(text).to_string().as_bytes());
    }
    print(text.as_bytes())
}

/// Writes it all to stdout.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Error> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
