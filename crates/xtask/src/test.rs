//! `cargo xtask test`: the lanes one after the other, what failed, what was skipped and why, and one last line.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::error::{Doing, Result};
use crate::lanes::{self, Lane};
use crate::release;
use crate::report::{self, Case, Outcome, Totals};

/// Cases that must not be skipped.
const REQUIRED: &str = "tests/e2e/required-cells.txt";

/// Runs the lanes of these names, or all, and only the cases whose name contains one of `only`; whether nothing failed.
pub fn test(project: &Path, names: &[String], only: &[String]) -> Result<bool> {
    let lanes = lanes::named(names)?;
    release::build(project)?;
    let mut all = Vec::new();
    for lane in &lanes {
        all.extend(run(lane, project, only));
    }
    if only.is_empty() {
        let path = project.join(REQUIRED);
        let list = fs::read_to_string(&path).on("read", &path)?;
        let names: Vec<&str> = lanes.iter().map(|lane| lane.name).collect();
        let missing = report::missing(&list, &names, &all);
        missing.iter().for_each(tell);
        all.extend(missing);
    }
    for line in report::skips(&all) {
        println!("{line}");
    }
    let totals = totals(&all);
    println!("{totals}");
    Ok(totals.failed == 0)
}

fn run(lane: &Lane, project: &Path, only: &[String]) -> Vec<Case> {
    println!("== {}", lane.name);
    let start = Instant::now();
    let mut cases = Vec::new();
    let ended = lane.run(project, only, &mut |case| {
        tell(&case);
        cases.push(case);
    });
    if let Err(error) = ended {
        let case = Case::new(format!("{}/lane", lane.name), Outcome::Failed, error.chain());
        tell(&case);
        cases.push(case);
    }
    println!("== {}: {} in {:.0} s", lane.name, totals(&cases), start.elapsed().as_secs_f64());
    cases
}

fn totals(cases: &[Case]) -> Totals {
    let mut totals = Totals::default();
    cases.iter().for_each(|case| totals.count(case.outcome));
    totals
}

/// Failures at once and in full; the rest in short.
fn tell(case: &Case) {
    match case.outcome {
        Outcome::Passed => println!("ok      {} ({:.1} s)", case.name, case.seconds),
        Outcome::Skipped => println!("skipped {}: {}", case.name, case.reason),
        Outcome::Failed => {
            println!("FAILED  {} ({:.1} s): {}", case.name, case.seconds, case.reason);
            case.output.lines().for_each(|line| println!("        {line}"));
        }
    }
}
