//! Programs run with a hard time limit.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Duration;

/// `program`, killed after `limit`: by coreutils' `timeout`, which makes a process group, so that its children go too.
pub fn limited(limit: Duration, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(limit.as_secs().max(1).to_string()).arg(program);
    command.stdin(Stdio::null());
    command
}
