//! The OCI hook: a container's state on stdin, its GPUs in the container, a documented exit code.
//!
//! ```text
//! nvbind-hook prestart|createContainer [--cdi|--visible-devices] [--driver-root DIR] [--config FILE] < state.json
//! nvbind-hook gpu NAME
//! ```
//!
//! The second is a marker in config.json, by which a device of the CDI specification names a GPU for the first: it
//! reads the state and does nothing. Under the name `nvidia-container-runtime-hook` it serves Docker's `--gpus`.
//!
//! It runs as root with input that others control. So it is linked statically (no loader runs, whatever LD_PRELOAD
//! says), reads nothing of its environment, starts no program but the `nvbind` that it was installed with (see
//! `nvbind_core::nvml`) and nvidia-modprobe, and prints its one message itself.
#![forbid(unsafe_code)]

#[cfg(not(any(target_feature = "crt-static", test, doc, clippy, miri)))]
compile_error!("build nvbind-hook from inside the workspace: .cargo/config.toml links it statically");

mod ancestors;
mod arguments;
mod bundle;
mod harden;
mod hook;
mod record;
mod report;
mod source;

use nvbind_core::oci::{MARKER, STATE_LIMIT};
use nvbind_core::supervisor;
use std::io::{self, Read};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = supervisor::supervise(std::env::args_os().skip(1)) {
        return code;
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == MARKER) {
        // crun ends by SIGPIPE when a hook does not read the state that it writes.
        let _ = io::copy(&mut io::stdin().lock().take(STATE_LIMIT), &mut io::sink());
        return ExitCode::SUCCESS;
    }
    report::start();
    if let Err(error) = harden::harden() {
        return report::failure(&report::Subject::default(), &error);
    }
    match hook::run(std::env::args_os(), io::stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => report::failure(&refusal.subject, &*refusal.failure),
    }
}
