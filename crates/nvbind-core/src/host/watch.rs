//! Directories whose names were read, watched for changes: a set of files that is being replaced is not one set.

use super::{Error, Tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::fs::{Stat, fstat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

/// How long a directory has to have been left alone. Time stamps are as coarse as the kernel's clock tick, and a
/// package manager takes longer than that from one file to the next.
const QUIET: Duration = Duration::from_secs(1);

/// A directory as it was when its names were read.
#[derive(Debug)]
pub(super) struct Watched {
    path: String,
    fd: Rc<OwnedFd>,
    changed: (i64, u64),
}

/// When something last changed in the directory or about it. Nobody can set this time back.
#[expect(clippy::useless_conversion, reason = "the types differ between architectures")]
fn change_time(stat: &Stat) -> (i64, u64) {
    (i64::from(stat.st_ctime), u64::from(stat.st_ctime_nsec))
}

/// Whether names were added or removed less than [`QUIET`] before `now`; a time that is still to come says nothing.
fn is_recent(stat: &Stat, now: SystemTime) -> bool {
    let Ok(seconds) = u64::try_from(stat.st_mtime) else { return false };
    // Below a second always.
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    now.duration_since(modified).is_ok_and(|age| age < QUIET)
}

impl Tree {
    /// Notes the directories whose names are read from now on, in place of those that were noted before.
    pub(crate) fn watch(&self) {
        *self.watched.borrow_mut() = Some(Vec::new());
    }

    /// Lets go of the noted directories.
    pub(crate) fn forget(&self) {
        *self.watched.borrow_mut() = None;
    }

    /// Notes a directory whose names are about to be read, if any are to be noted.
    pub(super) fn note(&self, path: &str, fd: &Rc<OwnedFd>) -> Result<(), Error> {
        if let Some(watched) = self.watched.borrow_mut().as_mut() {
            let failed = |errno| self.error(path, errno);
            let changed = change_time(&fstat(fd).map_err(failed)?);
            watched.push(Watched { path: path.to_owned(), fd: Rc::clone(fd), changed });
        }
        Ok(())
    }

    /// Whether the noted directories are as they were when they were read, and had been left alone for a while then.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub(crate) fn is_settled(&self) -> Result<bool, Error> {
        let now = SystemTime::now();
        for Watched { path, fd, changed } in self.watched.borrow().iter().flatten() {
            let stat = fstat(fd).map_err(|errno| self.error(path, errno))?;
            if change_time(&stat) != *changed || is_recent(&stat, now) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has the kernel tell what happens in the noted directories from now on.
    ///
    /// # Errors
    /// When it cannot, or a directory is gone.
    pub(crate) fn watch_for_changes(&self) -> Result<Changes<'_>, Error> {
        let failed = |errno| self.error("/", errno);
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
        for Watched { path, fd, .. } in self.watched.borrow().iter().flatten() {
            let place = format!("/proc/self/fd/{}", fd.as_raw_fd());
            inotify::add_watch(&inotify, place, CHANGES).map_err(|errno| self.error(path, errno))?;
        }
        Ok(Changes { tree: self, inotify })
    }
}

/// What changes a set of files.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ONLYDIR);

/// Room for the events that one read gives: each has a name of at most 255 bytes.
const EVENTS: usize = 4 << 10;

/// Directories in which the kernel tells what happens.
#[derive(Debug)]
pub(crate) struct Changes<'t> {
    tree: &'t Tree,
    inotify: OwnedFd,
}

impl Changes<'_> {
    /// Waits; whether no file changed whose name is one of ours, nor will for [`QUIET`].
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn is_quiet(&self, is_ours: impl Fn(&str) -> bool) -> Result<bool, Error> {
        let failed = |errno| self.tree.error("/", errno);
        let deadline = Instant::now() + QUIET;
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    // Without a name: events were lost.
                    let name = event.file_name().map(CStr::to_string_lossy);
                    if name.is_none_or(|name| is_ours(&name)) {
                        return Ok(false);
                    }
                }
                Err(Errno::AGAIN) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        return Ok(true);
                    }
                    let timeout = Timespec::try_from(rest).unwrap_or_default();
                    let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
                    match poll(&mut fds, Some(&timeout)) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => return Err(failed(errno)),
                    }
                }
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use std::fs::{self, File};

    #[test]
    fn a_directory_that_changed_before_or_after_it_was_read_is_not_settled() {
        let machine = Machine::new();
        let host = machine.host();
        let read = || host.files.names("/usr/lib64").unwrap();
        host.files.watch();
        read();
        assert!(host.files.is_settled().unwrap());
        // Read, and changed in a way that leaves no time stamp of its own.
        machine.write("usr/lib64/other", "");
        assert!(!host.files.is_settled().unwrap());
        host.files.watch();
        read();
        assert!(host.files.is_settled().unwrap());
        // Changed, and read at once.
        fs::write(machine.path("usr/lib64/more"), "").unwrap();
        host.files.watch();
        read();
        assert!(!host.files.is_settled().unwrap());
        host.files.watch();
        assert!(host.files.is_settled().unwrap());
    }

    #[test]
    fn a_change_is_recent_for_a_whole_second() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::open(directory.path()).unwrap();
        let now = SystemTime::now();
        for (milliseconds, expected) in [(0, true), (990, true), (1010, false), (5000, false)] {
            file.set_modified(now - Duration::from_millis(milliseconds)).unwrap();
            assert_eq!(is_recent(&fstat(&file).unwrap(), now), expected, "{milliseconds} ms");
        }
        file.set_modified(now + Duration::from_secs(60)).unwrap();
        assert!(!is_recent(&fstat(&file).unwrap(), now), "still to come");
    }
}
