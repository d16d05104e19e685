//! A program of the host that must not outlive who runs it: a runtime that ends a hook, by its time limit or because
//! the container was killed, ends that process alone.
//!
//! So it is run by a process in between, this program once more, which leads the process group and watches both: the
//! kernel's own way, a signal at a parent's death, reaches neither what the program has started nor, without `unsafe`,
//! the program itself.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_current_process_group, kill_process, pidfd_open,
};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode};

/// The argument that makes a program of nvbind's the process in between. After it come the number of the process that
/// wants it, the program and its arguments.
const SUPERVISE: &str = "supervise";

/// What a shell answers for a program that it cannot run.
const NOT_RUN: u8 = 127;

/// A command that runs the program so, to be given its arguments. It has to be started by a program whose `main` asks
/// [`supervise`].
pub(crate) fn supervised(program: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUPERVISE).arg(std::process::id().to_string()).arg(program);
    command
}

/// Is the process in between, where the arguments after the program's name say so, and gives its exit code; none for
/// any other arguments.
#[must_use]
pub fn supervise(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != SUPERVISE {
        return None;
    }
    let (parent, program) = (arguments.next()?, arguments.next()?);
    Some(run(&parent, &program, arguments).unwrap_or_else(|error| {
        // Whoever reads it may be gone.
        let _ = writeln!(io::stderr(), "cannot run {}: {error}", program.display());
        ExitCode::from(NOT_RUN)
    }))
}

fn run(parent: &OsStr, program: &OsStr, arguments: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let parent = parent.to_str().and_then(|parent| parent.parse().ok()).and_then(Pid::from_raw);
    let parent = parent.ok_or_else(|| io::Error::other("it is not known for which process"))?;
    let parent_end = pidfd_open(parent, PidfdFlags::empty())?;
    // Otherwise it ended before it was watched.
    if getppid() != Some(parent) {
        return Err(io::Error::other("the process that wanted it is gone"));
    }
    let mut child = Command::new(program).args(arguments).spawn()?;
    let ended = wait(&parent_end, &mut child);
    if !matches!(ended, Ok(Some(_))) {
        // This process as well.
        kill_current_process_group(Signal::KILL)?;
    }
    Ok(ended?.unwrap_or_else(|| ExitCode::from(NOT_RUN)))
}

/// Waits for the child; none where the parent ends first.
fn wait(parent_end: &impl std::os::fd::AsFd, child: &mut Child) -> io::Result<Option<ExitCode>> {
    let child_end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let mut ends = [PollFd::new(&child_end, PollFlags::IN), PollFd::new(parent_end, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let [of_child, of_parent] = ends.map(|end| !end.revents().is_empty());
        if of_child {
            let status = child.wait()?;
            // What a crash was is told by the same signal.
            if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
                kill_process(getpid(), signal)?;
            }
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(Some(ExitCode::from(code.unwrap_or(NOT_RUN))));
        }
        if of_parent {
            return Ok(None);
        }
    }
}
