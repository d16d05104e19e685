//! The devices controller of cgroup v1: a list of rules in a file.

use super::DeviceNumber;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Adds the devices to the cgroup's list. Each rule is a write of its own (kernel, cgroup-v1/devices.rst).
pub(super) fn allow(cgroup: &Path, devices: &[DeviceNumber]) -> io::Result<()> {
    let mut list = OpenOptions::new().write(true).open(cgroup.join("devices.allow"))?;
    devices.iter().try_for_each(|device| list.write_all(format!("c {device} rwm").as_bytes()))
}

/// The cgroup's list, a rule a line.
pub(super) fn rules(cgroup: &Path) -> io::Result<String> {
    fs::read_to_string(cgroup.join("devices.list"))
}

/// Adds the rules of an earlier list that the cgroup's has lost.
pub(super) fn restore(cgroup: &Path, earlier: &str) -> io::Result<()> {
    let now = rules(cgroup)?;
    let mut list = OpenOptions::new().write(true).open(cgroup.join("devices.allow"))?;
    let mut lost = earlier.lines().filter(|rule| !now.lines().any(|other| other == *rule));
    lost.try_for_each(|rule| list.write_all(rule.as_bytes()))
}
