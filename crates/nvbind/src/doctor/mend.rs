//! `nvbind doctor --fix`: the safe fixes are run, and all is checked again.

use super::{Machine, Report, Status, examine, fix, machine};
use crate::failure::printable;
use serde::Serialize;
use std::fmt::Write as _;

/// What was run, and what is found then.
#[derive(Debug, Serialize)]
pub(crate) struct Mended {
    fixes: Vec<Attempt>,
    #[serde(flatten)]
    report: Report,
}

/// A command that was run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    /// The checks that it is for.
    pub(super) checks: Vec<&'static str>,
    /// Its words.
    pub(super) command: Vec<String>,
    /// What went wrong; none where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Runs the safe fixes, each once, and checks again.
pub(crate) fn mend(machine: &Machine) -> Mended {
    let mut fixes: Vec<Attempt> = Vec::new();
    for (check, command) in examine(machine).safe_fixes() {
        match fixes.iter_mut().find(|attempt| attempt.command == *command) {
            Some(attempt) => attempt.checks.push(check),
            None => fixes.push(Attempt { checks: vec![check], command: command.to_vec(), error: None }),
        }
    }
    for attempt in &mut fixes {
        attempt.error = machine::run(&attempt.command).err();
    }
    Mended { report: examine(machine), fixes }
}

impl Mended {
    /// How many checks fail still.
    pub(crate) fn failed(&self) -> usize {
        self.report.count(Status::Fail)
    }

    /// A line for each command that was run, then the report.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Attempt { command, error, .. } in &self.fixes {
            let command = printable(&fix::text(command));
            // Into a String, which never fails.
            let _ = match error {
                None => writeln!(text, "ran     {command}"),
                Some(error) => writeln!(text, "ran     {command}\n        {}", printable(error)),
            };
        }
        if self.fixes.is_empty() {
            text.push_str("nothing to run: no fix is safe, or none is needed\n");
        }
        text.push('\n');
        text + &self.report.text()
    }
}

#[cfg(test)]
impl Mended {
    pub(super) fn parts(&self) -> (&[Attempt], &Report) {
        (&self.fixes, &self.report)
    }
}
