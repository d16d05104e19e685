//! MIG devices: by index and UUID, for which the hook asks a mock of NVML, and by instances.

use std::path::{Path, PathBuf};

use nvbind_fixtures::driver_sim::{DriverSim, Gpu, Mig};
use nvbind_fixtures::error::{Error, Result as Made};

use crate::case::{CGROUP, Case, RUNTIME, WHO};
use crate::container::{GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::Podman;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("mig", mig).each(&[RUNTIME, WHO, CGROUP])];

/// The place in a lane of the simulated driver whose GPU 1 is divided, and whose numbers of every kind disagree.
pub(crate) const MIG: &str = "/opt/mig-driver";

/// A mock of NVML, which knows the same GPUs.
const NVML: &str = include_str!("../../../../tests/nvml/mock.c");

/// Names of one MIG device: compute instance 1 in GPU instance 1.
const NAMES: [&str; 3] = ["1:2", "MIG-22222222", "MIG-GPU-bbbb0000/1/1"];

/// What the container has of the driver's nodes.
const NODES: [&str; 3] = ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap14"];

/// What it has not: the DRM nodes of the GPU, other GPUs, other instances, and the right to change them.
const ABSENT: [&str; 6] = [
    "/dev/dri/card63",
    "/dev/nvidia1",
    "/dev/nvidia2",
    "/dev/nvidia-caps/nvidia-cap13",
    "/dev/nvidia-caps/nvidia-cap84",
    "/dev/nvidia-caps/nvidia-cap1",
];

/// Makes the driver.
pub fn ensure(folder: &Path) -> Made<(PathBuf, PathBuf)> {
    let gpu = |pci: &str, minor, uuid: &str, (card, render), mig| Gpu {
        pci: pci.into(),
        minor,
        uuid: uuid.into(),
        card,
        render,
        mig,
    };
    let mig = [((1, 12), (0, 13)), ((1, 12), (1, 14)), ((9, 84), (0, 85))];
    let mig = mig.map(|(gpu_instance, compute_instance)| Mig { gpu_instance, compute_instance });
    let sim = DriverSim {
        gpus: vec![
            gpu("0000:01:00.0", 2, "GPU-aaaa0000-0000-0000-0000-000000000001", (62, 193), Vec::new()),
            gpu("0000:41:00.0", 0, "GPU-bbbb0000-0000-0000-0000-000000000002", (63, 192), mig.to_vec()),
            gpu("0000:c1:00.0", 1, "GPU-cccc0000-0000-0000-0000-000000000003", (61, 191), Vec::new()),
        ],
        nvml: Some(NVML.into()),
        ..DriverSim::default()
    };
    sim.ensure(folder).map_err(|error| Error::Fixture(Box::new(error)))?;
    Ok((folder.to_owned(), MIG.into()))
}

fn mig(_: &Lane, podman: Podman) -> Result<(), Ended> {
    use_driver(MIG)?;
    let ended = NAMES.iter().try_for_each(|name| then_remove(podman, || claim_has_one(podman, name)));
    use_driver(DRIVER)?;
    ended
}

/// Fails the case unless a container that asks for the MIG device has its nodes and its files in procfs, and no others.
fn claim_has_one(podman: Podman, name: &str) -> Result<(), Ended> {
    let nodes = NODES.iter().map(|path| format!(" --device {path}"));
    let absent = ABSENT.iter().map(|path| format!(" --device {path}=ENOENT"));
    let options: String = nodes.chain(absent).collect();
    let list = "cd /proc/driver/nvidia/capabilities && find . -type f | sort | tr '\\n' ' '";
    let command = format!("nvbind-probe --library libc.so.6=ok {options} >&2 && {list}");
    let ask = format!("io.nvbind.gpu={name}");
    let said = run(podman, GPU, &["--annotation", &ask], &command)?.must()?;
    let expected = "./gpu0/mig/gi1/access ./gpu0/mig/gi1/ci1/access ";
    claim(said.out == expected, &format!("{name}: other files in procfs"), || said.told())
}
