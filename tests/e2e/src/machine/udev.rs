//! The rule of udev that has the driver's nodes made when its module comes.

use crate::case::Case;
use crate::devices::boot::MISSING;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, said};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The cases, by name.
pub(super) const CASES: &[Case] = &[Case::new("udev-rule/simulated-module", rule)];

/// The rule as it is packaged, and its modules.
const RULE: &str = include_str!("../../../../packaging/udev/71-nvbind.rules");
const MODULES: &str = "nvidia|nvidia_uvm";

/// A module of the kernel's that nothing has loaded, in the driver's place: there is none of those here.
const MODULE: &str = "dummy";

const FILE: &str = "/etc/udev/rules.d/72-simulated-module.rules";

/// How long udev, systemd and the unit may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes are gone; the event of the module starts the unit, and they are there again. And once more, as when the
/// driver is unloaded for an upgrade.
fn rule(_: &Lane, _: Podman) -> Result<(), Ended> {
    claim(RULE.contains(MODULES), "the rule is for other modules", || RULE.to_owned())?;
    write(Path::new(FILE), &RULE.replace(MODULES, MODULE))?;
    let ended = udevadm(&["control", "--reload"]).and_then(|()| comes().and_then(|()| comes()));
    fs::remove_file(FILE).on("remove", Path::new(FILE))?;
    udevadm(&["control", "--reload"])?;
    ended
}

fn comes() -> Result<(), Ended> {
    for node in MISSING {
        fs::remove_file(node).on("remove", Path::new(node))?;
    }
    said(Command::new("modprobe").arg(MODULE))?.must()?;
    let since = Instant::now();
    let all_there = || MISSING.iter().all(|node| Path::new(node).exists());
    while !all_there() && since.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200));
    }
    said(Command::new("modprobe").args(["--remove", MODULE]))?.must()?;
    claim(all_there(), "the module's event does not have the nodes made", || {
        let state = said(Command::new("systemctl").args(["status", "nvbind-devices.service"]));
        state.map(|said| said.told()).unwrap_or_default()
    })
}

fn udevadm(words: &[&str]) -> Result<(), Ended> {
    said(Command::new("udevadm").args(words))?.must().map(drop)
}
