//! The lane of tests that need no privileges: `cargo test` of the workspace, counted from what libtest prints.

use nvbind_e2e::cells::Extent;
use nvbind_fixtures::error::{Doing, Result};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::report::{Case, Outcome};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// By which `tests/faults` knows that it is to try everything.
const FULL: &str = "NVBIND_TEST_FULL";

/// Runs the tests of the workspace.
pub(super) fn run(project: &Path, extent: Extent, each: &mut dyn FnMut(Case)) -> Result<()> {
    let limit = match extent {
        Extent::Needed => 2400,
        Extent::Full => 4 * 3600,
    };
    let mut command = limited(Duration::from_secs(limit), "cargo");
    command.args(["test", "--workspace", "--no-fail-fast", "--color=never"]).current_dir(project);
    if extent == Extent::Full {
        command.env(FULL, "1");
    }
    // Both streams into one: the name of a test program is on the other stream than its results.
    let mut child = command.stdout(Stdio::piped()).spawn().doing(|| "run cargo test".into())?;
    let (mut text, mut skipped) = (Vec::new(), BTreeSet::new());
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.doing(|| "read what cargo test prints".into())?;
            // A test that skips itself says so, and then passes.
            if let Some(case) = case(&line).filter(|case| !skipped.remove(&case.name)) {
                if line.contains(SKIPPED) {
                    skipped.insert(case.name.clone());
                }
                each(case);
            }
            text.push(line);
        }
    }
    let status = child.wait().doing(|| "wait for cargo test".into())?;
    if !status.success() {
        let mut case = Case::new("unit/cargo-test", Outcome::Failed, format!("cargo test failed ({status})"));
        case.output = failures(&text).join("\n");
        each(case);
    }
    Ok(())
}

/// What a test says that cannot run on this machine, before its reason.
const SKIPPED: &str = "SKIPPED: ";

/// The case of a line `test NAME ... OUTCOME`; nothing for any other line.
fn case(line: &str) -> Option<Case> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = format!("unit/{}", name.trim_end().trim_end_matches(" - should panic"));
    let ignored = outcome
        .strip_prefix("ignored")
        .or_else(|| outcome.strip_prefix(SKIPPED))
        .map(|why| why.trim_start_matches([',', ' ']));
    match (outcome, ignored) {
        ("ok", _) => Some(Case::new(name, Outcome::Passed, "")),
        ("FAILED", _) => Some(Case::new(name, Outcome::Failed, "see the output of cargo test")),
        (_, Some("")) => Some(Case::new(name, Outcome::Skipped, "marked as ignored")),
        (_, Some(why)) => Some(Case::new(name, Outcome::Skipped, why)),
        (_, None) => None,
    }
}

/// The part of the output that tells about failures: from each "failures:" to its result line.
fn failures(lines: &[String]) -> Vec<&str> {
    let mut told = Vec::new();
    let mut inside = false;
    for line in lines {
        inside = (inside || line == "failures:") && !line.starts_with("test result:");
        if inside {
            told.push(line.as_str());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_lines_become_cases() {
        let lines = [
            "running 3 tests",
            "test a::b ... ok",
            "test src/lib.rs - c (line 3) ... FAILED",
            "test d ... ignored, needs a GPU",
            "test e - should panic ... ok",
            "test f ... SKIPPED: there is no ldconfig",
            "test result: ok. 1 passed; 0 failed",
        ];
        let cases: Vec<(String, Outcome, String)> = lines
            .iter()
            .filter_map(|line| case(line))
            .map(|case| (case.name, case.outcome, case.reason))
            .collect();
        let of = |name: &str, outcome, reason: &str| (name.to_owned(), outcome, reason.to_owned());
        assert_eq!(
            cases,
            [
                of("unit/a::b", Outcome::Passed, ""),
                of("unit/src/lib.rs - c (line 3)", Outcome::Failed, "see the output of cargo test"),
                of("unit/d", Outcome::Skipped, "needs a GPU"),
                of("unit/e", Outcome::Passed, ""),
                of("unit/f", Outcome::Skipped, "there is no ldconfig"),
            ]
        );
    }

    #[test]
    fn only_the_failures_are_shown() {
        let lines: Vec<String> =
            ["test a ... ok", "failures:", "---- b", "panicked", "test result: FAILED.", "test c ... ok"]
                .map(String::from)
                .into();
        assert_eq!(failures(&lines), ["failures:", "---- b", "panicked"]);
    }
}
