//! Runs a program and turns its failure into one message.
use std::io;
use std::process::{Command, Output, Stdio};

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command line.
        command: String,
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`{command}` failed, {status}{}", said(stderr))]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to its standard error.
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    let text = stderr.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Runs `command` with its output going where ours goes.
pub fn run(command: &mut Command) -> Result<(), ProcessError> {
    let status = command.status().map_err(|source| ProcessError::Start { command: line(command), source })?;
    if status.success() {
        return Ok(());
    }
    Err(ProcessError::Failed { command: line(command), status, stderr: String::new() })
}

/// Runs `command` and returns what it wrote to its standard output.
pub fn read(command: &mut Command) -> Result<String, ProcessError> {
    let output = capture(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ProcessError::Failed {
        command: line(command),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `command` to its end, whatever its exit status, with its output caught.
pub fn capture(command: &mut Command) -> Result<Output, ProcessError> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ProcessError::Start { command: line(command), source })
}

/// The command line as a person would type it (without quoting).
pub fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_repeats_what_it_said() {
        let error = read(Command::new("sh").args(["-c", "echo no good >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo no good >&2; exit 3` failed, exit status: 3: no good");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = read(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `/nonexistent/program`");
    }
}
