//! The boot of a machine whose driver is simulated: nvbind is installed and `nvbind-devices.service` enabled, and
//! containers with GPUs are among what the boot starts.

use crate::case::{Case, ROOTFUL};
use crate::devices::boot::{MISSING, MODPROBE, SIMULATED};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::machine::selinux;
use crate::podman::{IMAGE, Podman, User, said};
use crate::probe;
use crate::services::quadlet::{journal, server, systemctl};
use crate::services::units::running;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process::read;
use nvbind_lanes::spec::{PAYLOAD, Security};
use nvbind_lanes::tree::{USER_ID, write};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(super) const CASES: &[Case] =
    &[Case::new("nodes-at-boot", nodes).only(&[&[ROOTFUL]]), Case::new("quadlet-at-boot", quadlet)];

/// What makes the nodes.
const UNIT: &str = "nvbind-devices.service";

/// The container that the boot starts.
const NAME: &str = "at-boot";

/// What makes the image, for the system and for the user: nothing can be downloaded.
const IMAGE_UNIT: &str = "lane-image.service";

/// The nodes of DRM, which the kernel itself would make.
const DRM: &str = "d /dev/dri 0755 root root
c /dev/dri/card51 0666 root root - 226:51
c /dev/dri/card53 0666 root root - 226:53
c /dev/dri/renderD181 0666 root root - 226:181
c /dev/dri/renderD183 0666 root root - 226:183
";

/// Unlike in other lanes, nodes are those of the machine's own `/dev`. Its `/proc` has to stay as it is: with anything
/// mounted below it, no other can be mounted in a user namespace.
const CONTAINERS: &str = "[driver]
root = \"/opt/driver\"
sys_root = \"/opt/driver\"
proc_root = \"/opt/driver\"
";

/// Where the driver is the machine's own in `/proc`, too: this and the simulated driver's part of `/proc`, each with
/// its place.
pub(super) const AS_MACHINE: &[(&str, &str)] = &[
    ("/etc/nvbind/machine.toml", "/etc/nvbind/config.toml"),
    ("/opt/driver/proc/driver", "/proc/driver"),
    ("/opt/driver/proc/devices", "/proc/devices"),
];
const MACHINE: &str = "[driver]\nroot = \"/opt/driver\"\nsys_root = \"/opt/driver\"\n";

/// Shows it to the unit that makes the nodes.
fn drop_in() -> String {
    let binds: String =
        AS_MACHINE.iter().map(|(source, at)| format!("BindReadOnlyPaths={source}:{at}\n")).collect();
    format!("[Service]\n{binds}")
}

/// Makes a machine's disk ready for its boot.
pub fn before_boot(root: &Path, security: Security) -> Result<()> {
    let at = |path: &str| root.join(path);
    write(&at("etc/tmpfiles.d/simulated-drm.conf"), DRM)?;
    write(&at(MODPROBE), SIMULATED)?;
    fs::set_permissions(at(MODPROBE), Permissions::from_mode(0o755)).on("allow to run", &at(MODPROBE))?;
    write(&at("etc/nvbind/config.toml"), CONTAINERS)?;
    write(&at("etc/nvbind/machine.toml"), MACHINE)?;
    write(&at(&format!("etc/systemd/system/{UNIT}.d/simulated-driver.conf")), &drop_in())?;
    let import = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/podman import {PAYLOAD}/image.tar {IMAGE}\n"
    );
    let container = format!("[Unit]\nRequires={IMAGE_UNIT}\nAfter={IMAGE_UNIT}\n\n{}", server("crun", NAME));
    // SELinux refuses the host's nodes to a rootless container of another type. Without SELinux the key means nothing.
    let labelled = container.replace("[Container]\n", "[Container]\nSecurityLabelType=nvbind_container_t\n");
    let users = format!("systemd/users/{USER_ID}");
    for (units, quadlets, container) in [("system", "systemd", container), ("user", &users, labelled)] {
        write(&at(&format!("etc/systemd/{units}/{IMAGE_UNIT}")), &import)?;
        write(&at(&format!("etc/containers/{quadlets}/{NAME}.container")), &container)?;
    }
    for words in [&[&format!("{PAYLOAD}/bin/nvbind"), "setup"][..], &["systemctl", "enable", UNIT]] {
        read(Command::new("chroot").arg(root).args(words))?;
    }
    match security {
        Security::AppArmor => Ok(()),
        Security::SeLinux => selinux::before_boot(root),
    }
}

/// Waits until both users have the image.
pub(crate) fn await_boot() -> Result<()> {
    for user in [User::Root, User::Rootless] {
        let started = systemctl(user, &["start", IMAGE_UNIT])?;
        if started.code != 0 {
            return Err(Error::failed(journal(user, IMAGE_UNIT, &started)));
        }
    }
    Ok(())
}

/// The unit made all nodes, and that before the user's own services were started.
fn nodes(_: &Lane, _: Podman) -> std::result::Result<(), Ended> {
    let told = said(Command::new("journalctl").args(["--output=cat", "--unit", UNIT]))?.must()?;
    for node in MISSING {
        claim(told.out.contains(&format!("made {node}\n")), &format!("{node} was not made at boot"), || {
            told.told()
        })?;
    }
    let made = moment(UNIT, "ExecMainExitTimestampMonotonic")?;
    let users = moment(&format!("user@{USER_ID}.service"), "ExecMainStartTimestampMonotonic")?;
    claim(0 < made && made < users, "users' services were started first", || format!("{made} {users}"))
}

/// A moment in the life of a unit, in microseconds since the boot.
fn moment(unit: &str, property: &str) -> std::result::Result<u64, Ended> {
    let shown =
        said(Command::new("systemctl").args(["show", "--value", "--property", property, unit]))?.must()?;
    let moment = shown.out.trim().parse().ok();
    moment.ok_or_else(|| shown.failed(format!("{unit} has no {property}")))
}

/// The container that the boot started has its GPU.
fn quadlet(_: &Lane, podman: Podman) -> std::result::Result<(), Ended> {
    let unit = format!("{NAME}.service");
    let ended = has_gpu(podman, &unit);
    systemctl(podman.user, &["stop", &unit])?.must()?;
    ended
}

fn has_gpu(podman: Podman, unit: &str) -> std::result::Result<(), Ended> {
    running(podman, NAME, None, &|said| journal(podman.user, unit, said))?;
    probe::claim_works(&podman.run(&["exec", NAME, "sh", "-c", &probe::command(None)])?)
}
