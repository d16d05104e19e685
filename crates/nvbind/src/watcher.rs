//! The process beside podman that prints why the hook refused the container: crun discards what a hook prints.
//!
//! podman takes the place of `nvbind run`: its exit code, its signals, the terminal and a service's main process are
//! podman's own, whatever happens. So somebody else has to wait for the hook's record. The watcher is started before,
//! sleeps until there is a record of this start, and ends with podman. The hook waits a moment for it, so that the
//! reason is there before podman ends.

use crate::messages::BAD;
use nix::sys::signal::SigSet;
use nvbind_core::message::printable;
use nvbind_core::record::{Directory, Record, SHOWN, places, start_token, user};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags, fchmod, mkdirat};
use rustix::io::{Errno, Result, read};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{self, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The hidden command that is the watcher.
pub(crate) const COMMAND: &str = "watch";

/// The runtime that puts what a hook prints into its own error, which podman prints: always without a terminal, and
/// with one only where conmon was quick enough (`no logs from conmon`).
const TELLS_ITSELF: &str = "runc";

/// Starts the watcher of a start, for podman in this process's place. Returns what the container's annotation
/// `io.nvbind.start` has to say.
pub(crate) fn start(has_terminal: bool) -> io::Result<String> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = start_token(process::id(), time);
    let color = match anstream::ColorChoice::global() {
        anstream::ColorChoice::Auto => "auto",
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => "always",
        anstream::ColorChoice::Never => "never",
    };
    let mut watcher = Command::new("/proc/self/exe");
    watcher.args(["--color", color, COMMAND, "--start", &token, "--podman", &process::id().to_string()]);
    watcher.args(has_terminal.then_some("--terminal"));
    // Whoever reads podman's output is not to wait for the watcher's.
    watcher.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    Ok(token)
}

/// Waits for the record of a start, and prints it; until the process `podman`, this one's parent, has ended.
pub(crate) fn watch(start: &str, podman: i32, has_terminal: bool) {
    // What a terminal or systemd sends is for podman. With it, the watcher ends.
    let _ = SigSet::all().thread_block();
    let Some(mut watched) = Watched::open(podman) else { return };
    let Some((file, record)) = watched.wait(start) else { return };
    if has_terminal || record.runtime.as_deref() != Some(TELLS_ITSELF) {
        let reason = printable(&record.reason);
        // A closed stderr is nobody's.
        let _ = anstream::stderr().write_all(format!("{BAD}nvbind:{BAD:#} {reason}\n").as_bytes());
    }
    // The hook may end now.
    let _ = fchmod(file, Mode::from_raw_mode(SHOWN));
}

/// Where records appear, and the process after which none is expected.
struct Watched {
    directories: Vec<Directory>,
    changes: OwnedFd,
    /// None where it has ended.
    podman: Option<OwnedFd>,
}

impl Watched {
    /// None where this user can have no records.
    fn open(podman: i32) -> Option<Watched> {
        let process = Pid::from_raw(podman).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Of another process by now: nobody's parent is that of another's child.
        let process = process.filter(|_| getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == podman));
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let directories = open_directories(user()?, nix::unistd::geteuid().as_raw());
        for directory in &directories {
            let path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
            // Where a record has its name, and where it cannot have it.
            inotify::add_watch(&changes, path, WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE).ok()?;
        }
        Some(Watched { directories, changes, podman: process })
    }

    fn wait(&mut self, start: &str) -> Option<(File, Record)> {
        loop {
            if let Some(found) = self.find(start) {
                return Some(found);
            }
            let podman = self.podman.as_ref()?;
            let mut waited = [PollFd::new(&self.changes, PollFlags::IN), PollFd::new(podman, PollFlags::IN)];
            match poll(&mut waited, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return None,
            }
            let has_ended = waited.last().is_some_and(|podman| !podman.revents().is_empty());
            self.forget_changes();
            if has_ended {
                // What came with its end is looked at once more.
                self.podman = None;
            }
        }
    }

    fn find(&self, start: &str) -> Option<(File, Record)> {
        self.directories.iter().find_map(|directory| {
            let mut records = directory.records();
            let (name, record) = records.find(|(_, record)| record.start.as_deref() == Some(start))?;
            // Gone, where the hook gives it its name just now: that is another change.
            Some((directory.open_file(&name, OFlags::RDONLY).ok()?, record))
        })
    }

    /// What has changed does not matter: all is read again.
    fn forget_changes(&self) {
        let mut events = Vec::with_capacity(4 << 10);
        while read(&self.changes, spare_capacity(&mut events)).is_ok_and(|bytes| bytes > 0) {
            events.clear();
        }
    }
}

/// The directory that the hook will use, made where it is not there, and others that are there.
fn open_directories(uid: u32, owner: u32) -> Vec<Directory> {
    let make = |above: BorrowedFd<'_>, name: &str| mkdirat(above, name, Mode::RWXU);
    let leave = |_: BorrowedFd<'_>, _: &str| -> Result<()> { Err(Errno::NOENT) };
    let mut opened = Vec::new();
    for place in places(uid) {
        let directory = if opened.is_empty() { place.open(owner, make) } else { place.open(owner, leave) };
        opened.extend(directory.ok());
    }
    opened
}
