//! The record of a refused container: what the hook writes, and what the command line reads.
//!
//! crun discards what a hook prints. So the hook keeps the reason of a failure in a file of its own, one for each
//! container, in a directory that only the container's user can use. A record is only ever shown to a person: nothing
//! is decided by it.

mod places;

pub use places::{Directory, Place, claims, places, read, user};

use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;

/// How many records a directory keeps; the oldest go.
pub const COUNT_LIMIT: usize = 64;

/// No record is larger, in bytes: an id of 1 KiB, and a reason of 4 KiB of which JSON may escape each byte.
pub const SIZE_LIMIT: u64 = 32 << 10;

/// The mode of a record that `nvbind run` has shown: by it, the hook knows that it need not wait.
pub const SHOWN: u32 = 0o400;

/// The longest name of a file, in bytes (`NAME_MAX` of Linux's `limits.h`).
const NAME_LIMIT: usize = 255;

/// The file of a failure for which no container is known. No container's id begins with a dot.
const NO_CONTAINER: &str = ".no-container";

/// The longest token of a start, in bytes.
const START_LIMIT: usize = 64;

/// The longest name of a container that is kept, in bytes. Podman has no limit of its own.
const CONTAINER_NAME_LIMIT: usize = 256;

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was refused, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The container's id; empty where the hook could not read it.
    pub container: String,
    /// The container's name, where podman's monitor tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The program that started the hook: `crun` or `runc`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// What `nvbind run` calls this start; none of a container that something else started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The hook's exit code.
    pub exit_code: u8,
    /// The reason, on one line.
    pub reason: String,
}

impl Record {
    /// The record of a refusal now.
    #[must_use]
    pub fn new(container: &str, exit_code: u8, reason: String) -> Record {
        Record {
            // Records are listed by time: a second is too coarse, and nanoseconds are for nobody to read.
            time: to_milliseconds(OffsetDateTime::now_utc()),
            container: container.to_owned(),
            name: None,
            runtime: None,
            start: None,
            exit_code,
            reason,
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        if self.container.is_empty() || !is_plain(&self.container) {
            return NO_CONTAINER;
        }
        // Plain names are ASCII, so that any end is one of a character.
        self.container.get(..NAME_LIMIT).unwrap_or(&self.container)
    }

    /// Its file's content: one line of JSON. None where it would be too large.
    #[must_use]
    pub fn to_line(&self) -> Option<String> {
        let line = serde_json::to_string(self).ok()? + "\n";
        (line.len() as u64 <= SIZE_LIMIT).then_some(line)
    }

    /// Reads a file's content; none where it is no record.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<Record> {
        serde_json::from_slice(content).ok()
    }

    /// How long ago it was, in whole seconds; none of a time that is still to come.
    #[must_use]
    pub fn age(&self, now: OffsetDateTime) -> Option<u64> {
        u64::try_from((now - self.time).whole_seconds()).ok()
    }
}

fn to_milliseconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_millisecond(time.millisecond()).unwrap_or(time)
}

/// Whether a name is one of a container, as podman has them (`libpod/define/containerstate.go`, `NameRegex`).
#[must_use]
pub fn is_container_name(name: &str) -> bool {
    name.len() <= CONTAINER_NAME_LIMIT && is_plain(name)
}

/// Whether a text can be the token of a start.
#[must_use]
pub fn is_start(token: &str) -> bool {
    token.len() <= START_LIMIT && is_plain(token)
}

/// The token of a start by this process, with the time since 1970. No other start of this machine has it: a process has
/// its id for longer than the clock has its time.
#[must_use]
pub fn start_token(process: u32, time: Duration) -> String {
    format!("{process}-{}", time.as_nanos())
}

/// The process that a token is of.
#[must_use]
pub fn starter(token: &str) -> Option<u32> {
    token.split_once('-')?.0.parse().ok()
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric() || "_+-".contains(first))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration as Span;
    use time::macros::datetime;

    #[test]
    fn a_record_is_one_line_of_json_that_is_read_again() {
        let mut record = Record::new("ab12", 3, "there is no \"GPU\" 7\u{7}\né".to_owned());
        record.time = datetime!(2026-11-30 01:02:03.456 UTC);
        record.name = Some("web".to_owned());
        let line = record.to_line().unwrap();
        assert_eq!(
            line,
            "{\"time\":\"2026-11-30T01:02:03.456Z\",\"container\":\"ab12\",\"name\":\"web\",\"exit_code\":3,\
             \"reason\":\"there is no \\\"GPU\\\" 7\\u0007\\né\"}\n"
        );
        assert_eq!(Record::parse(line.as_bytes()).unwrap(), record);
        for wrong in ["", "{", "{}", "[]", "null", &line.replace("2026", "once")] {
            assert_eq!(Record::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Record::new("ab12", 3, "\u{1}".repeat(32 << 10)).to_line(), None);
    }

    #[test]
    fn a_file_has_the_containers_id_as_far_as_a_name_goes() {
        let name = |id: &str| Record::new(id, 2, String::new()).file_name().to_owned();
        assert_eq!(name("ab12"), "ab12");
        assert_eq!(name(&"a".repeat(1024)), "a".repeat(255));
        for id in ["", ".", "..", "a/b", ".hidden", "é", "a\0"] {
            assert_eq!(name(id), NO_CONTAINER, "{id:?}");
        }
    }

    #[test]
    fn a_token_names_the_process_that_starts_podman() {
        let token = start_token(4242, Duration::new(1_800_000_000, 5));
        assert_eq!(token, "4242-1800000000000000005");
        assert!(is_start(&token));
        assert_eq!(starter(&token), Some(4242));
        for other in ["", "4242", "-1", "a-1", "99999999999-1"] {
            assert_eq!(starter(other), None, "{other}");
        }
        assert!(!is_start("../x") && !is_start("") && !is_start(&"1".repeat(65)));
    }

    #[test]
    fn the_age_is_that_of_the_clock() {
        let record = Record::new("a", 2, String::new());
        assert_eq!(record.age(record.time + Span::milliseconds(3_599_999)), Some(3599));
        assert_eq!(record.age(record.time - Span::hours(1)), None);
        assert_eq!(record.time.nanosecond() % 1_000_000, 0);
    }
}
