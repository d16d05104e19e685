//! NVIDIA's real user-space driver: all of it is in the plan, and in a container its own programs and libraries run.

use crate::case::{CRUN, Case, RELEASE, ROOTFUL, RUNTIME, WHO};
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::{Podman, said};
use nvbind_fixtures::driver_sim::TRIPLET;
use nvbind_fixtures::real_driver::{self, RealDriverError};
use nvbind_lanes::spec::PAYLOAD;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("real-driver/plan", plan).each(&[RELEASE]).only(&[&[CRUN, ROOTFUL]]),
    Case::new("real-driver/nvml", nvml).each(&[RELEASE]).only(&[&[CRUN, ROOTFUL]]),
    Case::new("real-driver/container", container).each(&[RUNTIME, WHO, RELEASE]).takes(2),
];

/// The real driver's place in a lane.
pub const REAL: &str = "/opt/real-driver";
/// The file of the payload that says why there is none.
pub const NO_REAL: &str = "no-real-driver";

/// What nvidia-smi says and returns where it finds its library, but no kernel driver.
const NO_KERNEL_DRIVER: (i32, &str) = (9, "couldn't communicate with the NVIDIA driver");

fn plan(_: &Lane, _: Podman) -> Result<(), Ended> {
    needs_driver()?;
    let words = ["plan", "--capabilities=all", "--json", "--driver-root", REAL];
    let said = said(Command::new(format!("{PAYLOAD}/bin/nvbind")).args(words))?.must()?;
    let plan = serde_json::from_str(&said.out)
        .map_err(|error| Ended::failed(format!("the plan is no JSON: {error}"), said.told()))?;
    let root = Path::new(REAL);
    let failed = |error: RealDriverError| Ended::failed(error.to_string(), format!("{error:?}"));
    let objects = real_driver::shared_objects(root).map_err(failed)?;
    let objects_32 = real_driver::shared_objects_32(root).map_err(failed)?;
    let data = real_driver::data_files(root).map_err(failed)?;
    let libraries = objects.iter().map(|(path, _)| path).chain(&objects_32);
    let mut differences = real_driver::differences(&plan, libraries.map(|path| path.as_path()));
    differences.extend(real_driver::data_differences(&plan, root, data.iter().map(|path| path.as_path())));
    claim(differences.is_empty(), &differences.join("; "), || said.told())
}

/// The real library is loaded, all functions are found in it, and its own words for a missing kernel module reach the
/// user.
fn nvml(_: &Lane, _: Podman) -> Result<(), Ended> {
    needs_driver()?;
    let script =
        "exec $1/bin/nvbind nvml --library $(find $2/usr/lib/$3 -name 'libnvidia-ml.so.[0-9]*.*' -type f)";
    let said = said(Command::new("sh").args(["-c", script, "sh", PAYLOAD, REAL, TRIPLET]))?;
    let words = "nvmlInit_v2 failed: NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded)";
    let as_known = said.code == 3 && said.err.contains(words);
    claim(as_known, "NVML does not say that it finds no driver", || said.told())
}

fn container(_: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_driver()?;
    use_driver(REAL)?;
    // The driver of bookworm registers the modeset node under another name than that of trixie.
    let ended = then_remove(podman, || {
        let smi = run(podman, GPU, &ASK, "nvidia-smi")?;
        let (code, words) = NO_KERNEL_DRIVER;
        let as_known = smi.code == code && smi.out.contains(words);
        claim(as_known, "nvidia-smi does not say that it finds no driver", || smi.told())?;
        podman.remove(&[GPU])?;
        let probe = run(podman, GPU, &ASK, "nvbind-probe --table")?;
        claim(probe.code == 0, "not all of the driver works in the container", || probe.told())?;
        podman.remove(&[GPU])?;
        let node = run(podman, GPU, &ASK, "nvbind-probe --device /dev/nvidia-modeset")?;
        claim(node.code == 0, "the modeset node is not usable in the container", || node.told())
    });
    use_driver(DRIVER)?;
    ended
}

/// Skips the case where the driver could not be had.
pub(crate) fn needs_driver() -> Result<(), Ended> {
    match fs::read_to_string(Path::new(PAYLOAD).join(NO_REAL)) {
        Ok(reason) => Err(Ended::Skipped(reason)),
        Err(_) => Ok(()),
    }
}
