//! What a rootless container needs beyond the driver.

use super::{Facts, Finding, Fix, Machine};

const ROOTFUL: &str = "for rootless containers only";

/// The length of a range of ids that suits every image.
const IDS: u32 = 65536;

/// The first that `useradd` gives (`SUB_UID_MIN`, login.defs(5)).
const FIRST_ID: u32 = 100_000;

pub(super) fn subids(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.user.is_root() {
        return Finding::skipped(ROOTFUL);
    }
    let switch = machine.text("/etc/nsswitch.conf").unwrap_or_default();
    if switch.lines().any(|line| line.trim_start().starts_with("subid:")) {
        return Finding::skipped("the name service has them (/etc/nsswitch.conf)");
    }
    for (file, option) in [("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")] {
        let ranges = machine.text(file).unwrap_or_default();
        if !ranges.lines().any(|line| is_of(line, machine)) {
            let first = ranges.lines().filter_map(end).fold(FIRST_ID, u32::max);
            let last = first.saturating_add(IDS - 1);
            return Finding::fail(
                format!(
                    "{file} has no range for {}: images with more than one user cannot be unpacked",
                    machine.name
                ),
                Fix::as_root(machine, ["usermod", option, &format!("{first}-{last}"), &machine.name]),
            );
        }
    }
    Finding::ok(format!("{} has ranges in /etc/subuid and /etc/subgid", machine.name))
}

/// Whether a line `USER:FIRST:COUNT` (subuid(5)) is this user's, by name or number.
fn is_of(line: &str, machine: &Machine) -> bool {
    let owner = line.split(':').next().unwrap_or_default();
    owner == machine.name || owner == machine.user.uid.to_string()
}

/// The first id after the range.
fn end(line: &str) -> Option<u32> {
    let mut parts = line.split(':').skip(1).map(|part| part.parse::<u32>().ok());
    parts.next()??.checked_add(parts.next()??)
}

/// Whether systemd keeps a user's services without a session of that user.
pub(super) fn lingers(machine: &Machine, user: &str) -> bool {
    machine.has(&format!("/var/lib/systemd/linger/{user}"))
}

/// Has it do so: everything of that user's then starts at boot, so this is theirs to decide.
pub(super) fn enable_linger(machine: &Machine, user: &str) -> Fix {
    Fix::as_root(machine, ["loginctl", "enable-linger", user])
}

pub(super) fn linger(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.user.is_root() {
        Finding::skipped(ROOTFUL)
    } else if !machine.has("/run/systemd/system") {
        Finding::skipped("there is no systemd")
    } else if lingers(machine, &machine.name) {
        Finding::ok("they do")
    } else {
        Finding::warn(
            format!("the containers of {} end with the last session", machine.name),
            enable_linger(machine, &machine.name),
        )
    }
}

pub(super) fn cgroup(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.has("/sys/fs/cgroup/cgroup.controllers") {
        Finding::ok("version 2")
    } else if machine.user.is_root() {
        Finding::ok("version 1")
    } else {
        // Other boot loaders have no such command.
        let has_grubby = ["/usr/sbin/grubby", "/usr/bin/grubby"].iter().any(|path| machine.has(path));
        let command = ["grubby", "--update-kernel=ALL", "--args=systemd.unified_cgroup_hierarchy=1"];
        Finding::warn(
            "version 1: rootless containers have no limits of memory and CPU; boot with systemd.unified_cgroup_hierarchy=1",
            has_grubby.then(|| Fix::as_root(machine, command)),
        )
    }
}
