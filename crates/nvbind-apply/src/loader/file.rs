//! A file of the container's `/etc` that a dynamic loader reads.

use crate::draft::Draft;
use crate::error::Error;
use crate::rootfs::{Directory, Rootfs};
use crate::view::ViewMount;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::io::Read;

/// What the image has in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A regular file, with its content.
    File(Vec<u8>),
    /// A regular file beyond the limit.
    TooLarge,
    Directory,
    /// A link, FIFO, socket or device: neither followed nor opened.
    Special,
}

/// Looks at the file, and reads at most `limit` bytes of it.
pub(super) fn read(directory: &Directory, name: &str, limit: usize) -> Result<Found, Error> {
    let failed = |errno: Errno| Error::system(format!("read {name} in the container"), errno);
    // Asked before it is opened: to open a device node of the image is to use that device of the host.
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        other => other.map_err(failed)?,
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Ok(if kind == FileType::Directory { Found::Directory } else { Found::Special });
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty()).map_err(failed)?;
    let stat = fstat(&fd).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Found::Special);
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > limit {
        return Ok(Found::TooLarge);
    }
    // Enough for one read and the one that finds the end.
    let mut content = Vec::with_capacity(size.saturating_add(1));
    std::fs::File::from(fd)
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| Error::system(format!("read {name} in the container"), error))?;
    Ok(if content.len() > limit { Found::TooLarge } else { Found::File(content) })
}

/// Gives the file new content: by a draft of it, or where nothing may be written by a file of the view that is bound
/// over it.
pub(super) fn replace(
    rootfs: &Rootfs,
    etc: &Directory,
    view: &mut ViewMount,
    name: &'static str,
    (found, content): (&Found, &[u8]),
) -> Result<Option<Draft>, Error> {
    if *found == Found::Directory {
        log::warn!(
            "the container's /etc/{name} is a directory; programs find the driver by LD_LIBRARY_PATH alone"
        );
        return Ok(None);
    }
    let Some(closed) = rootfs.find_closed_file(etc, name)? else {
        return Draft::write(etc, name, content).map(Some);
    };
    if matches!(found, Found::Nothing | Found::Special) {
        log::warn!(
            "no {name} in the container's /etc, and {}; programs find the driver by LD_LIBRARY_PATH alone",
            closed.why()
        );
        return Ok(None);
    }
    cover(rootfs, etc, view, name, content)?;
    Ok(None)
}

/// Binds a file of the view over the file, which stays as it is. Returns whether it did; if not, that was told.
pub(super) fn cover(
    rootfs: &Rootfs,
    etc: &Directory,
    view: &mut ViewMount,
    name: &str,
    content: &[u8],
) -> Result<bool, Error> {
    view.write(name, content)?;
    rootfs.cover(view.clone_file(name)?, etc, name)
}
