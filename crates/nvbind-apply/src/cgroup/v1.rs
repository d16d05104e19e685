//! The devices controller of cgroup v1: a list of rules in a file.

use super::{DeviceNumber, Error};
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

/// Sees that the cgroup lets the devices through, where its list is not ours to change.
pub(super) fn check(cgroup: &Path, devices: &[DeviceNumber]) -> Result<(), Error> {
    let list = rules(cgroup).map_err(|source| Error::Read { path: cgroup.join("devices.list"), source })?;
    match devices.iter().find(|device| !list.lines().any(|rule| is_for(rule, **device))) {
        Some(device) => Err(Error::Around { path: cgroup.to_owned(), device: *device }),
        None => Ok(()),
    }
}

/// Whether a rule, such as `a *:* rwm` or `c 195:* rw`, lets a character device be read and written.
fn is_for(rule: &str, device: DeviceNumber) -> bool {
    let mut fields = rule.split([' ', ':']);
    let mut is = |what: &dyn Fn(&str) -> bool| fields.next().is_some_and(what);
    let is_number = |number: u32| move |field: &str| field == "*" || field.parse() == Ok(number);
    is(&|kind| kind == "a" || kind == "c")
        && is(&is_number(device.major))
        && is(&is_number(device.minor))
        && is(&|access| access.contains('r') && access.contains('w'))
}

/// Adds the rules of an earlier list that the cgroup's has lost.
pub(super) fn restore(cgroup: &Path, earlier: &str) -> io::Result<()> {
    let now = rules(cgroup)?;
    let mut list = OpenOptions::new().write(true).open(cgroup.join("devices.allow"))?;
    let mut lost = earlier.lines().filter(|rule| !now.lines().any(|other| other == *rule));
    lost.try_for_each(|rule| list.write_all(rule.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A directory in a cgroup's place, with this list; what was written to `devices.allow` stands in one line.
    fn cgroup(list: &str) -> TempDir {
        let cgroup = tempfile::tempdir().unwrap();
        fs::write(cgroup.path().join("devices.list"), list).unwrap();
        fs::write(cgroup.path().join("devices.allow"), "").unwrap();
        cgroup
    }

    fn written(cgroup: &TempDir) -> String {
        fs::read_to_string(cgroup.path().join("devices.allow")).unwrap()
    }

    #[test]
    fn each_device_is_a_rule_of_its_own() {
        let devices = [(195, 255), (511, 0)].map(|(major, minor)| DeviceNumber { major, minor });
        let cgroup = cgroup("");
        allow(cgroup.path(), &devices).unwrap();
        assert_eq!(written(&cgroup), "c 195:255 rwmc 511:0 rwm");
    }

    #[test]
    fn a_list_that_is_not_ours_has_to_have_a_rule_for_each_device() {
        let devices = [(195, 255), (511, 0)].map(|(major, minor)| DeviceNumber { major, minor });
        for (list, denied) in [
            ("a *:* rwm\n", None),
            ("c 195:* rwm\nc 511:0 rw\n", None),
            ("c *:* m\nb *:* m\nc 195:* rwm\n", Some("511:0")),
            ("c 195:0 rwm\nc 511:* rwm\n", Some("195:255")),
            ("b 195:* rwm\nc 511:* r\n", Some("195:255")),
            ("", Some("195:255")),
        ] {
            let cgroup = cgroup(list);
            let error = check(cgroup.path(), &devices).err().map(|error| error.to_string());
            let is_named =
                error.as_ref().is_some_and(|error| denied.is_some_and(|denied| error.contains(denied)));
            assert_eq!(
                (error.is_some(), is_named),
                (denied.is_some(), denied.is_some()),
                "{list}: {error:?}"
            );
        }
    }

    #[test]
    fn rules_that_were_lost_are_written_again_and_no_others() {
        let cgroup = cgroup("c 1:3 rwm\nc 5:0 rwm\n");
        restore(cgroup.path(), "c 1:3 rwm\nc 136:* rwm\nc 10:229 rwm\nc 5:0 rwm\n").unwrap();
        assert_eq!(written(&cgroup), "c 136:* rwmc 10:229 rwm");
    }
}
