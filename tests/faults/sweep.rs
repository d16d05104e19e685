//! A start again and again, each time with another of its system calls going wrong.

use crate::calls::Call;
use crate::extent::{self, Numbers};
use crate::findings::{self, Finding};
use crate::picture::Picture;
use crate::quiet;
use crate::scenarios::{self, Scenario};
use crate::setting::{Setting, is_unfinished_node};
use crate::tracer::{self, End, Fault, Traced};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fmt;
use std::io::{self, Write as _};

const FAULTS: [Fault; 9] = [
    Fault::Kill,
    Fault::Fails(Errno::EACCES),
    Fault::Fails(Errno::EAGAIN),
    Fault::Fails(Errno::EINTR),
    Fault::Fails(Errno::EIO),
    Fault::Fails(Errno::EMFILE),
    Fault::Fails(Errno::ENOMEM),
    Fault::Fails(Errno::ENOSPC),
    Fault::Fails(Errno::EPERM),
];

/// How many faults of a scenario are tried in a sample.
const SAMPLE: usize = 30;

/// How many of the failures are told.
const TOLD: usize = 200;

/// Which part of a start a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The C library and Rust's, which end as they like.
    Runtime,
    /// The hook decides what the container gets.
    Decision,
    /// The hook equips the container.
    Container,
}

/// What an undisturbed start is like.
struct Undisturbed {
    before: Picture,
    after: Picture,
    exit: i32,
    says: String,
    /// Of each call.
    parts: Vec<Part>,
}

impl Undisturbed {
    fn of(setting: &mut Setting, exit: i32) -> Undisturbed {
        // The first start makes the directory of the hook's record, which takes another number of calls.
        setting.begin();
        setting.world.hook();
        setting.begin();
        let before = Picture::of(setting);
        let traced = tracer::run(&mut setting.world.command(), &setting.world.stdin(), None);
        let says = setting.world.shortened(&traced.says);
        assert_eq!(traced.end, End::Code(exit), "{says}");
        let after = Picture::of(setting);
        if point().is_some() {
            for (number, call) in traced.calls.iter().enumerate() {
                let _ = writeln!(io::stdout(), "{number} {call}");
            }
        }
        setting.start();
        assert_eq!(setting.world.hook().code, Some(exit));
        assert_eq!(after.difference(&Picture::of(setting)), Vec::<String>::new(), "a restart");
        Undisturbed { before, after, exit, says, parts: parts(&traced.calls) }
    }

    /// What is wrong with a disturbed start, and with the next one.
    fn judge(&self, setting: &mut Setting, at: usize, fault: Fault, traced: &Traced) -> Vec<String> {
        let mut wrong = Vec::new();
        let says = setting.world.shortened(&traced.says);
        let is_runtime = self.parts[at] == Part::Runtime;
        let may_abort = is_runtime || traced.calls[0].is_for_memory();
        let is_killed = match traced.end {
            End::Signal(Signal::SIGKILL) => fault == Fault::Kill,
            End::Signal(Signal::SIGABRT) => may_abort,
            End::Code(127) | End::Signal(Signal::SIGSEGV) => is_runtime,
            End::Signal(_) | End::Code(_) => false,
        };
        if !is_killed {
            if !matches!(traced.end, End::Code(0 | 2..=5)) {
                wrong.push(format!("ended with {:?}", traced.end));
            }
            if says.lines().count() > 2 || says.len() > 10 << 10 {
                wrong.push("it says more than two lines".to_owned());
            }
        }
        let now = Picture::of(setting);
        wrong.extend(self.host_changes(&now.host, is_killed));
        match traced.end {
            End::Code(0) if self.exit != 0 => wrong.push("it is not refused".to_owned()),
            End::Code(0) => wrong.extend(self.after.difference(&now)),
            End::Signal(_) | End::Code(_) if is_killed => {}
            End::Signal(_) | End::Code(_) => wrong.extend(self.before.leftovers(&now)),
        }
        wrong.extend(self.judge_next(setting).into_iter().map(|line| format!("at the next start: {line}")));
        if !wrong.is_empty() {
            wrong.push(format!("it said: {}", says.trim_end()));
        }
        wrong
    }

    /// What is there or lost on the host that is neither so before a start nor after it.
    fn host_changes(&self, now: &[String], is_killed: bool) -> Vec<String> {
        let lost = self.before.host.iter().filter(|line| !now.contains(line));
        let new =
            now.iter().filter(|line| !self.before.host.contains(line) && !self.after.host.contains(line));
        let new = new.filter(|line| !is_killed || !is_unfinished_node(line));
        lost.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect()
    }

    fn judge_next(&self, setting: &mut Setting) -> Vec<String> {
        setting.start();
        let ended = setting.world.hook();
        let now = Picture::of(setting);
        let mut wrong = self.after.difference(&now);
        wrong.extend(self.host_changes(&now.host, true));
        if (ended.code, &ended.says) != (Some(self.exit), &self.says) {
            wrong.push(format!("{ended:?}"));
        }
        wrong
    }
}

fn parts(calls: &[Call]) -> Vec<Part> {
    let first = |is_it: &dyn Fn(&Call) -> bool| calls.iter().position(is_it).unwrap();
    // The log is the first thing, and the record is opened when everything is decided.
    let log = first(&|call| call.name() == "socket");
    let record = first(&|call| call.to_string().contains("last-failure"));
    let part = |at| match at {
        at if at < log => Part::Runtime,
        at if at < record => Part::Decision,
        _ => Part::Container,
    };
    (0..calls.len()).map(part).collect()
}

/// The one call and fault to try, as `480:EIO`.
fn point() -> Option<(usize, Fault)> {
    let text = std::env::var("NVBIND_TEST_POINT").ok()?;
    let (at, fault) = text.split_once(':').unwrap();
    Some((at.parse().unwrap(), FAULTS.into_iter().find(|known| known.to_string() == fault).unwrap()))
}

/// Call numbers and faults: all there are, or a sample.
fn points(scenario: &Scenario, calls: usize) -> Vec<(usize, Fault)> {
    let all = (0..calls).flat_map(|at| FAULTS.map(|fault| (at, fault)));
    let mut numbers = Numbers::new(scenario.name);
    match point() {
        Some(point) => vec![point],
        None if extent::is_full() => all.collect(),
        None => (0..SAMPLE).map(|_| (numbers.below(calls), FAULTS[numbers.below(FAULTS.len())])).collect(),
    }
}

/// Faults at one call with one effect.
struct Failure {
    call: String,
    faults: Vec<Fault>,
    wrong: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call)?;
        self.faults.iter().try_for_each(|fault| write!(f, ", {fault}"))?;
        write!(f, ":\n    {}", self.wrong.join("\n    "))
    }
}

fn check(scenario: &'static Scenario) {
    let _others = quiet::share();
    let Some(mut setting) = Setting::new(scenario) else { return };
    let undisturbed = Undisturbed::of(&mut setting, scenario.exit);
    let points = points(scenario, undisturbed.parts.len());
    let mut failures: Vec<Failure> = Vec::new();
    for (at, fault) in &points {
        setting.begin();
        let world = &setting.world;
        let traced = tracer::run(&mut world.command(), &world.stdin(), Some((*at, *fault)));
        let Some(call) = traced.calls.first() else { continue };
        if !call.can_fail() && *fault != Fault::Kill {
            continue;
        }
        let wrong = undisturbed.judge(&mut setting, *at, *fault, &traced);
        let finding = match (undisturbed.parts[*at], call.name(), traced.end) {
            (Part::Decision, _, End::Code(0)) => Some(Finding::HostRead),
            (Part::Container, "pread64", End::Code(0)) => Some(Finding::ForwardCompatibility),
            (Part::Container, "renameat", _) => Some(Finding::PlacedFile),
            _ => None,
        };
        if wrong.is_empty() || finding.is_some_and(findings::is_known) {
            continue;
        }
        let call = format!("call {at}, {call}");
        match failures.last_mut() {
            Some(last) if last.call == call && last.wrong.len() == wrong.len() => last.faults.push(*fault),
            _ => failures.push(Failure { call, faults: vec![*fault], wrong }),
        }
    }
    let (tried, calls) = (points.len(), undisturbed.parts.len());
    extent::tell(format_args!("{}: {tried} faults in {calls} calls", scenario.name));
    let count: usize = failures.iter().map(|failure| failure.faults.len()).sum();
    let told: Vec<String> = failures.iter().take(TOLD).map(Failure::to_string).collect();
    assert!(
        failures.is_empty(),
        "{}: {count} of {tried} faults in {calls} calls{}\n{}",
        scenario.name,
        extent::reproduce(),
        told.join("\n")
    );
}

#[test]
fn a_start_with_all_capabilities_is_whole_or_refused_whatever_call_fails() {
    check(&scenarios::TWO_GPUS);
}

#[test]
fn a_node_of_the_host_is_made_whole_or_not_at_all_whatever_call_fails() {
    check(&scenarios::MISSING_NODES);
}

#[test]
fn an_image_s_own_files_are_covered_or_left_whatever_call_fails() {
    check(&scenarios::IMAGE);
}

#[test]
fn a_start_in_a_user_namespace_is_whole_or_refused_whatever_call_fails() {
    check(&scenarios::USER_NAMESPACE);
}

#[test]
fn a_device_cgroup_has_all_rules_after_a_start_whatever_call_fails() {
    check(&scenarios::CGROUP);
}

#[test]
fn a_restart_is_whole_or_refused_whatever_call_fails() {
    check(&scenarios::RESTART);
}

#[test]
fn an_isolated_container_with_the_host_s_dev_is_refused_whatever_call_fails() {
    check(&scenarios::ISOLATED_VOLUME);
}

#[test]
fn an_isolated_container_with_a_node_of_its_own_is_refused_whatever_call_fails() {
    check(&scenarios::ISOLATED_NODE);
}

#[test]
fn a_library_that_anybody_can_write_is_refused_whatever_call_fails() {
    check(&scenarios::UNTRUSTED);
}
