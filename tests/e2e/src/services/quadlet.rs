//! The example of a Quadlet, as systemd starts it.

use crate::case::{Case, QUADLET, RUNTIME, SYSTEMD, TRIXIE_PODMAN, WHO};
use crate::containers::cdi::with_specification;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User, as_user, said};
use crate::probe;
use crate::services::units;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_lanes::tree::{USER, USER_ID, write};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[EXAMPLE_RUNS, SERVICE, DEVICE];

pub(crate) const EXAMPLE_RUNS: Case = Case::new("quadlet", quadlet).each(&[WHO]).only(QUADLET);
pub(crate) const SERVICE: Case =
    Case::new("quadlet-service", lasting).each(&[RUNTIME, WHO]).only(&[&[TRIXIE_PODMAN, SYSTEMD]]).takes(3);

pub(crate) const DEVICE: Case =
    Case::new("quadlet-device", device).each(&[RUNTIME, WHO]).only(&[&[TRIXIE_PODMAN, SYSTEMD]]).takes(3);

/// Podman has it from 4.4 on.
pub(crate) const GENERATOR: &str = "/usr/lib/systemd/system-generators/podman-system-generator";

const EXAMPLE: &str = include_str!("../../../../packaging/quadlet/gpu.container");

/// The example's container has the GPUs, started at boot or by hand, again and again. Its runtime is podman's own.
fn quadlet(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let _has_quadlet = Path::new(GENERATOR).exists();
    let unit = EXAMPLE.replace("localhost/gpu-image", IMAGE).replace("io.nvbind.gpu=all", probe::GPU);
    // Lanes have no network for containers.
    let exec = format!("Network=none\nExec={}", probe::command(None));
    let unit = unit.replace("Exec=nvidia-smi", &exec);
    let folder = folder(podman.user);
    let path = folder.join("gpu.container");
    install(podman.user, &path, &unit)?;
    let ended = start(podman.user);
    fs::remove_file(&path).on("remove", &path)?;
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    ended
}

/// A server that is to run from the boot on, and again when it fails.
const LASTING: &str = "[Container]
Image=IMAGE
ContainerName=NAME
Annotation=io.nvbind.gpu=0
GlobalArgs=--runtime=RUNTIME
Network=none
StopTimeout=0
Exec=sleep 1000

[Service]
Restart=on-failure
RestartSec=100ms

[Install]
WantedBy=default.target
";
const LASTING_NAME: &str = "quadlet-gpu";

/// Such a server, with this runtime and name.
pub(crate) fn server(runtime: &str, name: &str) -> String {
    LASTING.replace("IMAGE", IMAGE).replace("RUNTIME", runtime).replace("NAME", name)
}

/// It is among what the boot starts, keeps its GPU when systemd reads its units anew, and has it after a failure, too.
fn lasting(_: &Lane, podman: Podman) -> Result<(), Ended> {
    lives(podman, &server(podman.runtime(), LASTING_NAME))
}

/// One that asks by a device of CDI does the same.
fn device(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let unit = server(podman.runtime(), LASTING_NAME);
    let unit = unit.replace("Annotation=io.nvbind.gpu=0", "AddDevice=nvidia.com/gpu=0");
    with_specification(|| lives(podman, &unit))
}

fn lives(podman: Podman, unit: &str) -> Result<(), Ended> {
    let folder = folder(podman.user);
    let path = folder.join("quadlet-gpu.container");
    install(podman.user, &path, unit)?;
    let ended = live(podman);
    let stopped = systemctl(podman.user, &["stop", "quadlet-gpu.service"]);
    fs::remove_file(&path).on("remove", &path)?;
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    ended?;
    stopped?.must().map(drop)
}

fn live(podman: Podman) -> Result<(), Ended> {
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    // As at the boot: the target is reached once more, with all that it wants.
    systemctl(podman.user, &["start", "default.target"])?.must()?;
    let first = running(podman, None)?;
    claim_sees(podman)?;
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    claim_sees(podman)?;
    podman.must(&["kill", LASTING_NAME])?;
    running(podman, Some(&first))?;
    claim_sees(podman)
}

fn claim_sees(podman: Podman) -> Result<(), Ended> {
    probe::claim_works(&podman.run(&["exec", LASTING_NAME, "sh", "-c", &probe::command(None)])?)
}

/// The id of the running container, once it is another one than `before`.
fn running(podman: Podman, before: Option<&str>) -> Result<String, Ended> {
    let told = |said: &Said| journal(podman.user, "quadlet-gpu.service", said);
    units::running(podman, LASTING_NAME, before, &told)
}

/// Where the user's Quadlets are.
pub(crate) fn folder(user: User) -> PathBuf {
    match user {
        User::Root => PathBuf::from("/etc/containers/systemd"),
        User::Rootless => PathBuf::from(format!("/home/{USER}/.config/containers/systemd")),
    }
}

/// Writes a unit of this user's, whose folders are below the home directory.
pub(crate) fn install(user: User, path: &Path, unit: &str) -> Result<(), Error> {
    write(path, unit)?;
    if user == User::Rootless {
        for own in path.ancestors().take(4) {
            chown(own, Some(USER_ID), Some(USER_ID)).on("give away", own)?;
        }
    }
    Ok(())
}

fn start(user: User) -> Result<(), Ended> {
    systemctl(user, &["daemon-reload"])?.must()?;
    for verb in ["start", "restart"] {
        let started = systemctl(user, &[verb, "gpu.service"])?;
        claim(started.code == 0, "the service did not start, or its container lacks a GPU", || {
            journal(user, "gpu.service", &started)
        })?;
    }
    systemctl(user, &["stop", "gpu.service"])?.must().map(drop)
}

pub(crate) fn systemctl(user: User, words: &[&str]) -> Result<Said, Error> {
    let mut command = Command::new("systemctl");
    if user == User::Rootless {
        command.arg("--user");
    }
    command.args(words);
    said(&mut as_user(user, command))
}

/// What is known of a service that did not start.
pub(crate) fn journal(user: User, unit: &str, started: &Said) -> String {
    let status = systemctl(user, &["status", "--full", "--lines=40", unit]);
    format!("{}\n{}", started.told(), status.map(|said| said.told()).unwrap_or_default())
}
