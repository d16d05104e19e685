//! The records that the hook leaves of the containers that it refuses: crun shows nothing of a hook but its exit code.

use super::{Facts, Finding, Machine};
use nvbind_core::exit::Exit;
use nvbind_core::message::printable;
use nvbind_core::record::{self, Record};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A failure is told without being asked for while it is as new, in seconds.
const RECENT: u64 = 3600;

/// As much of an id as podman shows, in characters.
const SHORT: usize = 12;

/// The refused containers of this user, the newest first.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failures {
    /// Where they were looked for.
    places: Vec<PathBuf>,
    failures: Vec<Failure>,
}

/// A refused container.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Failure {
    #[serde(flatten)]
    record: Record,
    /// What the exit code means.
    meaning: Option<&'static str>,
}

impl Failures {
    pub(crate) fn read(machine: &Machine) -> Failures {
        let places = record::places(machine.user.uid);
        let meaning = |record: &Record| Exit::find(record.exit_code).map(Exit::meaning);
        let failures = read(machine).into_iter();
        Failures {
            places: places.iter().map(|place| place.below(&machine.root).path()).collect(),
            failures: failures.map(|record| Failure { meaning: meaning(&record), record }).collect(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if self.failures.is_empty() {
            let places: Vec<String> = self.places.iter().map(|place| place.display().to_string()).collect();
            return format!("no failure is recorded in {}\n", printable(&places.join(" or ")));
        }
        for Failure { record, meaning } in &self.failures {
            // Into a String, which never fails.
            let _ = writeln!(text, "{}  {}", time(record), printable(&subject(record)));
            let _ = writeln!(text, "  {}", printable(&record.reason));
            let meaning = meaning.map(|meaning| format!(": {meaning}")).unwrap_or_default();
            let _ = writeln!(text, "  exit code {}{meaning}", record.exit_code);
        }
        text
    }
}

/// Who this process is in the machine's files is its own user, whoever is examined.
fn read(machine: &Machine) -> Vec<Record> {
    record::read(&machine.root, machine.user.uid, nix::unistd::geteuid().as_raw())
}

/// Whether the hook refused a container a short while ago.
pub(super) fn recent(facts: &Facts<'_>) -> Finding {
    let now = OffsetDateTime::now_utc();
    let records = read(facts.machine);
    let mut recent = records.iter().filter_map(|record| {
        let age = record.age(now).filter(|age| *age <= RECENT)?;
        Some((record, age))
    });
    let Some((record, age)) = recent.next() else {
        return Finding::ok("the hook refused no container within the last hour");
    };
    let more = match recent.count() {
        0 => String::new(),
        more => format!(" (and {more} more: `nvbind doctor --last`)"),
    };
    let detail = format!("{} was refused {} ago: {}{more}", subject(record), ago(age), record.reason);
    Finding::warn(detail, None)
}

fn ago(seconds: u64) -> String {
    match seconds / 60 {
        0 => "less than a minute".to_owned(),
        1 => "a minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

/// A container by its name, and by its id as podman shows it.
fn subject(record: &Record) -> String {
    let id: String = record.container.chars().take(SHORT).collect();
    match &record.name {
        Some(name) => format!("{name} ({id})"),
        None if id.is_empty() => "a container without a readable state".to_owned(),
        None => id,
    }
}

/// In UTC, to the second.
fn time(record: &Record) -> String {
    let time = record.time.replace_nanosecond(0).unwrap_or(record.time);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_as_podman_shows_it() {
        let mut record = Record::new("0123456789abcdef", 3, String::new());
        assert_eq!(subject(&record), "0123456789ab");
        record.name = Some("web".to_owned());
        assert_eq!(subject(&record), "web (0123456789ab)");
        assert_eq!(subject(&Record::new("", 2, String::new())), "a container without a readable state");
    }

    #[test]
    fn ages_are_told_in_minutes() {
        for (seconds, told) in
            [(0, "less than a minute"), (59, "less than a minute"), (60, "a minute"), (3600, "60 minutes")]
        {
            assert_eq!(ago(seconds), told);
        }
    }
}
