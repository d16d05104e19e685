//! The cells as tests of a harness: each waits until its lane reports it. Lanes run side by side, those that take
//! longest first.

use super::words::Words;
use super::{packages, payload};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nvbind_e2e::cells::{Cell, cells};
use nvbind_fixtures::error::Result;
use nvbind_lanes::Lane;
use nvbind_lanes::report::{Case, Outcome, Totals};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Instant;

/// The lane with the case that runs on the host.
const PACKAGES: &str = "packages";

/// More lanes at once only wait for each other's containers.
const MOST_WORKERS: usize = 4;

/// About how long a lane takes beside its cells, and a virtual machine, where everything takes longer.
const LANE_SECONDS: u32 = 15;
const MACHINE_SECONDS: u32 = 250;

/// How many of the cells that took longest are told.
const SLOWEST: usize = 20;

/// What has to run.
#[derive(Debug)]
pub(super) struct Harness {
    lanes: Vec<Lane>,
    tests: Vec<Test>,
}

/// One cell, or the case that runs on the host.
#[derive(Debug, Clone)]
struct Test {
    name: String,
    lane: &'static str,
    cell: Option<Cell>,
}

/// How many lanes run at once: each leaves most of a core idle.
pub(super) fn workers() -> usize {
    available_parallelism().map_or(1, usize::from).min(MOST_WORKERS)
}

impl Harness {
    /// What these words ask for.
    pub(super) fn new(words: &Words) -> Self {
        let lanes: BTreeSet<&str> = words.lanes.iter().map(|lane| lane.name).collect();
        let of_host = Test { name: packages::SAME_BYTES.to_owned(), lane: PACKAGES, cell: None };
        let cells = cells(words.extent).into_iter();
        let tests = cells.map(|cell| Test { name: cell.name.clone(), lane: cell.lane, cell: Some(cell) });
        let is_wanted = |test: &Test| {
            lanes.contains(test.lane)
                && (words.only.is_empty() || words.only.iter().any(|text| test.name.contains(text)))
                && !words.harness.is_filtered_out(&Trial::test(&test.name, || Ok(())))
        };
        Self {
            lanes: words.lanes.clone(),
            tests: [of_host].into_iter().chain(tests).filter(is_wanted).collect(),
        }
    }

    /// Runs all of it, or lists it.
    pub(super) fn run(self, project: &Path, arguments: &Arguments) -> Result<Vec<Case>> {
        let board = Arc::new(Board::default());
        let trials =
            |tests: &[Test]| -> Vec<Trial> { tests.iter().map(|test| trial(test, &board)).collect() };
        if arguments.list {
            let _nothing_ran = libtest_mimic::run(arguments, trials(&self.tests));
            return Ok(Vec::new());
        }
        if self.tests.is_empty() {
            return Ok(Vec::new());
        }
        // A thread for each, since each waits for its lane, and they end in no order that is known before.
        let arguments = Arguments { test_threads: Some(self.tests.len()), ..arguments.clone() };
        let times = thread::scope(|scope| {
            let lanes = scope.spawn(|| run_lanes(project, &self.lanes, &self.tests, &board));
            let _conclusion = libtest_mimic::run(&arguments, trials(&self.tests));
            lanes.join().unwrap_or_default()
        });
        let cases: Vec<Case> = self.tests.iter().map(|test| test.judged(&board)).collect();
        summarize(&cases, &times);
        Ok(cases)
    }
}

/// The lanes' times, and the cells that took longest.
fn summarize(cases: &[Case], times: &[(&'static str, u64)]) {
    let mut slowest: Vec<&Case> = cases.iter().collect();
    slowest.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    for case in slowest.iter().take(SLOWEST) {
        println!("{:6.1} s {}", case.seconds, case.name);
    }
    for (lane, seconds) in times {
        let prefix = format!("{lane}/");
        let of_lane: Vec<&Case> = cases.iter().filter(|case| case.name.starts_with(&prefix)).collect();
        println!("{lane}: {} in {seconds} s", Totals::of(of_lane));
    }
}

fn trial(test: &Test, board: &Arc<Board>) -> Trial {
    let (test, board) = (test.clone(), Arc::clone(board));
    Trial::ignorable_test(test.name.clone(), move || {
        board.wait(&test);
        let case = test.judged(&board);
        match case.outcome {
            Outcome::Passed => Ok(Completion::Completed),
            Outcome::Skipped => Ok(Completion::ignored_with(case.reason)),
            Outcome::Failed => Err(Failed::from(format!("{}\n{}", case.reason, case.output))),
        }
    })
}

impl Test {
    /// How it ended: a cell that did not report, or that was skipped for a reason that its case does not declare,
    /// failed.
    fn judged(&self, board: &Board) -> Case {
        let state = board.state();
        let Some(case) = state.cases.get(&self.name) else {
            let reason = state.closed.get(self.lane).cloned().unwrap_or_default();
            return Case::new(&self.name, Outcome::Failed, format!("it did not report {reason}"));
        };
        let declared = self.cell.as_ref().is_some_and(|cell| cell.may_be_skipped(&case.reason));
        if case.outcome != Outcome::Skipped || declared {
            return case.clone();
        }
        let reason = format!("it was skipped, and its case does not declare that: {}", case.reason);
        Case { reason, outcome: Outcome::Failed, ..case.clone() }
    }
}

/// Where lanes leave what cells came to.
#[derive(Debug, Default)]
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cases: BTreeMap<String, Case>,
    /// The lanes that ended, and why, where that was early.
    closed: BTreeMap<&'static str, String>,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, case: Case) {
        self.state().cases.insert(case.name.clone(), case);
        self.changed.notify_all();
    }

    fn close(&self, lane: &'static str, reason: String) {
        self.state().closed.insert(lane, reason);
        self.changed.notify_all();
    }

    /// Waits until it has ended, or its lane has.
    fn wait(&self, test: &Test) {
        let is_open = |state: &mut State| {
            !state.cases.contains_key(&test.name) && !state.closed.contains_key(test.lane)
        };
        drop(self.changed.wait_while(self.state(), is_open));
    }
}

/// Runs the lanes that have something to do, and tells how long each took.
fn run_lanes(project: &Path, lanes: &[Lane], tests: &[Test], board: &Board) -> Vec<(&'static str, u64)> {
    let mut waiting: Vec<(&Lane, Vec<&Test>)> = lanes
        .iter()
        .map(|lane| (lane, tests.iter().filter(|test| test.lane == lane.name).collect::<Vec<_>>()))
        .filter(|(_, tests)| !tests.is_empty())
        .collect();
    waiting.sort_by_key(|(lane, tests)| Reverse(seconds(lane, tests)));
    let queue = Mutex::new(Queue { waiting, machines: 0 });
    let queue = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let times = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers() {
            scope.spawn(|| {
                while let Some((lane, tests)) = { queue().take() } {
                    let start = Instant::now();
                    let ended = run_lane(project, lane, &tests, board);
                    let reason = ended.err().map(|error| format!("({})", error.chain())).unwrap_or_default();
                    times
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((lane.name, start.elapsed().as_secs()));
                    queue().end(lane);
                    board.close(lane.name, reason);
                }
            });
        }
    });
    times.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The lanes that have not started, those that take longest first.
struct Queue<'a> {
    waiting: Vec<(&'a Lane, Vec<&'a Test>)>,
    /// How many virtual machines run.
    machines: usize,
}

impl<'a> Queue<'a> {
    /// The next one: no second virtual machine while there is anything else, as one takes what the other lane leaves.
    fn take(&mut self) -> Option<(&'a Lane, Vec<&'a Test>)> {
        let is_next = |(lane, _): &(&Lane, Vec<&Test>)| self.machines == 0 || lane.machine.is_none();
        let next = self.waiting.iter().position(is_next).unwrap_or_default();
        if self.waiting.is_empty() {
            return None;
        }
        let (lane, tests) = self.waiting.remove(next);
        self.machines += usize::from(lane.machine.is_some());
        Some((lane, tests))
    }

    fn end(&mut self, lane: &Lane) {
        self.machines -= usize::from(lane.machine.is_some());
    }
}

/// About how long a lane takes.
fn seconds(lane: &Lane, tests: &[&Test]) -> u32 {
    let start = if lane.machine.is_some() { MACHINE_SECONDS } else { LANE_SECONDS };
    start + tests.iter().map(|test| test.cell.as_ref().map_or(packages::SECONDS, Cell::seconds)).sum::<u32>()
}

fn run_lane(project: &Path, lane: &Lane, tests: &[&Test], board: &Board) -> Result<()> {
    if tests.iter().any(|test| test.cell.is_none()) {
        board.put(packages::case(project));
    }
    let cells: Vec<String> =
        tests.iter().filter_map(|test| test.cell.as_ref()).map(|cell| cell.name.clone()).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let fill = |spec: &mut _| payload::fill_lane(project, lane, spec);
    lane.run(project, cells, &fill, &mut |line| board.put(Case::parse(line, lane.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_e2e::cells::Extent;
    use nvbind_lanes::{LANES, MACHINES};

    /// One that may be skipped where Podman is old and the user root.
    fn keep_id() -> Test {
        let name = "bookworm-v1/crun/rootful/keep-id/plain";
        let cell = cells(Extent::Full).into_iter().find(|cell| cell.name == name).unwrap();
        Test { name: name.to_owned(), lane: cell.lane, cell: Some(cell) }
    }

    fn judged(outcome: Outcome, reason: &str) -> Case {
        let board = Board::default();
        let test = keep_id();
        board.put(Case::new(&test.name, outcome, reason));
        test.judged(&board)
    }

    #[test]
    fn a_skip_for_a_declared_reason_is_one_and_any_other_is_a_failure() {
        let declared = "Error: keep-id is only supported in rootless mode";
        assert_eq!(judged(Outcome::Skipped, declared).outcome, Outcome::Skipped);
        let case = judged(Outcome::Skipped, "no idea");
        assert_eq!(case.outcome, Outcome::Failed);
        assert_eq!(case.reason, "it was skipped, and its case does not declare that: no idea");
        assert_eq!(judged(Outcome::Passed, "").outcome, Outcome::Passed);
    }

    #[test]
    fn a_cell_that_does_not_report_fails_with_the_reason_of_its_lane() {
        let (board, test) = (Board::default(), keep_id());
        board.close(test.lane, "(the lane was interrupted)".to_owned());
        board.wait(&test);
        let case = test.judged(&board);
        assert_eq!(
            (case.outcome, case.reason.as_str()),
            (Outcome::Failed, "it did not report (the lane was interrupted)")
        );
    }

    #[test]
    fn a_second_virtual_machine_waits_while_there_is_another_lane() {
        let lane = |name: &str| LANES.iter().chain(MACHINES).find(|lane| lane.name == name).unwrap();
        let waiting = ["vm-apparmor", "vm-selinux", "trixie-v1"].map(|name| (lane(name), Vec::new())).into();
        let mut queue = Queue { waiting, machines: 0 };
        let mut next = || queue.take().map(|(lane, _)| lane.name);
        assert_eq!(
            [next(), next(), next(), next()],
            [Some("vm-apparmor"), Some("trixie-v1"), Some("vm-selinux"), None]
        );
    }
}
