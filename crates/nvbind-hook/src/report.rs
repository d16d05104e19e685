//! One line to stderr (runc shows it), to syslog, and, for a failure, to a file that outlives the container.
//!
//! crun shows nothing of a hook but its exit code, so the line has to be found elsewhere.

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::message::{self, printable};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

const NAME: &str = "nvbind-hook";

/// The name of the record of the last failure, in `/run/nvbind` or, rootless, `/run/user/UID/nvbind`.
const RECORD: &str = "last-failure";

/// Where the system's log listens (syslog(3)).
const SYSLOG: &str = "/dev/log";

/// The longest line in the log and in the record, in bytes.
const LINE_LIMIT: usize = 4 << 10;

type Syslog = Logger<LoggerBackend, Formatter3164>;

struct Lines {
    syslog: Mutex<Option<Syslog>>,
}

/// Sends log lines of level info and above to syslog, where there is one.
pub(crate) fn start() {
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: NAME.to_owned(),
        pid: std::process::id(),
    };
    let syslog = connect_syslog().map(|socket| Logger::new(LoggerBackend::Unix(socket), formatter));
    let syslog = Mutex::new(syslog.ok());
    // The only logger of the process; a second call cannot happen.
    if log::set_boxed_logger(Box::new(Lines { syslog })).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    // A bug, never input: told as such instead of by a signal.
    std::panic::set_hook(Box::new(|panic| {
        log::error!("a bug in {NAME}, please report it: {panic}");
        #[expect(clippy::exit, reason = "the process is about to be aborted")]
        std::process::exit(Exit::Bug as i32);
    }));
}

/// A socket to the system's log that never waits: a daemon that does not read what it gets must not keep containers
/// from starting, and a line that it does not take is lost.
fn connect_syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(SYSLOG)?;
    Ok(socket)
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = shorten(printable(&record.args().to_string()));
        if record.level() <= Level::Warn {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{NAME}: {line}");
        }
        if let Ok(mut syslog) = self.syslog.lock()
            && let Some(syslog) = syslog.as_mut()
        {
            // A log that cannot be written must not stop a container.
            let _ = match record.level() {
                Level::Error => syslog.err(&line),
                Level::Warn => syslog.warning(&line),
                Level::Info | Level::Debug | Level::Trace => syslog.info(&line),
            };
        }
    }

    fn flush(&self) {}
}

/// Reports why a container does not start, everywhere, and gives the exit code.
pub(crate) fn failure(container: &str, error: &dyn Explain) -> ExitCode {
    let mut line = message::line(error);
    if let Some(hint) = error.hint() {
        line = format!("{line}; {hint}");
    }
    if !container.is_empty() {
        line = format!("container {container}: {line}");
    }
    log::error!("{line}");
    if let Some(mut record) = record() {
        let line = shorten(printable(&line));
        // Where it cannot be written, syslog and stderr have the line still.
        let _ = record.set_len(0).and_then(|()| writeln!(record, "exit code {}: {line}", error.exit() as u8));
    }
    error.exit().into()
}

/// Opens the record, where there can be one. To be called before the container's namespaces are joined: afterwards this
/// process may be another user, and paths lead elsewhere.
pub(crate) fn prepare_record() {
    record();
}

fn record() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    FILE.get_or_init(open_record).as_ref()
}

/// Where there is no record, or something else stands in its place, syslog and stderr have the line still.
fn open_record() -> Option<File> {
    let directory = record_directory()?;
    DirBuilder::new().recursive(true).mode(0o755).create(&directory).ok()?;
    let mut options = OpenOptions::new();
    // A FIFO in its place would block.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    options.write(true).create(true).mode(0o644).custom_flags(flags.bits());
    let file = options.open(format!("{directory}/{RECORD}")).ok()?;
    let is_ours =
        |file: &fs::Metadata| file.is_file() && file.uid() == geteuid().as_raw() && file.nlink() == 1;
    file.metadata().is_ok_and(|file| is_ours(&file)).then_some(file)
}

/// A message as far as anybody reads it: it can repeat what an annotation of megabytes says.
fn shorten(mut line: String) -> String {
    if line.len() > LINE_LIMIT {
        let end = (0..=LINE_LIMIT).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
        line.truncate(end);
        line.push('…');
    }
    line
}

/// root's, or that of the user who is root in this user namespace (user_namespaces(7), `uid_map`).
fn record_directory() -> Option<String> {
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    match outer_root(&map)? {
        0 => Some("/run/nvbind".to_owned()),
        uid => Some(format!("/run/user/{uid}/nvbind")),
    }
}

fn outer_root(uid_map: &str) -> Option<u32> {
    uid_map.lines().find_map(|line| {
        let mut ids = line.split_whitespace();
        (ids.next() == Some("0")).then(|| ids.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_anybody_reads() {
        assert_eq!(shorten("é".to_owned()), "é");
        let long = shorten("é".repeat(LINE_LIMIT));
        assert_eq!((long.len(), long.ends_with("é…")), (LINE_LIMIT + '…'.len_utf8(), true));
    }

    #[test]
    fn the_record_goes_to_the_user_who_is_root_here() {
        for (map, uid) in [
            ("0 0 4294967295\n", Some(0)),
            ("         0       2000          1\n 1 300000 65536\n", Some(2000)),
            ("", None),
        ] {
            assert_eq!(outer_root(map), uid);
        }
    }
}
