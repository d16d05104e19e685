//! A start again and again, each time with another of its system calls going wrong.

use crate::calls::Call;
use crate::extent::{self, Numbers};
use crate::quiet;
use crate::scenarios::{self, Scenario};
use crate::setting::Setting;
use crate::tracer::{self, End, Fault, Traced};
use crate::undisturbed::{Part, Undisturbed};
use crate::world::skip;
use nix::errno::Errno;
use std::fmt;
use std::io::{self, Write as _};

const FAULTS: [Fault; 10] = [
    Fault::Kill,
    Fault::Exhausted,
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

/// The one call and fault to try, as `480:EIO`.
fn point() -> Option<(usize, Fault)> {
    let text = std::env::var("NVBIND_TEST_POINT").ok()?;
    let (at, fault) = text.split_once(':').unwrap();
    Some((at.parse().unwrap(), FAULTS.into_iter().find(|known| known.to_string() == fault).unwrap()))
}

/// Call numbers and faults: all there are, or a sample.
fn points(scenario: &Scenario, calls: &[Call]) -> Vec<(usize, Fault)> {
    let may_be = |(at, fault): &(usize, Fault)| match fault {
        Fault::Kill => true,
        Fault::Exhausted => calls[*at].makes_descriptor,
        Fault::Fails(_) => calls[*at].can_fail(),
    };
    let all = (0..calls.len()).flat_map(|at| FAULTS.map(|fault| (at, fault))).filter(may_be);
    let mut numbers = Numbers::new(scenario.name);
    match point() {
        Some(point) => vec![point],
        None if extent::is_full() => all.collect(),
        None => {
            let all: Vec<_> = all.collect();
            (0..SAMPLE).map(|_| all[numbers.below(all.len())]).collect()
        }
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

/// Whether the hook may do without what it could not look at.
fn is_passed_over(scenario: &Scenario, fault: Fault, traced: &Traced) -> bool {
    let text = format!("{}{}", traced.calls[0], traced.says);
    matches!(fault, Fault::Fails(Errno::EACCES | Errno::EPERM))
        && scenario.passed_over.iter().any(|part| text.contains(part))
}

/// Whether it is the answer that a device cgroup gives where it denies a GPU: then there are fewer for this process.
fn is_an_answer(fault: Fault, traced: &Traced) -> bool {
    matches!(fault, Fault::Fails(Errno::EPERM)) && traced.calls[0].name() == ACCESS
}

/// By which the hook asks.
const ACCESS: &str = if cfg!(target_arch = "x86_64") { "access" } else { "faccessat" };

/// Whether it is the rename of a loader's file that fails, after another one has replaced the image's: that one stays,
/// in the container's own layer, and the next start writes it anew (`docs/reference.md`, "Where nvbind writes").
fn is_documented(part: Part, traced: &Traced) -> bool {
    part == Part::Container && traced.calls[0].name() == "renameat" && traced.end != End::Code(0)
}

fn check(scenario: &'static Scenario) {
    let _others = quiet::share();
    if !tracer::is_allowed() {
        skip::<()>("this machine does not let tests trace a process");
        return;
    }
    let Some(mut setting) = Setting::new(scenario) else { return };
    let undisturbed = Undisturbed::of(&mut setting, scenario.exit);
    if point().is_some() {
        for (number, call) in undisturbed.calls.iter().enumerate() {
            let _ = writeln!(io::stdout(), "{number} {call}");
        }
    }
    let points = points(scenario, &undisturbed.calls);
    let mut failures: Vec<Failure> = Vec::new();
    for (at, fault) in &points {
        setting.begin();
        let world = &setting.world;
        let traced = tracer::run(&mut world.command(), &world.stdin(), Some((*at, *fault)));
        let Some(call) = traced.calls.first() else { continue };
        if matches!(fault, Fault::Fails(_)) && !call.can_fail() {
            continue;
        }
        let wrong = undisturbed.judge(&mut setting, *at, *fault, &traced);
        let is_right = is_passed_over(scenario, *fault, &traced) || is_an_answer(*fault, &traced);
        if traced.end == End::Code(0) && is_right {
            continue;
        }
        if wrong.is_empty() || is_documented(undisturbed.parts[*at], &traced) {
            continue;
        }
        let call = format!("call {at}, {call}");
        match failures.last_mut() {
            Some(last) if last.call == call && last.wrong.len() == wrong.len() => last.faults.push(*fault),
            _ => failures.push(Failure { call, faults: vec![*fault], wrong }),
        }
    }
    let (tried, calls) = (points.len(), undisturbed.calls.len());
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
