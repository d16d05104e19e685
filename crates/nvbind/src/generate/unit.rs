//! The text of unit files: quoting as systemd.service(5) has it, and what every service of a container needs.

use super::{Error, Start};
use std::fmt::Write as _;

/// An image may have to be downloaded before the service counts as started (podman-systemd.unit(5)).
const START_SECONDS: u64 = 900;

/// How long podman lets a container stop by itself (podman-run(1), `--stop-timeout`).
const STOP_SECONDS: u64 = 10;

/// What podman may need beside that, as `podman generate systemd` reckons.
const MORE_STOP_SECONDS: u64 = 60;

/// Options that a service makes pointless, and why; nothing where it does the same by itself.
pub(super) const LEFT_OUT: &[(&str, Option<&str>)] = &[
    ("attach", Some("a service has no terminal")),
    ("cidfile", Some("the service has its own")),
    ("detach", None),
    ("detach-keys", None),
    ("dry-run", None),
    ("help", None),
    ("interactive", Some("a service has no terminal")),
    ("replace", None),
    ("restart", None),
    ("rm", None),
    ("sdnotify", None),
    ("sig-proxy", None),
    ("tty", Some("a service has no terminal")),
];

/// A unit file in the making.
#[derive(Debug, Default)]
pub(super) struct Unit {
    text: String,
}

impl Unit {
    pub(super) fn section(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}[{name}]");
    }

    /// A line; the value is written as it is.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.text, "{key}={value}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn describe(&mut self, start: &Start) -> Result<(), Error> {
        self.section("Unit");
        self.set("Description", &format!("{} with NVIDIA GPUs", quote(&start.image)));
        if let Some(burst) = Restart::of(start)?.burst {
            self.set("StartLimitBurst", burst);
        }
        Ok(())
    }

    /// What `[Service]` holds of the options.
    pub(super) fn serve(&mut self, start: &Start) -> Result<(), Error> {
        self.section("Service");
        self.set("Restart", Restart::of(start)?.policy);
        self.set("TimeoutStartSec", &START_SECONDS.to_string());
        let stop =
            start.value("stop-timeout").and_then(|seconds| seconds.parse().ok()).unwrap_or(STOP_SECONDS);
        self.set("TimeoutStopSec", &stop.saturating_add(MORE_STOP_SECONDS).to_string());
        Ok(())
    }

    /// Started at boot, by whichever of the two managers the unit is installed for.
    pub(super) fn install(&mut self) {
        self.section("Install");
        self.set("WantedBy", "multi-user.target default.target");
    }
}

/// podman's restart policy as systemd's.
struct Restart<'a> {
    policy: &'static str,
    burst: Option<&'a str>,
}

impl Restart<'_> {
    /// A unit that is stopped stays so: there, `unless-stopped` is no other than `always`.
    fn of(start: &Start) -> Result<Restart<'_>, Error> {
        let policy = start.value("restart").unwrap_or_default();
        let (policy, burst) = match policy.split_once(':') {
            None => (policy, None),
            Some(("on-failure", tries)) if tries.parse::<u32>().is_ok() => ("on-failure", Some(tries)),
            Some(_) => return Err(Error::Restart { policy: policy.to_owned() }),
        };
        let policy = match policy {
            "" | "no" => "no",
            "on-failure" => "on-failure",
            "always" | "unless-stopped" => "always",
            other => return Err(Error::Restart { policy: other.to_owned() }),
        };
        Ok(Restart { policy, burst })
    }
}

/// Why options of this command line are not in the unit.
pub(super) fn notes<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut notes = Vec::new();
    for name in names {
        if let Some((_, Some(why))) = LEFT_OUT.iter().find(|(known, _)| *known == name) {
            let note = format!("--{name} is left out: {why}");
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

pub(super) fn is_left_out(name: &str) -> bool {
    LEFT_OUT.iter().any(|(known, _)| *known == name)
}

/// What systemd and Quadlet take for this one argument: nothing in it is a specifier or a variable.
pub(crate) fn quote(argument: &str) -> String {
    let plain = literal(argument);
    if is_plain(argument) {
        return plain;
    }
    let mut quoted = String::from('"');
    for letter in plain.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A command as one line.
pub(crate) fn line<'a>(command: impl IntoIterator<Item = &'a str>) -> String {
    command.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Without specifiers (systemd.unit(5)) and variables (systemd.service(5)).
pub(super) fn literal(text: &str) -> String {
    text.replace('%', "%%").replace('$', "$$")
}

/// Whether a text needs no quotes, and means the same to every key of a Quadlet.
pub(super) fn is_plain(text: &str) -> bool {
    let is_special = |letter: char| {
        letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '\'' | '\\' | ';')
    };
    !text.is_empty() && !text.contains(is_special)
}
