//! The measuring itself, inside the lane.

use super::hooks::{Hooks, record};
use super::programs::FIRST;
use super::sample::{Place, Sample, Variant, podmans};
use super::{SETTINGS, Settings, shim, steps};
use nix::time::{ClockId, clock_gettime};
use nvbind_e2e::lane::{DRIVER, Lane};
use nvbind_e2e::podman::{IMAGE, Podman, Runtime, User, as_user};
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process;
use nvbind_lanes::spec::{PAYLOAD, RESULTS, Spec};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What asks for a GPU; plain podman is told it too.
const GPU: &str = "io.nvbind.gpu=0";

/// How often a container is started until podman passes on what it says: of one that ends at once, it sometimes does
/// not.
const ATTEMPTS: usize = 5;

/// Capabilities for which the inodes in the upper layer are counted: what most containers need, and everything. podman
/// would take a comma for the next annotation.
const LAYERS: &[&str] = &["compute+utility", "all"];

/// Measures all that there is to measure, and writes each sample as it comes.
pub fn inside(spec_file: &Path) -> Result<()> {
    Lane::make_ready(Spec::read(spec_file)?)?;
    let path = Path::new(PAYLOAD).join(SETTINGS);
    let text = fs::read_to_string(&path).on("read", &path)?;
    let settings: Settings =
        serde_json::from_str(&text).map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
    let mut samples = Samples::open()?;

    let mut plan = Command::new(format!("{PAYLOAD}/bin/nvbind"));
    plan.args(["plan", "--gpu=0", "--json", "--driver-root", DRIVER]);
    let (steps, work) = steps::from_plan(&process::read(&mut plan)?)?;
    samples.write(&work)?;
    Hooks::make(&steps)?;
    starts(settings.rounds, &mut samples)?;
    hooks(settings.hook_rounds, &mut samples)?;
    layers(&mut samples)?;
    for sample in shim::measure(settings.rounds)? {
        samples.write(&sample)?;
    }
    samples.done()
}

/// Rounds of starts, after one of each kind that does not count.
fn starts(rounds: usize, samples: &mut Samples) -> Result<()> {
    for round in 0..=rounds {
        for podman in podmans() {
            for variant in turned(&Variant::ALL, round) {
                let (start, total) = time(podman, variant, false)?;
                if round > 0 {
                    samples.write(&Sample::Start { place: podman.into(), variant, round, start, total })?;
                }
            }
        }
    }
    Ok(())
}

/// Rounds of the hooks alone: what the timer recorded of each.
fn hooks(rounds: usize, samples: &mut Samples) -> Result<()> {
    for round in 0..rounds {
        for podman in podmans() {
            for variant in turned(&Variant::ALL, round).filter(|variant| *variant != Variant::Plain) {
                time(podman, variant, true)?;
                let path = record(variant);
                let text = fs::read_to_string(&path).on("read", &path)?;
                samples.write(&hook_sample(podman.into(), variant, &text)?)?;
            }
        }
    }
    Ok(())
}

/// From the timer's one line: wall and processor time in nanoseconds, memory in KiB.
fn hook_sample(place: Place, variant: Variant, text: &str) -> Result<Sample> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(wall)), Some(Ok(processor)), Some(Ok(rss)), None) => {
            let (wall, processor) = (milliseconds(wall), milliseconds(processor));
            Ok(Sample::Hook { place, variant, wall, processor, rss })
        }
        _ => Err(Error::failed(format!("the hook of {} ran not exactly once: {text:?}", variant.name()))),
    }
}

/// The variants in another order in every round.
fn turned(variants: &[Variant; 4], round: usize) -> impl Iterator<Item = Variant> {
    variants.iter().copied().cycle().skip(round % variants.len()).take(variants.len())
}

/// One container, from before podman is started to its first instruction, and to podman's end.
fn time(podman: Podman, variant: Variant, timed: bool) -> Result<(f64, f64)> {
    let mut told = String::new();
    for _ in 0..ATTEMPTS {
        // The timer's record is of this attempt alone.
        let path = record(variant);
        fs::write(&path, "").on("write", &path)?;
        // The timer runs as whoever is root in the user's own namespace.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).on("open", &path)?;
        let mut command = as_user(podman.user, Command::new("podman"));
        command.args(["--runtime", podman.runtime(), "--hooks-dir"]).arg(Hooks::directory(variant, timed));
        command.args(["run", "--rm", "--network=none", "--annotation", GPU, IMAGE, FIRST]);
        command.stdin(Stdio::null());
        let before = now()?;
        let output = command.output().doing(|| "start podman".into())?;
        let after = now()?;
        let said = String::from_utf8_lossy(&output.stdout);
        match said.trim().parse::<u64>() {
            Ok(first) if output.status.success() && first > before => {
                return Ok((milliseconds(first - before), milliseconds(after - before)));
            }
            _ => told = format!("{said}{}{}", String::from_utf8_lossy(&output.stderr), output.status),
        }
        if !output.status.success() {
            break;
        }
    }
    Err(Error::failed(format!("{} with {} said {told}", podman.name(), variant.name())))
}

/// The clock that the container's first process reads too.
pub(crate) fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).doing(|| "read the clock".into())?;
    let part =
        |number| u64::try_from(number).map_err(|_negative| Error::failed("the clock runs before zero"));
    Ok(part(time.tv_sec())? * 1_000_000_000 + part(time.tv_nsec())?)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "half a day of nanoseconds fits, and nothing here takes that long"
)]
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Counts what nvbind adds to the upper layer of a container.
fn layers(samples: &mut Samples) -> Result<()> {
    let podman = Podman::new(User::Root, Runtime::Crun);
    let without = layer(podman, &[])?;
    for capabilities in LAYERS {
        let capability = format!("io.nvbind.capabilities={capabilities}");
        let with = layer(podman, &["--annotation", GPU, "--annotation", &capability])?;
        let inodes = with.saturating_sub(without);
        samples.write(&Sample::Layer { capabilities: capabilities.replace('+', ","), inodes })?;
    }
    Ok(())
}

/// The inodes in the upper layer of a container that ran.
fn layer(podman: Podman, more: &[&str]) -> Result<u64> {
    let must = |words: &[&str]| {
        let said = podman.run(words)?;
        if said.code == 0 { Ok(said.out) } else { Err(Error::failed(said.told())) }
    };
    let name = "layer";
    must(&[&["run", "--name", name, "--network=none"], more, &[IMAGE, "true"]].concat())?;
    let upper = must(&["inspect", "--format={{.GraphDriver.Data.UpperDir}}", name])?;
    let count = inodes(Path::new(upper.trim()))?;
    must(&["rm", name])?;
    Ok(count)
}

fn inodes(folder: &Path) -> Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(folder).on("list", folder)? {
        let path = entry.on("list", folder)?.path();
        count += 1;
        if fs::symlink_metadata(&path).on("look at", &path)?.is_dir() {
            count += inodes(&path)?;
        }
    }
    Ok(count)
}

/// The file that the host reads while the lane runs.
#[derive(Debug)]
struct Samples(File);

impl Samples {
    fn open() -> Result<Self> {
        let path = Path::new(RESULTS).join("cases");
        OpenOptions::new().append(true).open(&path).on("open", &path).map(Self)
    }

    fn write(&mut self, sample: &Sample) -> Result<()> {
        let line = serde_json::to_string(sample).map_err(|error| Error::failed(error.to_string()))?;
        writeln!(self.0, "{line}").doing(|| "write a sample".into())
    }

    /// Tells the host that nothing is missing.
    fn done(self) -> Result<()> {
        let path = Path::new(RESULTS).join("done");
        fs::write(&path, "").on("write", &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variant_has_the_same_neighbours_in_every_round() {
        let order = |round| turned(&Variant::ALL, round).map(Variant::name).collect::<Vec<_>>();
        assert_eq!(order(0), ["plain", "noop-hook", "c-floor", "nvbind"]);
        assert_eq!(order(6), ["c-floor", "nvbind", "plain", "noop-hook"]);
    }

    #[test]
    fn a_hook_that_ran_twice_or_never_is_no_sample() {
        let place = || Place { runtime: "crun".into(), mode: "rootful".into() };
        let sample = |text| hook_sample(place(), Variant::Nvbind, text).ok();
        let good =
            Sample::Hook { place: place(), variant: Variant::Nvbind, wall: 2.5, processor: 2.0, rss: 1800 };
        assert_eq!(sample("2500000 2000000 1800\n"), Some(good));
        assert_eq!(sample("2500000 2000000 1800\n1 1 1\n"), None);
        assert_eq!(sample(""), None);
    }
}
