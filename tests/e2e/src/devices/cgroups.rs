//! Device access over a container's life, and where it has no cgroup of its own.

use crate::case::{
    CGROUP, CRUN, Case, NO_SYSTEMD, RELEASE, ROOTLESS, RUNC, RUNTIME, SYSTEMD, Skip, V1, V2, WHO, skip,
};
use crate::container;
use crate::container::{ASK, GPU, PLAIN, claim_works_in, control, keep, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, User, said};
use crate::probe;
use std::fs::OpenOptions;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("cgroups-disabled", disabled).each(&[RUNTIME, WHO, CGROUP]).may_skip(NO_CGROUPS),
    DAEMON_RELOAD,
    Case::new("cgroupfs-manager", cgroupfs).each(&[RUNTIME, WHO, RELEASE]).only(&[&[SYSTEMD]]),
    Case::new("pause", pause).each(&[RUNTIME, WHO, CGROUP]).may_skip(NO_FREEZER).takes(2),
];

/// Podman starts no such container with runc.
const NO_CGROUPS: &[Skip] = &[skip(&[&[RUNC]], "runc is not compatible with NoCgroups")];

/// A user's container has no cgroup on v1, and on v2 only where the user's systemd makes one.
const NO_FREEZER: &[Skip] = &[
    skip(&[&[ROOTLESS, V1]], "can not pause containers on rootless containers with cgroup V1"),
    skip(&[&[ROOTLESS, V2, NO_SYSTEMD, CRUN]], "cannot pause the container without a cgroup"),
    skip(&[&[ROOTLESS, V2, NO_SYSTEMD, RUNC]], "freezer not supported"),
];

pub(crate) const DAEMON_RELOAD: Case =
    Case::new("daemon-reload", daemon_reload).each(&[RUNTIME, WHO, RELEASE]).only(&[&[SYSTEMD]]).takes(3);

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

/// systemd makes its own filter of a scope's properties: at a reload or when it starts anew (older versions), and
/// whenever a device property of the scope is set. Afterwards the GPU still works, and the other one still does not.
fn daemon_reload(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let filtered = podman.user == User::Root;
    then_remove(podman, || {
        let volume = ["--volume", probe::UNASKED];
        keep(podman, if filtered { &volume } else { &[] })?;
        let unasked = filtered.then_some("EPERM");
        claim_works_in(podman, &[], unasked)?;
        let id = podman.must(&["inspect", "--format", "{{.Id}}", GPU])?.out;
        let scope = format!("libpod-{}.scope", id.trim());
        let set = ["set-property", "--runtime", &scope, "DeviceAllow=/dev/null rwm"];
        for words in [&["daemon-reload"][..], &["daemon-reexec"], &set, &["daemon-reload"]] {
            if filtered || words.len() == 1 {
                said(Command::new("systemctl").args(words))?.must()?;
                claim_works_in(podman, &[], unasked)?;
            }
        }
        Ok(())
    })
}

/// The other cgroup manager, in a lane whose own is systemd.
fn cgroupfs(_: &Lane, podman: Podman) -> Result<(), Ended> {
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

/// A container that was frozen has the GPU afterwards as before, and nothing of the other one. Where podman cannot
/// freeze a container without a GPU, it says why.
fn pause(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let filtered = podman.user == User::Root;
    let unasked = filtered.then_some("EPERM");
    let volume = ["--volume", probe::UNASKED];
    then_remove(podman, || {
        container::run(podman, PLAIN, &["--detach", "--stop-timeout=0"], "sleep 1000")?.must()?;
        let frozen = podman.run(&["pause", PLAIN])?;
        if frozen.code != 0 {
            // Where it is the runtime that refuses, its reason comes before podman's last words, and after its
            // warnings.
            let reason = frozen.err.lines().find(|line| !line.contains("level=warning"));
            return Err(Ended::Skipped(reason.unwrap_or_default().to_owned()));
        }
        podman.must(&["unpause", PLAIN])?;
        keep(podman, if filtered { &volume } else { &[] })?;
        claim_works_in(podman, &[], unasked)?;
        podman.must(&["pause", GPU])?;
        podman.must(&["unpause", GPU])?;
        claim_works_in(podman, &[], unasked)
    })
}
