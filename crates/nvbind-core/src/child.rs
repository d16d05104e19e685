//! A program of the host that is run: its output and its time are limited, and nothing of it is left when it is not
//! waited for any longer.

use crate::exit::Exit;
use crate::failure::Explain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// 64 GPUs of 7 MIG devices each are a tenth of this.
const OUTPUT_LIMIT: usize = 1 << 20;

/// What is told of its errors.
const ERRORS_LIMIT: usize = 4 << 10;

/// Why there is no output.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not started, or lost.
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
    /// It ended with a failure.
    #[error("{program} failed ({status}): {says}")]
    Failed { program: String, status: ExitStatus, says: String },
    /// It did not end in time.
    #[error("{program} did not answer within {} seconds; does `nvidia-smi` answer?", .timeout.as_secs())]
    TimedOut { program: String, timeout: Duration },
    /// It printed more than anything sensible.
    #[error("{program} printed more than {OUTPUT_LIMIT} bytes")]
    TooMuch { program: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Driver
    }
}

/// Runs it to its end with no environment, and gives what it printed on stdout; messages call it `program`.
///
/// # Errors
/// When it cannot be started, fails, prints too much, or does not end within `timeout`.
pub(crate) fn read_output(
    command: &mut Command,
    program: &Path,
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    run(command.env_clear(), program.display().to_string(), timeout)
}

/// Runs it to its end with the environment that the command has, by default this process's, and gives what it printed
/// on stdout: not for a program that runs for somebody else.
///
/// # Errors
/// When it cannot be started, fails, prints too much, or does not end within `timeout`.
pub fn read_output_with_environment(command: &mut Command, timeout: Duration) -> Result<Vec<u8>, Error> {
    let program = command.get_program().display().to_string();
    run(command, program, timeout)
}

fn run(command: &mut Command, program: String, timeout: Duration) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| Error::Run { program: program.clone(), source };
    // A process group of its own: the driver's library starts nvidia-modprobe, which is to end with it.
    let command = command.process_group(0);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let ended = wait(&mut child, timeout);
    if let Ok(Ended::Itself { output, errors }) = ended {
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(output);
        }
        let says = String::from_utf8_lossy(&errors).trim().to_owned();
        return Err(Error::Failed { program, status, says });
    }
    // It may have ended by itself meanwhile. It is not waited for: in a driver that hangs, not even this ends it.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    match ended.map_err(failed)? {
        Ended::TooMuch => Err(Error::TooMuch { program }),
        Ended::TimedOut | Ended::Itself { .. } => Err(Error::TimedOut { program, timeout }),
    }
}

enum Ended {
    Itself { output: Vec<u8>, errors: Vec<u8> },
    TimedOut,
    TooMuch,
}

fn wait(child: &mut Child, timeout: Duration) -> io::Result<Ended> {
    let deadline = Instant::now() + timeout;
    let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut output = Pipe::new(child.stdout.take().map(OwnedFd::from), OUTPUT_LIMIT)?;
    let mut errors = Pipe::new(child.stderr.take().map(OwnedFd::from), ERRORS_LIMIT)?;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(Ended::TimedOut);
        }
        let has_ended = {
            let pipes = [&output, &errors].into_iter().filter_map(|pipe| pipe.file.as_ref());
            let mut fds = vec![PollFd::new(&end, PollFlags::IN)];
            fds.extend(pipes.map(|file| PollFd::new(file, PollFlags::IN)));
            let timeout = Timespec::try_from(rest).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&timeout)) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            fds.first().is_some_and(|fd| !fd.revents().is_empty())
        };
        output.read()?;
        errors.read()?;
        if output.is_over {
            return Ok(Ended::TooMuch);
        }
        if has_ended {
            return Ok(Ended::Itself { output: output.bytes, errors: errors.bytes });
        }
    }
}

/// What comes out of a process, up to a limit.
struct Pipe {
    /// None at its end, or past the limit.
    file: Option<File>,
    bytes: Vec<u8>,
    limit: usize,
    is_over: bool,
}

impl Pipe {
    fn new(fd: Option<OwnedFd>, limit: usize) -> io::Result<Pipe> {
        if let Some(fd) = &fd {
            // Nothing is waited for here: a process that it started may hold the other end for longer.
            fcntl_setfl(fd, OFlags::NONBLOCK)?;
        }
        Ok(Pipe { file: fd.map(File::from), bytes: Vec::new(), limit, is_over: false })
    }

    /// Takes what is there.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(file) = &mut self.file {
            match file.read(&mut buffer) {
                Ok(0) => self.file = None,
                Ok(length) => {
                    let room = self.limit.saturating_sub(self.bytes.len());
                    self.bytes.extend(buffer.iter().take(length.min(room)));
                    if length > room {
                        (self.is_over, self.file) = (true, None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{kill_process, test_kill_process_group};

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, timeout: Duration) -> Result<String, Error> {
        let mut command = Command::new("/bin/sh");
        let output =
            read_output(command.env("LEAKED", "yes").args(["-c", script]), Path::new("/bin/sh"), timeout)?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn its_output_is_read_to_the_end_and_its_environment_is_empty() {
        assert_eq!(shell("echo \"[$LEAKED]\"; exec /bin/cat", LONG).unwrap(), "[]\n");
        let mut command = Command::new("/bin/sh");
        command.env("KEPT", "yes").args(["-c", "echo \"[$KEPT]\""]);
        assert_eq!(read_output_with_environment(&mut command, LONG).unwrap(), b"[yes]\n");
        let many = shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done", LONG).unwrap();
        assert_eq!(many.len(), 220_000);
    }

    #[test]
    fn a_process_that_it_leaves_behind_is_not_waited_for() {
        let pid = shell("/bin/sleep 600 & echo $!", LONG).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn a_failure_is_told_in_its_own_words() {
        let error = shell("echo 'no driver' >&2; exit 3", LONG).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh failed (exit status: 3): no driver");
        let Err(Error::Failed { says, .. }) = shell("while :; do echo xxxxxxxx >&2 || exit 1; done", LONG)
        else {
            panic!()
        };
        assert_eq!(says.len(), ERRORS_LIMIT);
        let error = read_output_with_environment(&mut Command::new("/nonexistent"), LONG).unwrap_err();
        assert_eq!(error.to_string(), "cannot run /nonexistent");
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("group");
        let script = format!("echo $$ > {}; /bin/sleep 600 & wait", file.display());
        let error = shell(&script, Duration::from_secs(2)).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh did not answer within 2 seconds; does `nvidia-smi` answer?");
        let group: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let group = Pid::from_raw(group).unwrap();
        // Killed, and collected when this process, or the machine's init, gets to it.
        let is_gone = || matches!(test_kill_process_group(group), Err(Errno::SRCH)) || is_dead(group);
        while !is_gone() {
            std::thread::yield_now();
        }
    }

    /// Whether all processes of the group are zombies.
    fn is_dead(group: Pid) -> bool {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.unwrap().path().join("stat")).ok()?;
            let fields: Vec<String> = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect();
            (fields[2] == group.as_raw_nonzero().to_string()).then(|| fields[0].clone())
        });
        processes.into_iter().all(|state| state == "Z" || state == "X")
    }

    #[test]
    fn one_that_never_stops_printing_is_stopped() {
        let error =
            shell("while :; do echo 0123456789012345678901234567890123456789; done", LONG).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh printed more than 1048576 bytes");
    }
}
