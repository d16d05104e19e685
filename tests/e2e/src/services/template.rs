//! `nvbind@.service`, as `nvbind setup` has installed it: an instance is a file, and a container.

use crate::case::{Case, RELEASE, SYSTEMD, WHO};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User, as_user, said};
use crate::probe;
use crate::services::quadlet::{install, systemctl};
use crate::services::units;
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::USER;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("service-template", lasting).each(&[WHO, RELEASE]).only(&[&[SYSTEMD]]).takes(5),
    Case::new("service-template-refused", refused).each(&[WHO, RELEASE]).only(&[&[SYSTEMD]]).takes(3),
];

/// The instance, and so its container.
const NAME: &str = "gpu-server";
const UNIT: &str = "nvbind@gpu-server.service";

/// Lanes have no network for containers; the init ends `sleep` when it is asked to.
const FILE: &str = r#"# A server.
RUN=--runtime=RUNTIME --gpu 0 --network=none --init --env PASSED \
  --env "TRICK=two  words; 100% $HOME" \
  IMAGE sleep 1000
PASSED="by the service"
"#;

/// What the container has of that, beside the GPU.
const LOOK: &str = r#"test "$TRICK" = 'two  words; 100% $HOME' && test "$PASSED" = 'by the service'"#;

/// Ten seconds would pass at every restart of the instance that lasts.
const FASTER: &str = "[Service]\nRestartSec=100ms\n";

/// Enabled, it is among what the boot starts, and keeps its GPU until it is stopped.
fn lasting(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with(podman, NAME, FILE, || {
        claim_verified(podman.user)?;
        systemctl(podman.user, &["enable", UNIT])?.must()?;
        let ended = live(podman);
        systemctl(podman.user, &["disable", UNIT])?.must()?;
        ended
    })
}

fn live(podman: Podman) -> Result<(), Ended> {
    // As at the boot: the target is reached once more, with all that it wants.
    systemctl(podman.user, &["start", "default.target"])?.must()?;
    let started = systemctl(podman.user, &["start", UNIT])?;
    claim(started.code == 0, "the service did not start", || told(&started))?;
    let shown = systemctl(podman.user, &["show", "--property=ActiveState,MainPID", UNIT])?;
    let format = "--format=running={{.State.Running}} MainPID={{.State.ConmonPid}}";
    let inspected = podman.must(&["inspect", format, NAME])?;
    let conmon = inspected.out.trim().strip_prefix("running=true ").unwrap_or("no container");
    let is_conmon = shown.out.lines().any(|line| line == conmon) && shown.out.contains("ActiveState=active");
    claim(is_conmon, "the active service is not the running container's conmon", || {
        format!("{}{}", shown.told(), inspected.told())
    })?;

    let first = running(podman, None)?;
    claim_sees(podman)?;
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    claim_sees(podman)?;
    podman.must(&["kill", NAME])?;
    running(podman, Some(&first))?;
    claim_sees(podman)?;

    let stopped = systemctl(podman.user, &["stop", UNIT])?;
    claim(stopped.code == 0, "the service did not stop", || told(&stopped))?;
    let exists = podman.run(&["container", "exists", NAME])?;
    claim(exists.code == 1, "the service leaves its container behind", || exists.told())?;
    let state = systemctl(podman.user, &["show", "--property=ActiveState", UNIT])?;
    claim(state.out.trim() == "ActiveState=inactive", "a stopped service counts as failed", || told(&state))
}

/// What is wrong with an instance is told where people look.
fn refused(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let file = folder(podman.user).join("gpu-nowhere.env");
    with(podman, "gpu-wrong", "RUN=--gpu 7 --network=none IMAGE true\n", || {
        claim_refused(podman, "gpu-wrong", "nvbind: there is no GPU 7; this machine has 0 (GPU-")?;
        let missing = format!("grep: {}: No such file or directory", file.display());
        claim_refused(podman, "gpu-nowhere", &missing)
    })?;
    with(podman, "gpu-empty", "# Nothing yet.\n", || {
        claim_refused(podman, "gpu-empty", "ExecStartPre=/bin/grep --quiet ^RUN= /")
    })
}

/// The reason is in its status, whose last lines are the journal's.
fn claim_refused(podman: Podman, name: &str, reason: &str) -> Result<(), Ended> {
    let unit = format!("nvbind@{name}.service");
    let before = journal();
    let started = systemctl(podman.user, &["start", &unit])?;
    let status = systemctl(podman.user, &["status", "--full", &unit])?;
    let after = journal();
    let since = after.strip_prefix(&before).unwrap_or_default();
    let known = format!("{}{}{since}", started.told(), status.told());
    let holds = started.code != 0 && known.contains(reason);
    let ended = claim(holds, "the instance starts, or its fault is not told", || known);
    systemctl(podman.user, &["stop", &unit])?.must()?;
    let exists = podman.run(&["container", "exists", name])?;
    ended?;
    claim(exists.code == 1, "the service leaves its container behind", || exists.told())
}

/// Runs the body while an instance has this file.
fn with(
    podman: Podman,
    name: &str,
    text: &str,
    body: impl FnOnce() -> Result<(), Ended>,
) -> Result<(), Ended> {
    let path = folder(podman.user).join(format!("{name}.env"));
    install(podman.user, &path, &text.replace("RUNTIME", podman.runtime()).replace("IMAGE", IMAGE))?;
    let drop_in = units(podman.user).join(format!("{UNIT}.d"));
    install(podman.user, &drop_in.join("faster.conf"), FASTER)?;
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    let ended = body();
    let unit = format!("nvbind@{name}.service");
    let stopped = systemctl(podman.user, &["stop", &unit])?;
    // It is not known any more where it did not fail.
    systemctl(podman.user, &["reset-failed", &unit])?;
    fs::remove_file(&path).on("remove", &path)?;
    fs::remove_dir_all(&drop_in).on("remove", &drop_in)?;
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    ended?;
    stopped.must().map(drop)
}

/// systemd has no complaint.
fn claim_verified(user: User) -> Result<(), Ended> {
    let (manager, folder) = match user {
        User::Root => ("--system", "system"),
        User::Rootless => ("--user", "user"),
    };
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args([manager, "--man=no", "verify"])
        .arg(format!("/usr/local/lib/systemd/{folder}/nvbind@.service"));
    let verified = said(&mut as_user(user, analyze))?;
    let holds = verified.code == 0 && !verified.err.contains("nvbind@");
    claim(holds, "systemd does not take it", || verified.told())
}

fn claim_sees(podman: Podman) -> Result<(), Ended> {
    let look = format!("{} && {LOOK}", probe::command(None));
    probe::claim_works(&podman.run(&["exec", NAME, "sh", "-c", &look])?)
}

/// The id of the running container, once it is another one than `before`.
fn running(podman: Podman, before: Option<&str>) -> Result<String, Ended> {
    units::running(podman, NAME, before, &told)
}

/// Where instances are described.
fn folder(user: User) -> PathBuf {
    match user {
        User::Root => PathBuf::from("/etc/nvbind/services"),
        User::Rootless => PathBuf::from(format!("/home/{USER}/.config/nvbind/services")),
    }
}

/// Where people change units.
fn units(user: User) -> PathBuf {
    match user {
        User::Root => PathBuf::from("/etc/systemd/system"),
        User::Rootless => PathBuf::from(format!("/home/{USER}/.config/systemd/user")),
    }
}

fn told(said: &Said) -> String {
    format!("{}\n{}", said.told(), journal())
}

/// What all services said: a lane's journal is not kept, so that only root may read it, and of a process that ended at
/// once it does not always know the service.
fn journal() -> String {
    let journal = Command::new("journalctl").arg("--no-pager").output();
    journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
