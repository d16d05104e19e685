//! Says from inside a container what of a GPU driver works there: which nodes open, which libraries load and from
//! where, whether the driver's files are read-only. It ends with 0 if that is what was expected.
//!
//! ```text
//! nvbind-probe [--table] [--view DIR] [--device PATH[=RESULT]]... [--library SONAME[=RESULT]]...
//!     [--socket PATH[=RESULT]]...
//! ```
//!
//! RESULT of a device is `ok` or an error's name (`EPERM`, `ENOENT`, …); without one, `ok` and `ENXIO` (allowed, but no
//! kernel module behind it) both count as expected. RESULT of a library is `view` (loads from the view; the default),
//! `ok` (loads) or `missing`; of a socket, what connecting gives, by default `ok`. Without `--device`, every
//! `/dev/nvidia*`, `/dev/nvidia-caps/*` and `/dev/dri/*` is tried; without `--library`, those that the variable
//! `NVBIND_PROBE_LIBRARIES` names, or every soname in the view, which is `/usr/local/nvidia` or `/run/nvbind`,
//! whichever has a `lib64`.
//!
//! Under another name, by a link, it stands in for a program of that name: it reports its arguments, and none means
//! anything to it. As a container's first process it then goes on until it is told to end, as a server does, if
//! `NVBIND_PROBE_STAYS` is set and all is as expected.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]
use nix::sys::signal::{SigSet, Signal};
use nvbind_fixtures::probe::{self, Question};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["load", soname] = words.as_slice() {
        return match probe::load(soname) {
            Ok(answer) => {
                println!("{answer}");
                ExitCode::SUCCESS
            }
            Err(message) => {
                println!("{message}");
                ExitCode::FAILURE
            }
        };
    }
    let is_itself = std::env::args_os().next().is_some_and(|name| Path::new(&name).ends_with("nvbind-probe"));
    match Question::parse(if is_itself { &words } else { &[] }) {
        Ok((question, table)) => {
            let few = std::env::var("NVBIND_PROBE_LIBRARIES").unwrap_or_default();
            let report = question.or_libraries(&few).ask();
            println!("{}", if table { report.table() } else { report.json() });
            if !report.unexpected.is_empty() {
                return ExitCode::FAILURE;
            }
            if !is_itself && std::process::id() == 1 && std::env::var_os("NVBIND_PROBE_STAYS").is_some() {
                stay();
            }
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("nvbind-probe: {message}");
            ExitCode::from(2)
        }
    }
}

/// Goes on until it is told to end. A signal that is blocked reaches a container's first process as well.
fn stay() {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    if signals.thread_block().is_ok() {
        let _ended = signals.wait();
    }
}
