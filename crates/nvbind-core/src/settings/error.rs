//! Why a configuration cannot be used.

use crate::exit::Exit;
use crate::failure::Explain;
use crate::trust;
use std::io;
use std::path::PathBuf;

/// Why a configuration cannot be used.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not there, not readable, no text.
    #[error("cannot read the configuration {path}")]
    Read { path: String, source: io::Error },
    /// Somebody else than root could have written it, or replaced a directory that it is in.
    #[error("the configuration {path} has to belong to root, and others must not be able to write it")]
    Untrusted { path: String },
    /// Not TOML, an unknown key or a wrong type; the source says line and column.
    #[error("{path} is not a valid configuration")]
    Syntax { path: String, source: Box<toml::de::Error> },
    /// A directory that would depend on the caller's working directory.
    #[error("{path}: driver.{key} has to be an absolute path, not {value:?}")]
    Relative { path: String, key: &'static str, value: PathBuf },
}

impl Error {
    /// Whether the file is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What keeps the file, or the place where it would be, from being root's alone.
impl From<trust::Error> for Error {
    fn from(error: trust::Error) -> Error {
        match error {
            trust::Error::NotRoots { path } => Error::Untrusted { path },
            trust::Error::Stat { path, source } => Error::Read { path, source },
        }
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Error::Read { .. } | Error::Untrusted { .. } | Error::Syntax { .. } | Error::Relative { .. } => {
                Exit::Request
            }
        }
    }
}
