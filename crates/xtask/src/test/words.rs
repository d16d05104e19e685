//! What `cargo xtask test` is asked for.

use libtest_mimic::Arguments;
use nvbind_e2e::cells::Extent;
use nvbind_fixtures::error::{Error, Result};
use nvbind_lanes::{LANES, Lane, MACHINES};

/// The lane of `cargo test`.
const UNIT: &str = "unit";

/// The words, understood.
#[derive(Debug)]
pub(super) struct Words {
    /// Whether the unit tests run.
    pub(super) has_unit: bool,
    /// How much each of them tries.
    pub(super) unit: Extent,
    /// The other lanes.
    pub(super) lanes: Vec<Lane>,
    /// Only cells whose name contains one of these; all, if there are none.
    pub(super) only: Vec<String>,
    /// How many of the cells run.
    pub(super) extent: Extent,
    /// What the harness is told.
    pub(super) harness: Arguments,
}

impl Words {
    /// `[LANE…] [--vm] [--all] [--full] [--only TEXT…] [-- HARNESS…]`.
    pub(super) fn parse(words: &[String]) -> Result<Self> {
        let mut parts = words.splitn(2, |word| word == "--");
        let (ours, theirs) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut parts = ours.splitn(2, |word| word == "--only");
        let (names, only) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let harness = Arguments::from_iter(
            ["cargo xtask test --"].into_iter().map(str::to_owned).chain(theirs.iter().cloned()),
        );
        let mut words = Self {
            has_unit: false,
            unit: Extent::Needed,
            lanes: Vec::new(),
            only: only.to_vec(),
            // Who names cases wants them wherever they can be.
            extent: if only.is_empty() { Extent::Needed } else { Extent::Full },
            harness,
        };
        for name in names {
            match name.as_str() {
                "--full" => (words.unit, words.extent) = (Extent::Full, Extent::Full),
                "--vm" => words.lanes.extend_from_slice(MACHINES),
                "--all" => words.all(true),
                UNIT => words.has_unit = true,
                name => words.lanes.push(named(name)?),
            }
        }
        if !words.has_unit && words.lanes.is_empty() {
            words.all(false);
        }
        Ok(words)
    }

    fn all(&mut self, with_machines: bool) {
        self.has_unit = true;
        let machines = MACHINES.iter().filter(|_| with_machines);
        self.lanes.extend(LANES.iter().chain(machines));
    }
}

fn named(name: &str) -> Result<Lane> {
    let all = || LANES.iter().chain(MACHINES);
    all().find(|lane| lane.name == name).copied().ok_or_else(|| {
        let known: Vec<&str> = [UNIT].into_iter().chain(all().map(|lane| lane.name)).collect();
        Error::failed(format!("no lane {name}; there are: {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Words> {
        Words::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn lanes(words: &Words) -> Vec<&str> {
        words.lanes.iter().map(|lane| lane.name).collect()
    }

    #[test]
    fn lanes_come_before_only_and_texts_after_it() {
        let words = parse(&["bookworm-v1", "--only", "crun", "runc"]).unwrap();
        assert_eq!(lanes(&words), ["bookworm-v1"]);
        assert_eq!(
            (words.only, words.extent, words.unit, words.has_unit),
            (vec!["crun".into(), "runc".into()], Extent::Full, Extent::Needed, false)
        );
    }

    #[test]
    fn what_follows_two_dashes_is_the_harnesss() {
        let words = parse(&["--only", "crun", "--", "--list", "exec"]).unwrap();
        assert_eq!(words.only, ["crun"]);
        assert!(words.harness.list);
        assert_eq!(words.harness.filter.as_deref(), Some("exec"));
    }

    #[test]
    fn virtual_machines_run_only_when_they_are_asked_for() {
        let all = parse(&["--full"]).unwrap();
        assert_eq!((all.unit, all.extent), (Extent::Full, Extent::Full));
        assert!(all.has_unit && !lanes(&all).iter().any(|name| name.starts_with("vm-")), "{all:?}");
        let machines = parse(&["--vm"]).unwrap();
        assert_eq!((lanes(&machines), machines.has_unit), (vec!["vm-apparmor", "vm-selinux"], false));
        let everything = parse(&["--all"]).unwrap();
        assert_eq!(everything.lanes.len(), LANES.len() + MACHINES.len());
    }

    #[test]
    fn a_lane_that_does_not_exist_is_refused_with_those_that_do() {
        let error = parse(&["vm-tomoyo"]).unwrap_err().to_string();
        assert!(error.starts_with("no lane vm-tomoyo; there are: unit, bookworm-v1, "), "{error}");
        assert!(error.ends_with("vm-apparmor, vm-selinux"), "{error}");
    }
}
