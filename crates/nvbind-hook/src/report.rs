//! One line to stderr (runc shows it), to syslog, and, for a failure, to a record that outlives the container.
//!
//! crun shows nothing of a hook but its exit code, so the line has to be found elsewhere.

use crate::ancestors::Ancestors;
use crate::record::Spare;
use log::{Level, LevelFilter, Log, Metadata};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::message::{self, printable};
use nvbind_core::record::Record;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

const NAME: &str = "nvbind-hook";

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

    fn log(&self, record: &log::Record<'_>) {
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

/// The container that the hook was started for, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) id: String,
    /// What `nvbind run` calls the start.
    pub(crate) start: Option<String>,
    /// Whether the hook runs in the container's namespaces from the beginning.
    pub(crate) in_container: bool,
}

/// Reports why a container does not start, everywhere, and gives the exit code.
pub(crate) fn failure(subject: &Subject, error: &dyn Explain) -> ExitCode {
    let mut line = message::line(error);
    if let Some(hint) = error.hint() {
        line = format!("{line}; {hint}");
    }
    let reason = shorten(printable(&line));
    if !subject.id.is_empty() {
        line = format!("container {}: {line}", subject.id);
    }
    log::error!("{line}");
    // Where it cannot be written, syslog and stderr have the line still.
    if let Some(spare) = spare(subject) {
        let Ancestors { runtime, name } = Ancestors::find();
        let record = Record::new(&subject.id, error.exit() as u8, reason);
        spare.write(&Record { runtime, name, start: subject.start.clone(), ..record });
    }
    error.exit().into()
}

/// Opens what a record can be written to. To be called before the container's namespaces are joined: afterwards this
/// process may be another user, and paths lead elsewhere.
pub(crate) fn prepare_record(subject: &Subject) {
    spare(subject);
}

fn spare(subject: &Subject) -> Option<&'static Spare> {
    static SPARE: OnceLock<Option<Spare>> = OnceLock::new();
    SPARE.get_or_init(|| Spare::open(subject.in_container)).as_ref()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_anybody_reads() {
        assert_eq!(shorten("é".to_owned()), "é");
        let long = shorten("é".repeat(LINE_LIMIT));
        assert_eq!((long.len(), long.ends_with("é…")), (LINE_LIMIT + '…'.len_utf8(), true));
    }
}
