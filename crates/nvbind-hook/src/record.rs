//! Writes the record of a refused container (see `nvbind_core::record`).
//!
//! The hook may be another user when it fails: it joins the container's user namespace, and can create nothing on the
//! host from there. So a file is opened before, a *spare* that one hook after another uses: it is empty, it stays so
//! when a container starts or the hook is killed, and it gets the container's name only with a record in it. In a user
//! namespace of the container's own that name cannot be given either; the next hook does it, and readers read spares.

use nix::unistd::geteuid;
use nvbind_core::record::{COUNT_LIMIT, Directory, Record, SHOWN, places, starter, user};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, renameat, statat, unlinkat};
use rustix::io::Result;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How many hooks of one user can fail at the same moment, each with a record.
const SPARES: usize = 16;

/// As long as the hook waits for its record to be shown. Only a start that has failed already waits.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);

/// How often it looks.
const POLL: Duration = Duration::from_millis(1);

/// An open spare, and the directory that it is in.
#[derive(Debug)]
pub(crate) struct Spare {
    directory: Directory,
    name: String,
    /// Locked for as long as the process lives: nobody else takes it meanwhile.
    file: File,
}

impl Spare {
    /// Opens one where this user's records are. None where something else stands in its place, or nothing can be
    /// written: the system's log has the reason still. `in_container` is for a hook that runs in the container's
    /// namespaces already, where its user may be another one than the container's.
    pub(crate) fn open(in_container: bool) -> Option<Spare> {
        let places = places(user()?);
        // A directory in /tmp would be made for that other user.
        let places = places.into_iter().take(if in_container { 1 } else { usize::MAX });
        let owner = geteuid().as_raw();
        let make = |above: BorrowedFd<'_>, name: &str| mkdirat(above, name, Mode::RWXU);
        places.into_iter().find_map(|place| Spare::take(place.open(owner, make).ok()?))
    }

    /// Takes the first that no other hook has.
    fn take(directory: Directory) -> Option<Spare> {
        for number in 0..SPARES {
            let name = format!(".spare-{number}");
            let Some(file) = take(&directory, &name) else { continue };
            return Some(Spare { directory, name, file });
        }
        None
    }

    /// Writes the record, and gives the file its name. Where something fails, there is none.
    pub(crate) fn write(&self, record: &Record) {
        let Some(line) = record.to_line() else { return };
        if (&self.file).write_all(line.as_bytes()).is_err() {
            return;
        }
        if renameat(&self.directory, &self.name, &self.directory, record.file_name()).is_ok() {
            let _ = prune(&self.directory);
        }
        // Later the runtime fails, podman ends, and a service or a shell goes on without waiting for anybody else.
        if record.start.as_deref().and_then(starter).is_some_and(is_running) {
            self.wait_until_shown();
        }
    }

    /// Waits until `nvbind run` has shown the record, but never long: the container does not start in any case.
    fn wait_until_shown(&self) {
        let since = Instant::now();
        while since.elapsed() < SHOWN_WITHIN
            && !fstat(&self.file).is_ok_and(|stat| stat.st_mode & 0o777 == SHOWN)
        {
            thread::sleep(POLL);
        }
    }
}

fn is_running(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

/// Locks the spare of this name, empty; a record that a hook could not name gets its name first.
fn take(directory: &Directory, name: &str) -> Option<File> {
    // Once more where there was a record in it.
    for _ in 0..2 {
        let file = directory.open_file(name, OFlags::RDWR | OFlags::CREATE).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        // It may have got another name before it was locked.
        let (locked, named) = (fstat(&file).ok()?, statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?);
        if (locked.st_dev, locked.st_ino) != (named.st_dev, named.st_ino) {
            continue;
        }
        match directory.record(name) {
            _ if locked.st_size == 0 => return Some(file),
            Some(record) => renameat(directory, name, directory, record.file_name()).ok()?,
            // What a hook wrote that was killed meanwhile.
            None => {
                file.set_len(0).ok()?;
                return Some(file);
            }
        }
    }
    None
}

/// Removes the oldest records, as many as there are too many.
fn prune(directory: &Directory) -> Result<()> {
    let names = directory.names()?.into_iter().filter(|name| !name.starts_with(".spare-"));
    let changed = |name: String| {
        let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_mtime, stat.st_mtime_nsec, name))
    };
    let mut names: Vec<_> = names.filter_map(changed).collect();
    names.sort_unstable();
    let surplus = names.len().saturating_sub(COUNT_LIMIT);
    for (_, _, name) in names.into_iter().take(surplus) {
        unlinkat(directory, &name, AtFlags::empty())?;
    }
    Ok(())
}
