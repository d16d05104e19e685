//! `cargo bench podman_performance`: what a GPU adds to a container's start, beside doing nothing and beside the floor.
//!
//! Real podman in a lane of its own, with the simulated driver and GPU 0 of it. Rounds are interleaved: each has every
//! variant once for both runtimes and both users, in an order that turns with the round, so that what the machine does
//! beside hits all alike. The start is from before podman is started to the container's first instruction. The hook's
//! own wall time and memory come from further rounds in which a small program starts it and waits for it, so that the
//! wrapper is in no start time. `nvbind run` is measured up to the moment at which podman takes its place.

mod hooks;
mod measure;
mod programs;
mod sample;
mod shim;
mod steps;
mod summary;
mod table;

use crate::release;
use crate::test::payload;
pub use measure::inside;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_lanes::Lane;
use nvbind_lanes::cgroup::View;
use nvbind_lanes::spec::{Init, Spec, Suite};
use nvbind_lanes::tree;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use summary::Report;

/// Debian 12 and nothing but cgroup v2: the least noisy, with no systemd beside the containers.
const LANE: Lane = Lane {
    name: "performance",
    recipe: &tree::BOOKWORM,
    view: View::V2,
    init: Init::Plain,
    machine: None,
    suite: Suite::Containers,
    apps: None,
};

/// Where the numbers are left, below the project.
const REPORT: &str = "target/podman_performance.json";

/// The settings' place in a run's payload.
const SETTINGS: &str = "performance.json";

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Rounds of starts.
    pub rounds: usize,
    /// Rounds of the hooks alone.
    pub hook_rounds: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rounds: 40, hook_rounds: 15 }
    }
}

impl Settings {
    /// From the words after `cargo bench podman_performance --`: `--rounds N`. cargo's own words are passed over.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut settings = Self::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--rounds" => {
                    let rounds = words.next().and_then(|text| text.parse().ok()).filter(|rounds| *rounds > 0);
                    settings.rounds = rounds.ok_or_else(|| Error::failed("--rounds needs a number"))?;
                    settings.hook_rounds = settings.rounds.min(settings.hook_rounds);
                }
                "--bench" | "podman_performance" => {}
                other => return Err(Error::failed(format!("unknown word {other}; there is --rounds N"))),
            }
        }
        Ok(settings)
    }
}

/// Measures, prints a table, and leaves the same as JSON.
pub fn run(project: &Path, settings: Settings) -> Result<()> {
    release::build(project)?;
    let fill = |spec: &mut Spec| {
        payload::fill(project, spec)?;
        programs::build(project, &spec.payload())?;
        let text = serde_json::to_string(&settings).map_err(|error| Error::failed(error.to_string()))?;
        let path = spec.payload().join(SETTINGS);
        fs::write(&path, text).on("write", &path)
    };
    let mut samples = Vec::new();
    let mut broken = None;
    LANE.run(project, Vec::new(), &fill, &mut |line| match serde_json::from_str(line) {
        Ok(sample) => samples.push(sample),
        Err(error) => broken = Some(format!("unreadable sample {line}: {error}")),
    })?;
    if let Some(broken) = broken {
        return Err(Error::failed(broken));
    }
    let report = Report::new(settings, &samples, programs::sizes(project)?);
    table::print(&report);
    let path = project.join(REPORT);
    let text = serde_json::to_string_pretty(&report).map_err(|error| Error::failed(error.to_string()))?;
    fs::write(&path, text + "\n").on("write", &path)?;
    println!("\nas JSON: {REPORT}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_of_cargo_are_passed_over_and_rounds_are_taken() {
        let few = Settings::parse(&words(&["podman_performance", "--rounds", "3", "--bench"])).unwrap();
        assert_eq!(few, Settings { rounds: 3, hook_rounds: 3 });
        assert_eq!(Settings::parse(&words(&["--bench"])).unwrap(), Settings::default());
        for bad in [&["--rounds"][..], &["--rounds", "0"], &["--rounds", "x"], &["--round"]] {
            assert!(Settings::parse(&words(bad)).is_err(), "{bad:?}");
        }
    }
}
