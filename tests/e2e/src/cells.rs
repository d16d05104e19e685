//! Which case runs where: a cell is a case with a lane, a user and a runtime.
//!
//! Each case runs once for each combination of what it depends on. Of the places that have the combination, the one is
//! taken whose lane has the least to do so far, so that lanes take about equally long.

use crate::case::{Case, Place};
use crate::containers::matrix;
use crate::podman::{Podman, Runtime, User};
use crate::{CONTAINERS, machine, packages};
use nvbind_lanes::spec::Suite;
use nvbind_lanes::{LANES, Lane as Definition, MACHINES};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A case in its place.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The full name, lane first.
    pub name: String,
    /// The lane's name.
    pub lane: &'static str,
    pub(crate) case: Case,
    pub(crate) place: Place,
}

impl Cell {
    fn new(case: &Case, place: Place) -> Self {
        let lane = place.lane.name;
        let name = match place.lane.suite {
            // No container runs there.
            Suite::Formats => format!("{lane}/{}", case.name),
            Suite::Containers | Suite::Machine(_) | Suite::Installation => {
                format!("{lane}/{}/{}", place.podman.name(), case.name)
            }
        };
        Self { name, lane, case: *case, place }
    }

    /// About how long it takes.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.case.seconds
    }

    /// Whether the case may be skipped there for this reason.
    #[must_use]
    pub fn may_be_skipped(&self, reason: &str) -> bool {
        self.case.declares(self.place, reason)
    }
}

/// How much runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Each case once for each combination of what it depends on.
    Needed,
    /// Each case wherever it can be.
    Full,
}

/// The cells of all lanes in namespaces and of all virtual machines.
#[must_use]
pub fn cells(extent: Extent) -> Vec<Cell> {
    let mut cells = Vec::new();
    for suite in [Suite::Containers, Suite::Installation, Suite::Formats] {
        let lanes: Vec<&Definition> = LANES.iter().filter(|lane| lane.suite == suite).collect();
        cells.extend(assigned(&cases(suite), &places(&lanes, suite), extent));
    }
    for lane in MACHINES {
        let Suite::Machine(security) = lane.suite else { continue };
        for (podmans, cases) in machine::cases(security) {
            for place in places(&[lane], lane.suite) {
                if podmans.contains(&place.podman.name().as_str()) {
                    let cases = cases.iter().filter(|case| case.can_be_at(place));
                    cells.extend(cases.map(|case| Cell::new(case, place)));
                }
            }
        }
    }
    cells
}

/// The cases of a suite in which each can be anywhere that it does not exclude.
fn cases(suite: Suite) -> Vec<&'static Case> {
    let lists: &[&[Case]] = match suite {
        Suite::Containers => CONTAINERS,
        Suite::Installation => packages::INSTALLATION,
        Suite::Formats => &[packages::formats::CASES],
        Suite::Machine(_) => &[],
    };
    lists.iter().flat_map(|list| list.iter()).collect()
}

/// Every user with every runtime in every lane; one of them where no container runs.
fn places(lanes: &[&'static Definition], suite: Suite) -> Vec<Place> {
    let all = |lane: &'static Definition| matrix::podmans().map(move |podman| Place { lane, podman });
    match suite {
        Suite::Formats => {
            let podman = Podman::new(User::Root, Runtime::Crun);
            lanes.iter().map(|lane| Place { lane, podman }).collect()
        }
        Suite::Containers | Suite::Machine(_) | Suite::Installation => {
            lanes.iter().copied().flat_map(all).collect()
        }
    }
}

/// The cells of these cases, in the order in which a lane runs them.
fn assigned(cases: &[&Case], places: &[Place], extent: Extent) -> Vec<Cell> {
    let chosen = match extent {
        Extent::Full => {
            (0..cases.len()).flat_map(|case| (0..places.len()).map(move |at| (case, at))).collect()
        }
        Extent::Needed => needed(cases, places),
    };
    let mut cells = Vec::new();
    for (at, place) in places.iter().enumerate() {
        for (number, case) in cases.iter().enumerate() {
            if chosen.contains(&(number, at)) && case.can_be_at(*place) {
                cells.push(Cell::new(case, *place));
            }
        }
    }
    cells
}

/// For each case and each combination of what it depends on one place: pairs of numbers in the two lists.
fn needed(cases: &[&Case], places: &[Place]) -> BTreeSet<(usize, usize)> {
    let mut to_place = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut by_combination: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for (at, place) in places.iter().enumerate().filter(|(_, place)| case.can_be_at(**place)) {
            by_combination.entry(case.combination(*place)).or_default().push(at);
        }
        to_place.extend(by_combination.into_values().map(|candidates| (number, *case, candidates)));
    }
    // Those without a choice first, and then the longest: what is short evens out.
    to_place.sort_by_key(|(number, case, candidates)| {
        let lanes: BTreeSet<&str> =
            candidates.iter().filter_map(|at| Some(places.get(*at)?.lane.name)).collect();
        (lanes.len() > 1, Reverse(case.seconds), *number)
    });
    let mut seconds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut uses: BTreeMap<String, u32> = BTreeMap::new();
    let mut chosen = BTreeSet::new();
    for (number, case, candidates) in to_place {
        let best =
            candidates.into_iter().filter_map(|at| Some((at, *places.get(at)?))).min_by_key(|(at, place)| {
                let load = seconds.get(place.lane.name).copied().unwrap_or_default();
                let use_of = uses.get(&place.podman.name()).copied().unwrap_or_default();
                // A case that is skipped shows nothing.
                (case.may_be_skipped_at(*place), !case.is_sampled_at(*place), load, use_of, *at)
            });
        if let Some((at, place)) = best {
            *seconds.entry(place.lane.name).or_default() += case.seconds;
            *uses.entry(place.podman.name()).or_default() += 1;
            chosen.insert((number, at));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITES: [Suite; 3] = [Suite::Containers, Suite::Installation, Suite::Formats];

    fn places_of(suite: Suite) -> Vec<Place> {
        let lanes: Vec<&Definition> = LANES.iter().filter(|lane| lane.suite == suite).collect();
        places(&lanes, suite)
    }

    #[test]
    fn every_case_runs_once_for_each_combination_of_what_it_depends_on() {
        let cells = cells(Extent::Needed);
        for (suite, case) in
            SUITES.into_iter().flat_map(|suite| cases(suite).into_iter().map(move |case| (suite, case)))
        {
            let possible: BTreeSet<Vec<bool>> = places_of(suite)
                .into_iter()
                .filter(|place| case.can_be_at(*place))
                .map(|place| case.combination(place))
                .collect();
            let assigned: Vec<Vec<bool>> = cells
                .iter()
                .filter(|cell| cell.case.name == case.name && cell.place.lane.suite == suite)
                .map(|cell| case.combination(cell.place))
                .collect();
            assert!(!possible.is_empty(), "{} can be nowhere", case.name);
            assert_eq!(assigned.len(), possible.len(), "{}", case.name);
            assert_eq!(assigned.into_iter().collect::<BTreeSet<_>>(), possible, "{}", case.name);
        }
    }

    #[test]
    fn no_two_cells_have_one_name() {
        for extent in [Extent::Needed, Extent::Full] {
            let cells = cells(extent);
            let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
            assert_eq!(names.len(), cells.len(), "{extent:?}");
        }
    }

    #[test]
    fn a_full_run_has_every_place_of_every_case_and_so_all_that_a_shorter_run_has() {
        let full: BTreeSet<String> = cells(Extent::Full).into_iter().map(|cell| cell.name).collect();
        for suite in SUITES {
            for case in cases(suite) {
                for place in places_of(suite).into_iter().filter(|place| case.can_be_at(*place)) {
                    assert!(full.contains(&Cell::new(case, place).name), "{} at {place:?}", case.name);
                }
            }
        }
        assert!(cells(Extent::Needed).iter().all(|cell| full.contains(&cell.name)));
    }

    #[test]
    fn no_lane_is_waited_for_while_the_others_are_done() {
        let mut seconds: BTreeMap<&str, u32> = BTreeMap::new();
        for cell in cells(Extent::Needed).iter().filter(|cell| cell.place.lane.suite == Suite::Containers) {
            *seconds.entry(cell.lane).or_default() += cell.case.seconds;
        }
        // Two run at a time.
        let (most, all) = (*seconds.values().max().unwrap(), seconds.values().sum::<u32>());
        assert!(2 * most <= all, "{seconds:?}");
    }

    #[test]
    fn a_skip_is_declared_for_its_place_and_reason() {
        let of = |name: &str| cells(Extent::Full).into_iter().find(|cell| cell.name == name).unwrap();
        let refused = "Error: keep-id is only supported in rootless mode";
        assert!(of("bookworm-v1/crun/rootful/keep-id/plain").may_be_skipped(refused));
        assert!(!of("bookworm-v1/crun/rootful/keep-id/plain").may_be_skipped("no space left"));
        assert!(!of("trixie-v1/crun/rootful/keep-id/plain").may_be_skipped(refused));
        assert!(!of("bookworm-v1/crun/rootful/default/plain").may_be_skipped(refused));
    }
}
