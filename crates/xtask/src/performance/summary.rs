//! From samples to a row for every place and variant.

use super::Settings;
use super::sample::{Place, Sample, Variant, podmans};
use serde::Serialize;
use std::collections::BTreeMap;

/// All that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Rounds of starts.
    pub(crate) rounds: usize,
    /// Rounds of the hooks alone.
    pub(crate) hook_rounds: usize,
    /// What nvbind and the floor put into the container.
    pub(crate) work: Work,
    /// A row for every place and variant.
    pub(crate) rows: Vec<Row>,
    /// What `nvbind run` takes before podman runs in its place.
    pub(crate) shim_ms: Option<Spread>,
    /// New inodes in a container's upper layer, by the capabilities that were asked for.
    pub(crate) upper_layer_inodes: BTreeMap<String, u64>,
    /// The sizes of the programs.
    pub(crate) binary_bytes: BTreeMap<String, u64>,
}

/// What is put into the container.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Work {
    /// Files of the driver.
    pub(crate) files: u64,
    pub(crate) links: u64,
    pub(crate) nodes: u64,
}

/// One variant in one place.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// `crun` or `runc`.
    pub(crate) runtime: String,
    /// `rootful` or `rootless`.
    pub(crate) mode: String,
    pub(crate) variant: Variant,
    /// To the container's first instruction.
    pub(crate) start_ms: Spread,
    /// To podman's end.
    pub(crate) total_ms: Spread,
    /// The differences to plain podman in the same round.
    pub(crate) added_ms: Added,
    /// The median of what it adds, in that of the floor; none where the floor's is lost in the noise.
    pub(crate) added_to_floor: Option<f64>,
    /// The median of the hook's own wall time.
    pub(crate) hook_ms: Option<f64>,
    pub(crate) hook_min_ms: Option<f64>,
    /// The median of its processor time.
    pub(crate) hook_processor_ms: Option<f64>,
    /// Its largest peak of resident memory.
    pub(crate) hook_rss_kib: Option<u64>,
}

/// A median and how far the rest lies from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one number.
    fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        Some(Self { median: median(&numbers)?, min: *numbers.first()?, max: *numbers.last()? })
    }
}

/// A median, and between what it would lie in 95 of 100 such measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Added {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Added {
    /// Of at least one difference. How many of n differences are below the true median is binomial, with a deviation of
    /// half the root of n: the interval is between those that lie 1.96 of it from the middle.
    fn of(mut differences: Vec<f64>) -> Option<Self> {
        differences.sort_by(f64::total_cmp);
        let last = differences.len().checked_sub(1)?;
        let width = (differences.len() * 96 / 100).isqrt();
        let high = (differences.len() / 2 + width).min(last);
        let (low, high) = (*differences.get(last - high)?, *differences.get(high)?);
        Some(Self { median: median(&differences)?, low, high })
    }
}

/// Of sorted numbers; the same one twice where their number is odd.
fn median(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some((sorted.get(last / 2)? + sorted.get(sorted.len() / 2)?) / 2.0)
}

impl Report {
    pub(crate) fn new(settings: Settings, samples: &[Sample], binary_bytes: BTreeMap<String, u64>) -> Self {
        let mut report = Self {
            rounds: settings.rounds,
            hook_rounds: settings.hook_rounds,
            work: Work::default(),
            rows: Vec::new(),
            shim_ms: Spread::of(samples.iter().filter_map(shim).collect()),
            upper_layer_inodes: BTreeMap::new(),
            binary_bytes,
        };
        for sample in samples {
            match sample {
                Sample::Work { files, links, nodes } => {
                    report.work = Work { files: *files, links: *links, nodes: *nodes };
                }
                Sample::Layer { capabilities, inodes } => {
                    report.upper_layer_inodes.insert(capabilities.clone(), *inodes);
                }
                Sample::Start { .. } | Sample::Hook { .. } | Sample::Shim { .. } => {}
            }
        }
        for podman in podmans() {
            report.rows.extend(rows(&podman.into(), samples));
        }
        report
    }
}

fn shim(sample: &Sample) -> Option<f64> {
    if let Sample::Shim { added } = sample { Some(*added) } else { None }
}

/// The rows of one place.
fn rows(place: &Place, samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<Row> =
        Variant::ALL.iter().filter_map(|variant| row(place, *variant, samples)).collect();
    let floor = rows.iter().find(|row| row.variant == Variant::CFloor).map(|row| row.added_ms);
    if let Some(floor) = floor.filter(|floor| floor.low > 0.0) {
        for row in rows.iter_mut().filter(|row| row.variant != Variant::Plain) {
            row.added_to_floor = Some(row.added_ms.median / floor.median);
        }
    }
    rows
}

fn row(place: &Place, variant: Variant, samples: &[Sample]) -> Option<Row> {
    let starts = |wanted: Variant| -> BTreeMap<usize, (f64, f64)> {
        let of = |sample: &Sample| {
            let Sample::Start { place: at, variant, round, start, total } = sample else { return None };
            (at == place && *variant == wanted).then_some((*round, (*start, *total)))
        };
        samples.iter().filter_map(of).collect()
    };
    let (plain, own) = (starts(Variant::Plain), starts(variant));
    let added =
        own.iter().filter_map(|(round, (start, _))| Some(start - plain.get(round)?.0)).collect::<Vec<_>>();
    let (mut walls, mut processors, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for sample in samples {
        if let Sample::Hook { place: at, variant: of, wall, processor, rss } = sample
            && at == place
            && *of == variant
        {
            walls.push(*wall);
            processors.push(*processor);
            peaks.push(*rss);
        }
    }
    let hook = Spread::of(walls);
    Some(Row {
        runtime: place.runtime.clone(),
        mode: place.mode.clone(),
        variant,
        start_ms: Spread::of(own.values().map(|(start, _)| *start).collect())?,
        total_ms: Spread::of(own.values().map(|(_, total)| *total).collect())?,
        added_ms: Added::of(added)?,
        added_to_floor: None,
        hook_ms: hook.map(|hook| hook.median),
        hook_min_ms: hook.map(|hook| hook.min),
        hook_processor_ms: Spread::of(processors).map(|processor| processor.median),
        hook_rss_kib: peaks.into_iter().max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = |numbers: &[f64]| Spread::of(numbers.to_vec());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn the_interval_of_a_median_narrows_with_the_number_of_rounds() {
        let added = |count: u32| Added::of((0..count).map(f64::from).collect());
        assert_eq!(added(0), None);
        assert_eq!(added(3), Some(Added { median: 1.0, low: 0.0, high: 2.0 }));
        // The order statistics of the binomial distribution for 95 of 100: the 14th and the 27th of 40.
        assert_eq!(added(40), Some(Added { median: 19.5, low: 13.0, high: 26.0 }));
    }

    #[test]
    fn what_is_added_is_the_median_of_differences_within_rounds() {
        let place = Place { runtime: "crun".into(), mode: "rootful".into() };
        let start = |variant, round, start: f64| Sample::Start {
            place: place.clone(),
            variant,
            round,
            start,
            total: start + 10.0,
        };
        // The machine is slower in the second round: medians by themselves would differ by more.
        let mut samples = Vec::new();
        for (round, base) in [(1, 50.0), (2, 150.0), (3, 60.0)] {
            samples.push(start(Variant::Plain, round, base));
            samples.push(start(Variant::CFloor, round, base + 2.0));
            samples.push(start(Variant::Nvbind, round, base + 3.0));
        }
        let variant = Variant::Nvbind;
        samples.push(Sample::Hook { place: place.clone(), variant, wall: 2.0, processor: 1.5, rss: 1800 });
        let rows = rows(&place, &samples);
        let nvbind = rows.last().unwrap();
        assert_eq!(
            *nvbind,
            Row {
                runtime: "crun".into(),
                mode: "rootful".into(),
                variant: Variant::Nvbind,
                start_ms: Spread { median: 63.0, min: 53.0, max: 153.0 },
                total_ms: Spread { median: 73.0, min: 63.0, max: 163.0 },
                added_ms: Added { median: 3.0, low: 3.0, high: 3.0 },
                added_to_floor: Some(1.5),
                hook_ms: Some(2.0),
                hook_min_ms: Some(2.0),
                hook_processor_ms: Some(1.5),
                hook_rss_kib: Some(1800),
            }
        );
    }
}
