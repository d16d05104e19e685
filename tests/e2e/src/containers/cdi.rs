//! GPUs as devices of the Container Device Interface, by nvbind's specification.

use super::refusals::refused;
use super::visible_devices::look;
use crate::case::{Case, QUADLET, RELEASE, RUNTIME, WHO};
use crate::command_line::shim::{LIMIT, nvbind};
use crate::compose::Service;
use crate::container::{ASK, GPU, PLAIN, claim_works_in, run, then_remove};
use crate::drivers::upgrade;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, User, said};
use crate::probe::{self, BOTH};
use nvbind_fixtures::error::Doing;
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::write;
use std::fs;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("cdi", devices).each(&[RUNTIME, WHO, RELEASE]).takes(4),
    Case::new("cdi-life", life).each(&[RUNTIME, WHO, RELEASE]).takes(6),
    Case::new("cdi-doors", doors).each(&[WHO]).only(QUADLET).takes(10),
];

/// The device that most containers of these cases ask for.
const DEVICE: &str = "--device=nvidia.com/gpu=0";

/// Gives every container a device.
const DEFAULT: &str = "/etc/containers/containers.conf.d/cdi-case.conf";

/// Runs the body while nvbind's specifications are installed.
pub(crate) fn with_specification(body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    nvbind(User::Root, &["setup", "--cdi"])?.must()?;
    let ended = body();
    nvbind(User::Root, &["cdi", "remove"])?.must()?;
    ended
}

/// A device, several, a device beside the annotation, and the other kind give the GPU that is named; one that is not
/// there is refused.
fn devices(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_specification(|| {
        nvbind(User::Root, &["cdi", "check"])?.must()?;
        let look = probe::command(None);
        for options in [
            &["--device=nvidia.com/gpu=0"][..],
            &["--device=nvbind.io/gpu=0"],
            &["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=none"],
            &["--device=nvidia.com/gpu=0", ASK[0], ASK[1]],
            &["--device=nvidia.com/gpu=0", "--device=nvbind.io/gpu=0"],
        ] {
            then_remove(podman, || probe::claim_works(&run(podman, GPU, options, &look)?))?;
        }
        refused(podman, &["--device=nvidia.com/gpu=7"], &[3], "there is no GPU 7")
    })
}

/// The device stays with the container: stopped and started, and started again.
fn life(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_specification(|| {
        then_remove(podman, || {
            run(podman, GPU, &["--detach", "--stop-timeout=0", DEVICE], "sleep 1000")?.must()?;
            claim_works_in(podman, &[], None)?;
            podman.must(&["stop", "--time=0", GPU])?;
            podman.must(&["start", GPU])?;
            claim_works_in(podman, &[], None)?;
            podman.must(&["restart", "--time=0", GPU])?;
            claim_works_in(podman, &[], None)
        })
    })
}

/// Podman's other ways to a device: its own `--gpus`, a setting, its service, and a step of a build.
fn doors(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_specification(|| {
        then_remove(podman, || probe::claim_works(&run(podman, GPU, &["--gpus=all"], BOTH)?))?;
        then_remove(podman, || probe::claim_works(&run(podman, GPU, &["--gpus=0"], &look())?))?;
        write(Path::new(DEFAULT), "[containers]\ndevices = [\"nvidia.com/gpu=0\"]\n")?;
        // Podman adds the device twice: the second start of the hook finds the view of the first.
        let ended = then_remove(podman, || probe::claim_works(&run(podman, GPU, &[], &look())?));
        fs::remove_file(DEFAULT).on("remove", Path::new(DEFAULT))?;
        ended?;
        clones(podman)?;
        by_service(podman)?;
        step_of_build(podman)
    })
}

/// Podman copies neither the device nor the annotation into a clone, which has no GPU: the guide says so.
fn clones(podman: Podman) -> Result<(), Ended> {
    // Nor `--network=none`: the copy has a pod's network.
    podman.must(&["pod", "create", "--network=none", "--name=cdi-case"])?;
    let ended = [&ASK[..], &[DEVICE]].into_iter().try_for_each(|options| {
        then_remove(podman, || {
            run(podman, GPU, options, "test -e /dev/nvidia1")?.must()?;
            podman.must(&["container", "clone", "--pod=cdi-case", GPU, PLAIN])?;
            let started = podman.run(&["start", "--attach", PLAIN])?;
            claim(started.code == 1, "a copy has the device or the annotation", || started.told())?;
            let shown = podman.must(&["inspect", "--format={{.Config.Annotations}}", PLAIN])?;
            claim(!shown.out.contains("io.nvbind"), "a copy has the annotation, and no GPU", || shown.told())
        })
    });
    podman.must(&["pod", "rm", "--force", "cdi-case"])?;
    ended
}

fn by_service(podman: Podman) -> Result<(), Ended> {
    let service = Service::start(podman)?;
    let mut remote = podman.started(limited(LIMIT, "podman"));
    remote.args(["--remote", &format!("--url=unix://{}", service.path), "run", "--rm", "--network=none"]);
    let ran = said(remote.args([DEVICE, IMAGE, "sh", "-c", &look()]));
    service.stop()?;
    probe::claim_works(&ran?)
}

/// A step has the GPU that is named, and the image nothing of it.
fn step_of_build(podman: Podman) -> Result<(), Ended> {
    let folder = Path::new("/tmp/cdi-build");
    let recipe = |step: &str| write(&folder.join("Containerfile"), &format!("FROM {IMAGE}\nRUN {step}\n"));
    recipe("test -e /dev/nvidia1 && test ! -e /dev/nvidia0 && test -e /dev/nvbind/lib64/libcuda.so.1")?;
    let path = folder.display().to_string();
    let words = ["build", "--no-cache", "--network=none", "--tag=localhost/cdi-build", DEVICE, &path];
    podman.must(&words)?;
    podman.must(&["rmi", "--force", "localhost/cdi-build"])?;
    recipe("sleep 0")?;
    let ended = upgrade::leaves_nothing(podman, folder, &[], &[DEVICE]);
    fs::remove_dir_all(folder).on("remove", folder)?;
    ended
}
