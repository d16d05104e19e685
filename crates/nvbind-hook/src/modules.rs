//! The kernel modules of a machine where nothing has used the driver since it booted, as a server without a display: the
//! driver's own `nvidia-modprobe` loads them.

use nvbind_core::catalogue::{MODPROBE, MODPROBE_ALL};
use nvbind_core::host::Host;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// To load the modules takes a second or two; to initialise many GPUs without persistence, some more.
const LIMIT: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(5);

/// Whether the modules in question are this machine's, and this process may load them: another driver root is none of
/// `nvidia-modprobe`'s.
pub(crate) fn may_load(host: &Host) -> bool {
    host.is_machine() && nvbind_apply::in_user_namespace().is_ok_and(|inside| !inside)
}

/// Runs it; whether it ran and was content. What it could not do shows when the driver is read again.
pub(crate) fn load() -> bool {
    match run() {
        Ok(status) if status.success() => true,
        Ok(status) => {
            log::warn!("{MODPROBE} failed with {status}");
            false
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            log::warn!("cannot run {MODPROBE}: {error}");
            false
        }
    }
}

fn run() -> io::Result<ExitStatus> {
    let program = fs::metadata(MODPROBE)?;
    if program.uid() != 0 || program.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is not root's alone to write"));
    }
    let mut command = Command::new(MODPROBE);
    command.args(MODPROBE_ALL).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    wait(command.spawn()?)
}

fn wait(mut child: Child) -> io::Result<ExitStatus> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        thread::sleep(PAUSE);
    }
}
