//! The record that the hook leaves of its last failure: crun shows nothing of a hook but its exit code.

use super::Machine;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::input;
use nvbind_core::message::printable;
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// A record is one line.
const SIZE_LIMIT: u64 = 64 << 10;

/// Where the record is, and what it says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    path: PathBuf,
    /// None where no failure is recorded.
    message: Option<String>,
    /// When it was written, in seconds since 1970.
    time: Option<u64>,
}

/// The record cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Permission
    }
}

impl Record {
    /// The record of this user's containers.
    pub(crate) fn read(machine: &Machine) -> Result<Record, Error> {
        let path = machine.path(match machine.user.uid {
            0 => "/run/nvbind/last-failure".to_owned(),
            uid => format!("/run/user/{uid}/nvbind/last-failure"),
        });
        match input::read(&path, SIZE_LIMIT) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Record { path, message: None, time: None })
            }
            Err(source) => Err(Error { path, source }),
            Ok((bytes, metadata)) => {
                let message = String::from_utf8_lossy(&bytes).trim().to_owned();
                // The hook opens the file at its start, and writes only when it fails.
                let message = Some(message).filter(|message| !message.is_empty());
                let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let time = since.filter(|_| message.is_some()).map(|since| since.as_secs());
                Ok(Record { path, message, time })
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        match &self.message {
            Some(message) => format!("{}\n", printable(message)),
            None => format!("no failure is recorded in {}\n", self.path.display()),
        }
    }
}
