//! `nvbind doctor --fix`: the safe fixes are run, and all is checked again.

use super::{Machine, Report, Status, examine, fix, subject};
use nvbind_core::message::printable;
use serde::Serialize;
use std::fmt::Write as _;

/// What was run, and what is found then.
#[derive(Debug, Serialize)]
pub(crate) struct Fixed {
    fixes: Vec<Attempt>,
    #[serde(flatten)]
    report: Report,
}

/// A command that was run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    /// The check that it is for.
    pub(super) id: &'static str,
    pub(super) command: Vec<String>,
    /// What went wrong; none where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Runs the safe fixes, and checks again after each: a later check may have been skipped for want of the earlier. None is
/// run twice.
pub(crate) fn run_fixes(machine: &Machine) -> Fixed {
    let mut fixes: Vec<Attempt> = Vec::new();
    loop {
        let report = examine(machine);
        let is_new = |command: &[String]| fixes.iter().all(|attempt| attempt.command != command);
        let Some((id, command)) = report.safe_fixes().find(|(_, command)| is_new(command)) else {
            return Fixed { fixes, report };
        };
        let command = command.to_vec();
        fixes.push(Attempt { id, error: subject::run(&command).err(), command });
    }
}

impl Fixed {
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
impl Fixed {
    pub(super) fn parts(&self) -> (&[Attempt], &Report) {
        (&self.fixes, &self.report)
    }
}
