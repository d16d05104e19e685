//! What all checks found, for people and for programs.

use super::{Check, Finding, Status};
use crate::messages::{BAD, GOOD, MINOR, NOTABLE};
use nvbind_core::message::printable;
use serde::Serialize;
use std::fmt::Write as _;

/// All findings, in the order of the checks.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    checks: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    id: &'static str,
    title: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

impl Report {
    pub(super) fn new(findings: impl Iterator<Item = (Check, Finding)>) -> Report {
        let entry = |(Check { id, title, .. }, finding)| Entry { id, title, finding };
        Report { checks: findings.map(entry).collect() }
    }

    /// How many checks have this status.
    pub(crate) fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|entry| entry.finding.status == status).count()
    }

    /// The fixes that `--fix` runs, and the checks that they are for.
    pub(super) fn safe_fixes(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.checks.iter().filter_map(|entry| Some((entry.id, entry.finding.fix.as_ref()?.to_run()?)))
    }

    /// A line for each check, and one below it for its fix; with colours.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let width = self.checks.iter().map(|entry| entry.id.len()).max().unwrap_or_default();
        for Entry { id, finding, .. } in &self.checks {
            let (style, status) = match finding.status {
                Status::Ok => (GOOD, "ok"),
                Status::Warn => (NOTABLE, "warn"),
                Status::Fail => (BAD, "FAIL"),
                Status::Skipped => (MINOR, "skipped"),
            };
            // Into a String, which never fails.
            let _ = writeln!(text, "{style}{status:<8}{style:#}{id:<width$}  {}", printable(&finding.detail));
            if let Some(fix) = &finding.fix {
                let _ = writeln!(text, "{:8}fix: {}", "", printable(&fix.text()));
            }
        }
        text
    }
}

#[cfg(test)]
impl Report {
    /// The ids of the checks with this status.
    pub(super) fn ids(&self, status: Status) -> Vec<&'static str> {
        self.checks.iter().filter(|entry| entry.finding.status == status).map(|entry| entry.id).collect()
    }

    pub(super) fn finding(&self, id: &str) -> &Finding {
        &self.checks.iter().find(|entry| entry.id == id).unwrap().finding
    }
}
