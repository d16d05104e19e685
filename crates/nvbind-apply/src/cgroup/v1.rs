//! The devices controller of cgroup v1: a list of rules in a file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use super::DeviceNumber;

/// Adds the devices to the cgroup's list. Each rule is a write of its own (kernel, cgroup-v1/devices.rst).
pub(super) fn allow(cgroup: &Path, devices: &[DeviceNumber]) -> io::Result<()> {
    let mut list = OpenOptions::new().write(true).open(cgroup.join("devices.allow"))?;
    devices.iter().try_for_each(|device| list.write_all(format!("c {device} rwm").as_bytes()))
}
