//! Reading input files that others can put something else in place of.

use rustix::fs::OFlags;
use std::cell::Cell;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The content of a regular file of at most `limit` bytes, and what the file says of itself.
///
/// # Errors
/// When it is not there, may not be read, is no regular file, or is larger.
pub fn read(path: &Path, limit: u64) -> Result<(Vec<u8>, Metadata)> {
    // A FIFO would block until the runtime's time limit, if there is one.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    // Enough for one read and the one that finds the end.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok((bytes, metadata))
}

/// Runs a parser that reads a file piece by piece: it is given a function that reads up to so many bytes at an offset.
/// The length has to be the parser's own limit, never a number from the file.
///
/// # Errors
/// When a read fails, whatever the parser made of that.
pub(crate) fn parse_at<T>(
    file: &File,
    parse: impl FnOnce(&dyn Fn(u64, usize) -> Option<Vec<u8>>) -> T,
) -> Result<T> {
    let failure = Cell::new(None);
    let parsed = parse(&|offset, length| match read_at(file, offset, length) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            failure.set(Some(error));
            None
        }
    });
    failure.into_inner().map_or(Ok(parsed), Err)
}

/// The same function of bytes in memory, for tests and fuzzing.
#[cfg(any(test, fuzzing))]
pub(crate) fn bytes_at(bytes: &[u8]) -> impl Fn(u64, usize) -> Option<Vec<u8>> {
    |offset, length| {
        let rest = bytes.get(usize::try_from(offset).ok()?..)?;
        Some(rest.get(..length.min(rest.len()))?.to_vec())
    }
}

fn read_at(file: &File, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    loop {
        match file.read_at(&mut bytes, offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => {
                bytes.truncate(other?);
                return Ok(bytes);
            }
        }
    }
}
