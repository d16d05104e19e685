//! Device access over a container's life, and where it has no cgroup of its own.

use std::fs::OpenOptions;
use std::process::Command;

use super::Function;
use super::container::{self, ASK, GPU, claim_works_in, control, keep, then_remove};
use super::ended::{Ended, claim};
use super::lane::Lane;
use super::podman::{Podman, User, said};
use super::probe;
use crate::lanes::spec::Init;

/// The cases, by name.
pub(crate) const CASES: &[(&str, Function)] =
    &[("cgroups-disabled", disabled), ("daemon-reload", daemon_reload), ("cgroupfs-manager", cgroupfs)];

/// A container that shares its caller's cgroup: the GPU works, and nothing is done to that cgroup.
fn disabled(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let options = ["--cgroups=disabled"];
    then_remove(podman, || {
        control(podman, &options, "true")?;
        let before = open_unasked();
        let all: Vec<&str> = ASK.iter().chain(&options).copied().collect();
        let said = container::run(podman, GPU, &all, &probe::command(None))?;
        let after = open_unasked();
        claim(before == after, "the caller's own device access changed", || {
            format!("{before} then {after}")
        })?;
        probe::claim_works(&said)
    })
}

/// What opening the other GPU's node gives to a process outside any container.
fn open_unasked() -> String {
    let node = probe::UNASKED.split(':').next().unwrap_or_default();
    format!("{:?}", OpenOptions::new().read(true).write(true).open(node).err())
}

/// systemd writes its units' device rules anew at every reload.
fn daemon_reload(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    if lane.spec.init != Init::Systemd {
        return Err(Ended::Skipped("no systemd in this lane".into()));
    }
    let filtered = podman.user == User::Root;
    then_remove(podman, || {
        let volume = ["--volume", probe::UNASKED];
        keep(podman, if filtered { &volume } else { &[] })?;
        let unasked = filtered.then_some("EPERM");
        claim_works_in(podman, &[], unasked)?;
        for _ in 0..2 {
            said(Command::new("systemctl").arg("daemon-reload"))?.must()?;
            claim_works_in(podman, &[], unasked)?;
        }
        Ok(())
    })
}

/// The other cgroup manager, in a lane whose own is systemd.
fn cgroupfs(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    if lane.spec.init != Init::Systemd {
        return Err(Ended::Skipped("cgroupfs is this lane's own manager".into()));
    }
    let podman = Podman { manager: Some("cgroupfs"), ..podman };
    then_remove(podman, || {
        control(podman, &[], "true")?;
        let filtered = podman.user == User::Root;
        let volume = ["--volume", probe::UNASKED];
        let all: Vec<&str> = ASK.iter().chain(if filtered { &volume[..] } else { &[] }).copied().collect();
        let look = probe::command(filtered.then_some("EPERM"));
        probe::claim_works(&container::run(podman, GPU, &all, &look)?)
    })
}
