//! `cargo xtask test`: the unit tests, then the end-to-end cases in their lanes, two lanes at a time on two cores.

mod harness;
mod package_payload;
mod packages;
pub(crate) mod payload;
mod unit;
mod words;

use crate::release;
use harness::Harness;
use nvbind_e2e::cells::Extent;
use nvbind_fixtures::error::{Error, Result};
use nvbind_lanes::report::{self, Case, Outcome, Totals};
use nvbind_lanes::{ARCHITECTURE, tree};
use std::path::Path;
use std::time::Instant;
use words::Words;

/// Runs what the words after `test` ask for; whether nothing failed.
pub fn test(project: &Path, words: &[String]) -> Result<bool> {
    let words = Words::parse(words)?;
    let harness = Harness::new(&words);
    if words.harness.list {
        return Ok(harness.run(project, &words.harness).is_ok());
    }
    release::build(project)?;
    let mut cases = Vec::new();
    if words.has_unit {
        cases.extend(unit(project, words.unit));
    }
    cases.extend(harness.run(project, &words.harness)?);
    for line in report::skips(&cases) {
        println!("{line}");
    }
    let totals = Totals::of(&cases);
    println!("{totals}");
    Ok(totals.failed == 0)
}

/// Makes the trees of all lanes, those that are there left alone.
pub fn trees(project: &Path) -> Result<()> {
    let trees = project.join("target/lanes/trees");
    let failed = std::sync::Mutex::new(Vec::new());
    let can_emulate = std::env::consts::ARCH == ARCHITECTURE;
    let of_machines = [tree::MACHINE.name, tree::EMULATOR.name];
    let needed = tree::ALL.iter().filter(|recipe| can_emulate || !of_machines.contains(&recipe.name));
    let recipes = std::sync::Mutex::new(needed);
    std::thread::scope(|scope| {
        for _ in 0..harness::workers() {
            scope.spawn(|| {
                while let Some(recipe) = recipes.lock().ok().and_then(|mut recipes| recipes.next()) {
                    let start = Instant::now();
                    match tree::ready(recipe, &trees) {
                        Ok(_) => println!("{}: {} s", recipe.name, start.elapsed().as_secs()),
                        Err(error) => {
                            failed.lock().map(|mut failed| failed.push(error.chain())).unwrap_or_default()
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    if failed.is_empty() { Ok(()) } else { Err(Error::failed(failed.join("\n"))) }
}

/// The unit tests.
fn unit(project: &Path, extent: Extent) -> Vec<Case> {
    let start = Instant::now();
    let mut cases = Vec::new();
    let ended = unit::run(project, extent, &mut |case| {
        tell(&case);
        cases.push(case);
    });
    if let Err(error) = ended {
        let case = Case::new("unit/lane", Outcome::Failed, error.chain());
        tell(&case);
        cases.push(case);
    }
    println!("unit: {} in {} s", Totals::of(&cases), start.elapsed().as_secs());
    cases
}

/// Failures in full; the rest in short.
fn tell(case: &Case) {
    match case.outcome {
        Outcome::Passed => println!("test {} ... ok", case.name),
        Outcome::Skipped => println!("test {} ... ignored ({})", case.name, case.reason),
        Outcome::Failed => {
            println!("test {} ... FAILED: {}", case.name, case.reason);
            case.output.lines().for_each(|line| println!("        {line}"));
        }
    }
}
