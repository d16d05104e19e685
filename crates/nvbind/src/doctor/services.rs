//! Services of the system that run podman as an ordinary user.

use super::subject::{Machine, text};
use super::user::{enable_linger, lingers};
use super::{Facts, Finding};
use std::path::{Path, PathBuf};

/// Where people put units (systemd.unit(5)).
const UNITS: &[&str] = &["/etc/systemd/system", "/usr/local/lib/systemd/system"];

/// The programs that want the user's runtime directory and services, which are there with a session or with lingering alone.
const PROGRAMS: &[&str] = &["podman", "nvbind"];

/// What matters of a service.
#[derive(Debug, Default, PartialEq, Eq)]
struct Service {
    /// `User=`.
    user: String,
    /// Whether a command of it is one of the programs.
    runs_podman: bool,
}

pub(super) fn services(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if !machine.has("/run/systemd/system") {
        return Finding::skipped("there is no systemd");
    }
    let mut count = 0_usize;
    for path in UNITS.iter().flat_map(|directory| machine.files(directory, &["service"])) {
        let service = read(&path);
        let user = name(machine, &service.user);
        // This user's own lingering is another check's matter.
        if !service.runs_podman || matches!(user.as_str(), "" | "root") || user == machine.name {
            continue;
        }
        if !lingers(machine, &user) {
            let detail = format!(
                "{} runs podman as {user}, who has no runtime directory without a session",
                path.display()
            );
            return Finding::warn(detail, enable_linger(machine, &user));
        }
        count += 1;
    }
    Finding::ok(format!("{count} run podman as another user"))
}

/// A unit and its drop-ins.
fn read(path: &Path) -> Service {
    let mut directory = path.as_os_str().to_owned();
    directory.push(".d");
    let drop_ins = super::subject::files(&PathBuf::from(directory), &["conf"]);
    let mut service = Service::default();
    for text in [path.to_owned()].iter().chain(&drop_ins).filter_map(|path| text(path)) {
        service.read(&text);
    }
    service
}

impl Service {
    fn read(&mut self, text: &str) {
        let mut section = "";
        // A line that ends in a backslash goes on in the next (systemd.syntax(7)).
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| section == "[Service]") else {
                continue;
            };
            match key.trim() {
                "User" => value.trim().clone_into(&mut self.user),
                key if key.starts_with("Exec") => self.runs_podman |= runs_podman(value),
                _ => {}
            }
        }
    }
}

/// Whether a word of the command, which may be wrapped in another, is one of the programs.
fn runs_podman(command: &str) -> bool {
    let mut names = command
        .split_whitespace()
        .filter_map(|word| word.trim_start_matches(['-', '@', ':', '+', '!']).rsplit('/').next());
    names.any(|name| PROGRAMS.contains(&name))
}

/// The user's name, where the unit has a number; nothing for one that is told at the start only.
fn name(machine: &Machine, user: &str) -> String {
    if user.contains('%') {
        return String::new();
    }
    let accounts = machine.text("/etc/passwd").unwrap_or_default();
    let of_number = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == user).then(|| name.to_owned())
    };
    accounts.lines().find_map(of_number).unwrap_or_else(|| user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_as_systemd_does() {
        let read = |text: &str| {
            let mut service = Service::default();
            service.read(text);
            (service.user, service.runs_podman)
        };
        for (text, expected) in [
            ("[Service]\nUser=alice\nExecStart=/usr/bin/podman run x\n", ("alice", true)),
            ("[Service]\nUser = alice\nExecStart=-/usr/bin/env A=b \\\n  nvbind run x\n", ("alice", true)),
            ("[Unit]\nUser=alice\n[Service]\nExecStart=/usr/bin/podman-compose up\n", ("", false)),
            ("[Service]\nUser=alice\n#ExecStart=podman\nExecStart=/bin/true\n", ("alice", false)),
            ("[Service]\nUser=alice\nUser=\nExecStartPre=!podman pull x\n", ("", true)),
        ] {
            assert_eq!(read(text), (expected.0.to_owned(), expected.1), "{text}");
        }
    }
}
