//! What a package manager can do about a program.

use super::{Fix, Machine};
use crate::version::Version;

/// A program that installs packages, its command for a new one, and the one for a newer one.
type Manager = (&'static str, &'static [&'static str], &'static [&'static str]);

const MANAGERS: &[Manager] = &[
    ("/usr/bin/apt-get", &["apt-get", "install"], &["apt-get", "install", "--only-upgrade"]),
    ("/usr/bin/dnf", &["dnf", "install"], &["dnf", "upgrade"]),
    ("/usr/bin/zypper", &["zypper", "install"], &["zypper", "update"]),
    ("/usr/bin/pacman", &["pacman", "-S"], &["pacman", "-Syu"]),
];

/// What releases stay with to their end, where it is old enough to matter: `ID` and `VERSION_ID` of os-release(5),
/// package, version (packages.debian.org, packages.ubuntu.com).
const FROZEN: &[(&str, &str, &str, Version)] = &[
    ("debian", "12", "podman", Version([4, 3, 1])),
    ("debian", "12", "crun", Version([1, 8, 1])),
    ("debian", "12", "runc", Version([1, 1, 5])),
    ("debian", "13", "podman", Version([5, 4, 2])),
    ("debian", "13", "crun", Version([1, 21, 0])),
    ("debian", "13", "runc", Version([1, 1, 15])),
    ("ubuntu", "22.04", "podman", Version([3, 4, 4])),
    ("ubuntu", "22.04", "crun", Version([0, 17, 0])),
    ("ubuntu", "24.04", "podman", Version([4, 9, 3])),
    ("ubuntu", "24.04", "crun", Version([1, 14, 1])),
];

/// The manager of this distribution.
fn manager(machine: &Machine) -> Option<&'static Manager> {
    MANAGERS.iter().find(|(path, ..)| machine.has(path))
}

/// Installs a package; none where nobody knows how.
pub(super) fn install(machine: &Machine, package: &str) -> Option<Fix> {
    let (_, command, _) = manager(machine)?;
    Some(Fix::as_root(machine, command.iter().copied().chain([package])))
}

/// Brings a package to this version at least; else why nothing does.
pub(super) fn upgrade(machine: &Machine, package: &str, to: Version) -> Result<Fix, String> {
    let release = machine.text("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let set = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        set.unwrap_or_default().trim_matches('"')
    };
    let (id, version_id) = (value("ID"), value("VERSION_ID"));
    let has = |row: &&(&str, &str, &str, Version)| (row.0, row.1, row.2) == (id, version_id, package);
    if let Some((.., version)) = FROZEN.iter().find(has).filter(|row| row.3 < to) {
        return Err(format!("{} has {package} {version} and gets no newer one", value("PRETTY_NAME")));
    }
    let (_, _, command) = manager(machine).ok_or_else(|| format!("install {package} {to} or newer"))?;
    Ok(Fix::as_root(machine, command.iter().copied().chain([package])))
}
