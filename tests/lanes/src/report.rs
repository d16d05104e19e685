//! What became of each case: one JSON line each, counted and printed in one place.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All its claims held.
    Passed,
    /// A claim did not hold, or the case could not be judged.
    Failed,
    /// It cannot run here, for a reason that has nothing to do with nvbind.
    Skipped,
}

/// One case of one lane, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Its full name, lane first.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was skipped or what failed; empty when it passed.
    #[serde(default)]
    pub reason: String,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// What the programs printed, for a failure.
    #[serde(default)]
    pub output: String,
}

impl Case {
    /// A case that ended in `outcome`.
    pub fn new(name: impl Into<String>, outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { name: name.into(), outcome, reason: reason.into(), seconds: 0.0, output: String::new() }
    }

    /// A line of a results file; a line that is no case is itself a failed case, as it may hide one.
    pub fn parse(line: &str, lane: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|error| {
            let mut case =
                Self::new(format!("{lane}/results"), Outcome::Failed, format!("unreadable result: {error}"));
            case.output = line.to_owned();
            case
        })
    }
}

/// How many cases ended in which way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Cases that passed.
    pub passed: u64,
    /// Cases that failed.
    pub failed: u64,
    /// Cases that were skipped.
    pub skipped: u64,
}

impl Totals {
    /// Counts all of them.
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut totals = Self::default();
        cases.into_iter().for_each(|case| totals.count(case.outcome));
        totals
    }

    /// Counts one case.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The skipped cases' names under each reason, as lines to print.
pub fn skips(cases: &[Case]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.outcome == Outcome::Skipped) {
        by_reason.entry(&case.reason).or_default().push(&case.name);
    }
    let mut lines = Vec::new();
    for (reason, names) in by_reason {
        lines.push(format!("skipped: {reason}"));
        lines.extend(names.into_iter().map(|name| format!("  {name}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_without_output_is_a_case() {
        let line = r#"{"name":"unit/a","outcome":"skipped","reason":"no such kernel"}"#;
        assert_eq!(Case::parse(line, "unit"), Case::new("unit/a", Outcome::Skipped, "no such kernel"));
    }

    #[test]
    fn a_line_that_is_no_result_is_a_failure_of_its_lane() {
        let case = Case::parse("{\"name\":", "trixie-v2");
        assert_eq!((case.name.as_str(), case.outcome), ("trixie-v2/results", Outcome::Failed));
    }

    #[test]
    fn the_last_line_counts_each_outcome() {
        let mut totals = Totals::default();
        for outcome in [Outcome::Passed, Outcome::Passed, Outcome::Skipped] {
            totals.count(outcome);
        }
        assert_eq!(totals.to_string(), "2 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn skips_are_named_under_their_reason() {
        let skipped = |name: &str, reason: &str| Case::new(name, Outcome::Skipped, reason);
        let cases = [
            skipped("a/2", "y"),
            Case::new("a/3", Outcome::Passed, ""),
            skipped("a/1", "x"),
            skipped("b/1", "y"),
        ];
        assert_eq!(skips(&cases), ["skipped: x", "  a/1", "skipped: y", "  a/2", "  b/1"]);
    }
}
