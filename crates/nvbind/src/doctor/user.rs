//! What a rootless container needs beyond the driver.

use super::{Facts, Finding, Machine};

const ROOTFUL: &str = "for rootless containers only";

/// The length of a range of ids that suits every image.
const IDS: u32 = 65536;

/// The first that `useradd` gives (`SUB_UID_MIN`, login.defs(5)).
const FIRST_ID: u32 = 100_000;

pub(super) fn subids(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.is_root() {
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
                    machine.user
                ),
                machine.as_root(&format!("usermod {option} {first}-{last} {}", machine.user)),
            );
        }
    }
    Finding::ok(format!("{} has ranges in /etc/subuid and /etc/subgid", machine.user))
}

/// Whether a line `USER:FIRST:COUNT` (subuid(5)) is this user's, by name or number.
fn is_of(line: &str, machine: &Machine) -> bool {
    let owner = line.split(':').next().unwrap_or_default();
    owner == machine.user || owner == machine.uid.to_string()
}

/// The first id after the range.
fn end(line: &str) -> Option<u32> {
    let mut parts = line.split(':').skip(1).map(|part| part.parse::<u32>().ok());
    parts.next()??.checked_add(parts.next()??)
}

pub(super) fn linger(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.is_root() {
        Finding::skipped(ROOTFUL)
    } else if !machine.has("/run/systemd/system") {
        Finding::skipped("there is no systemd")
    } else if machine.has(&format!("/var/lib/systemd/linger/{}", machine.user)) {
        Finding::ok("they do")
    } else {
        Finding::warn(
            format!("the containers of {} end with the last session", machine.user),
            machine.as_root(&format!("loginctl enable-linger {}", machine.user)),
        )
    }
}

pub(super) fn cgroup(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.has("/sys/fs/cgroup/cgroup.controllers") {
        Finding::ok("version 2")
    } else if machine.is_root() {
        Finding::ok("version 1")
    } else {
        Finding::warn(
            "version 1: rootless containers have no limits of memory and CPU",
            machine.as_root("grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1"),
        )
    }
}

/// Rootless the nodes are bind mounts and keep the host's label, `xserver_misc_device_t`. Either boolean allows that
/// (container-selinux, container.te).
pub(super) fn selinux(facts: &Facts<'_>) -> Finding {
    const BOOLEANS: &[&str] = &["container_use_devices", "container_use_xserver_devices"];
    let machine = facts.machine;
    if machine.text("/sys/fs/selinux/enforce").as_deref() != Some("1") {
        return Finding::skipped("SELinux does not enforce");
    }
    if machine.is_root() {
        return Finding::skipped("the nodes of rootful containers are made inside and have their label");
    }
    // The value now, and the one after a commit.
    let is_on = |name: &&&str| {
        machine.text(&format!("/sys/fs/selinux/booleans/{name}")).is_some_and(|text| text.starts_with('1'))
    };
    match BOOLEANS.iter().find(is_on) {
        Some(name) => Finding::ok(format!("{name} is on")),
        None => Finding::warn(
            "it enforces, and container_use_devices is off: programs in a container may be refused the GPU",
            machine.as_root("setsebool -P container_use_devices=true"),
        ),
    }
}
