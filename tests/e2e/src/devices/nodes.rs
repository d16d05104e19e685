//! Every device node of a machine with several GPUs, tried in containers that ask for some of them.

use crate::case::{CGROUP, Case, RUNTIME, WHO};
use crate::container::{GPU, run, then_remove};
use crate::devices::mig::MIG;
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::{Podman, User, said};
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("every-node", every_node).each(&[RUNTIME, WHO, CGROUP])];

/// A request, its device nodes beside those that any GPU brings, and its GPUs in procfs.
type Request = (&'static str, &'static [&'static str], &'static [&'static str]);

/// GPU 1 is divided: all of it is its MIG devices, which have no DRM nodes.
const REQUESTS: &[Request] = &[
    ("none", &[], &[]),
    ("0", &["/dev/nvidia2", "/dev/dri/card62", "/dev/dri/renderD193"], &["0000:01:00.0"]),
    ("2", &["/dev/nvidia1", "/dev/dri/card61", "/dev/dri/renderD191"], &["0000:c1:00.0"]),
    (
        "all",
        &[
            "/dev/nvidia0",
            "/dev/nvidia1",
            "/dev/nvidia2",
            "/dev/dri/card61",
            "/dev/dri/card62",
            "/dev/dri/renderD191",
            "/dev/dri/renderD193",
            "/dev/nvidia-caps/nvidia-cap12",
            "/dev/nvidia-caps/nvidia-cap13",
            "/dev/nvidia-caps/nvidia-cap14",
            "/dev/nvidia-caps/nvidia-cap84",
            "/dev/nvidia-caps/nvidia-cap85",
        ],
        &["0000:01:00.0", "0000:41:00.0", "0000:c1:00.0"],
    ),
];

/// What comes with any GPU.
const CONTROL: &[&str] =
    &["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];

/// Where the container has the host's `/dev` as a volume of the user's.
const VOLUME: &str = "/host";

fn every_node(_: &Lane, podman: Podman) -> Result<(), Ended> {
    use_driver(MIG)?;
    let try_all = || {
        let (nodes, links) = (find("c")?, find("l")?);
        REQUESTS.iter().try_for_each(|request| {
            then_remove(podman, || claim_has_these_alone(podman, request, &nodes, &links))
        })
    };
    let ended = try_all();
    use_driver(DRIVER)?;
    ended
}

/// What the driver's `/dev` has of one type: its nodes, or udev's links to them.
fn find(kind: &str) -> Result<Vec<String>, Ended> {
    let words = [&format!("{MIG}/dev"), "-type", kind, "-printf", "/dev/%P\\n"];
    Ok(said(Command::new("find").args(words))?.must()?.out.lines().map(str::to_owned).collect())
}

/// Fails the case unless the container has the request's nodes and nothing else of the driver's `/dev`. Where its
/// devices are filtered, those of the volume are forbidden but for the same.
fn claim_has_these_alone(
    podman: Podman,
    (name, own, gpus): &Request,
    nodes: &[String],
    links: &[String],
) -> Result<(), Ended> {
    let control = if own.is_empty() { &[] } else { CONTROL };
    let chosen: Vec<&str> = control.iter().chain(*own).copied().collect();
    // MIG devices have no DRM nodes.
    let linked: Vec<String> =
        gpus.iter().filter(|pci| **pci != DIVIDED).map(|pci| format!("/by-path/pci-{pci}-")).collect();
    let are_there = chosen.iter().all(|path| nodes.iter().any(|node| node == path));
    claim(are_there && !links.is_empty(), "the simulated driver has other nodes", || nodes.join("\n"))?;
    let filtered = podman.user == User::Root;
    let mut look = "nvbind-probe --library libc.so.6=ok".to_owned();
    for path in nodes.iter().chain(links) {
        // Links are named after the PCI address.
        let is_chosen = chosen.contains(&path.as_str()) || linked.iter().any(|name| path.contains(name));
        let (here, there) = if is_chosen { ("", "") } else { ("=ENOENT", "=EPERM") };
        look = format!("{look} --device {path}{here}");
        if filtered && nodes.contains(path) {
            look = format!("{look} --device {VOLUME}{}{there}", path.trim_start_matches("/dev"));
        }
    }
    let annotation = format!("io.nvbind.gpu={name}");
    let volume = format!("{MIG}/dev:{VOLUME}");
    let command = format!("{look} >&2 && if test -e {PROC}; then ls {PROC}; fi");
    let said = run(podman, GPU, &["--annotation", &annotation, "--volume", &volume], &command)?.must()?;
    let shown: Vec<&str> = said.out.lines().collect();
    claim(shown == *gpus, &format!("{name}: other GPUs in procfs"), || said.told())
}

/// The GPU with MIG devices.
const DIVIDED: &str = "0000:41:00.0";

const PROC: &str = "/proc/driver/nvidia/gpus";
