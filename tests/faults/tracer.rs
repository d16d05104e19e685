//! A process that is stopped at each of its system calls, one of which goes wrong.

use crate::calls::Call;
use crate::registers;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fmt;
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};

/// The last call.
const EXIT: &str = "exit_group";

/// What goes wrong with a call, instead of being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed.
    Kill,
    /// The process gets this for it.
    Fails(Errno),
    /// From it on no descriptor is to be had.
    Exhausted,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill => f.write_str("SIGKILL"),
            Fault::Fails(errno) => write!(f, "{errno:?}"),
            Fault::Exhausted => f.write_str("exhausted"),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(Signal),
}

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) end: End,
    /// Its stderr.
    pub(crate) says: String,
    /// The calls of one that was left alone, or those that went wrong.
    pub(crate) calls: Vec<Call>,
    /// What procfs has of one that was left alone when it is about to exit: its status and its limits.
    pub(crate) at_exit: String,
}

/// Whether this machine lets tests trace a process.
pub(crate) fn is_allowed() -> bool {
    let Ok(mut child) = spawn(&mut Command::new("true")) else { return false };
    child.kill().and_then(|()| child.wait()).is_ok()
}

/// Runs a command; with a fault at the call of this number, counted from 0. Only this thread can trace it.
pub(crate) fn run(command: &mut Command, stdin: &[u8], point: Option<(usize, Fault)>) -> Traced {
    // A file takes all that is written; a pipe would have to be read meanwhile.
    let mut stderr = tempfile::tempfile().unwrap();
    let mut child = spawn(command.stdin(Stdio::piped()).stderr(stderr.try_clone().unwrap())).unwrap();
    // Less than a pipe holds. Who ends early does not read it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let (mut calls, mut at_exit) = (Vec::new(), String::new());
    let end = follow(&mut child, point, &mut calls, &mut at_exit);
    let mut says = String::new();
    stderr.rewind().unwrap();
    stderr.read_to_string(&mut says).unwrap();
    Traced { end, says, calls, at_exit }
}

#[expect(
    unsafe_code,
    reason = "a process can only ask for itself to be traced from its first instruction on"
)]
fn spawn(command: &mut Command) -> io::Result<Child> {
    let trace_me = || Ok(ptrace::traceme()?);
    // SAFETY: between fork and exec it does this one system call, and allocates nothing.
    unsafe { command.pre_exec(trace_me) };
    command.spawn()
}

fn follow(
    child: &mut Child,
    point: Option<(usize, Fault)>,
    calls: &mut Vec<Call>,
    at_exit: &mut String,
) -> End {
    let process = Pid::from_raw(child.id().cast_signed());
    assert_eq!(waitpid(process, None), Ok(WaitStatus::Stopped(process, Signal::SIGTRAP)), "at exec");
    ptrace::setoptions(process, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).unwrap();
    let (mut count, mut is_entry, mut signal) = (0, false, None);
    loop {
        ptrace::syscall(process, signal.take()).unwrap();
        match waitpid(process, None).unwrap() {
            WaitStatus::PtraceSyscall(_) => is_entry = !is_entry,
            WaitStatus::Stopped(_, other) => {
                signal = Some(other);
                continue;
            }
            WaitStatus::Exited(_, code) => return End::Code(code),
            WaitStatus::Signaled(_, signal, _) => return End::Signal(signal),
            other @ (WaitStatus::PtraceEvent(..) | WaitStatus::Continued(_) | WaitStatus::StillAlive) => {
                panic!("{other:?}")
            }
        }
        if !is_entry {
            continue;
        }
        match point {
            None => {
                let call = Call::read(process);
                if call.name() == EXIT {
                    for file in ["status", "limits"] {
                        at_exit.push_str(&fs::read_to_string(format!("/proc/{process}/{file}")).unwrap());
                    }
                }
                calls.push(call);
            }
            Some((at, Fault::Exhausted)) if at <= count => {
                let call = Call::read(process);
                if call.makes_descriptor {
                    fail(process, Errno::EMFILE);
                    is_entry = false;
                    calls.push(call);
                }
            }
            Some((at, fault)) if at == count => {
                calls.push(Call::read(process));
                return finish(child, process, fault);
            }
            Some(_) => {}
        }
        count += 1;
    }
}

/// Does what goes wrong with the call that the process has stopped at, and waits for its end.
fn finish(child: &mut Child, process: Pid, fault: Fault) -> End {
    match fault {
        Fault::Kill => child.kill().unwrap(),
        Fault::Fails(errno) => {
            fail(process, errno);
            ptrace::detach(process, None).unwrap();
        }
        Fault::Exhausted => {}
    }
    let status = child.wait().unwrap();
    match status.code() {
        Some(code) => End::Code(code),
        None => End::Signal(Signal::try_from(status.signal().unwrap()).unwrap()),
    }
}

/// Lets the call that the process has stopped at fail; it has stopped at its exit then.
fn fail(process: Pid, errno: Errno) {
    registers::skip(process);
    ptrace::syscall(process, None).unwrap();
    assert_eq!(waitpid(process, None), Ok(WaitStatus::PtraceSyscall(process)), "at the exit");
    registers::fail(process, errno);
}
