//! The checks for real GPUs, with what they need and as they are run there: here with simulated drivers, and none.

use crate::case::{CRUN, Case, ROOTFUL, TRIXIE_PODMAN, V1, Where};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane};
use crate::podman::{Podman, Said, said};
use nvbind_fixtures::error::Doing;
use nvbind_fixtures::limits::limited;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("gpu-checks/no-gpu", no_gpu).only(GPU_CHECKS),
    Case::new("gpu-checks/no-cuda", no_cuda).only(GPU_CHECKS).takes(35),
    Case::new("gpu-checks/computing", all).only(GPU_CHECKS).takes(40),
];

/// One place: podman, crun and runc are those of the bundle.
const GPU_CHECKS: Where = &[&[TRIXIE_PODMAN, V1, CRUN, ROOTFUL]];

/// What is in the name of each of these cases.
pub const NAME: &str = "/gpu-checks/";

/// Where the bundle is unpacked: its programs name their loader and their libraries by this path, and `tests/gpu` its
/// files.
pub const PLACE: &str = "/opt/nvbind-gpu";
/// The place in the lane of a driver that computes.
pub const COMPUTING: &str = "/opt/computing-driver";

/// What podman uses where the kernel's overlay cannot be.
const FUSE: &str = "/usr/bin/fuse-overlayfs";

/// Well above what all checks take.
const LIMIT: Duration = Duration::from_secs(600);

/// What the checks end with.
const PASSED: i32 = 0;
const NOTHING_CHECKED: i32 = 77;

/// Every runtime with every user, as the checks name them.
const ENGINES: [&str; 4] = ["crun/rootful", "runc/rootful", "crun/rootless", "runc/rootless"];
/// What is checked of each with any driver.
const CHECKS: &[&str] = &["nvidia-smi", "none", "nodes", "libraries", "procfs", "manifests", "cuda"];
/// What is checked of a rootful one alone.
const ROOTFUL_CHECKS: &[&str] = &["unasked", "hook-time"];

/// Without a GPU nothing is checked, which is told by the exit code.
fn no_gpu(_: &Lane, _: Podman) -> Result<(), Ended> {
    let said = checks(&[], "/var/tmp")?;
    let told = said.code == NOTHING_CHECKED && said.out.starts_with("skipped all: no GPU: ");
    claim(told, "the checks do not tell that there is no GPU", || said.told())
}

/// The driver that all cases have: its libcuda knows no GPU. Storage is on the lane's overlay, where no second one can
/// be, by copies where there is no fuse-overlayfs.
fn no_cuda(_: &Lane, _: Podman) -> Result<(), Ended> {
    let aside = format!("{FUSE}.aside");
    fs::rename(FUSE, &aside).on("move", Path::new(FUSE))?;
    let said = checks(&["--simulated", DRIVER], "/var/tmp");
    fs::rename(&aside, FUSE).on("move", Path::new(&aside))?;
    let said = said?;
    claim_passed(&said)?;
    claim(ran_with(&said, "vfs"), "storage is not copies", || said.told())
}

/// A driver with which all is checked but what nvcc makes. Storage is on a tmpfs.
fn all(_: &Lane, _: Podman) -> Result<(), Ended> {
    let said = checks(&["--simulated", COMPUTING], "/tmp")?;
    claim_passed(&said)?;
    claim(ran_with(&said, "overlay"), "storage is not overlayfs", || said.told())?;
    let compared = ENGINES.iter().all(|engine| {
        let start = format!("skipped simulated/{engine}/speed: not judged with a simulated driver: open_us ");
        said.out.lines().any(|told| told.starts_with(&start))
    });
    claim(compared, "inside is not compared with outside", || said.told())
}

fn checks(words: &[&str], storage: &str) -> Result<Said, Ended> {
    let run = format!("{}/run", PLACE);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut command = limited(LIMIT, run);
    Ok(said(command.args(words).env_clear().env("PATH", path).env("HOME", "/root").env("TMPDIR", storage))?)
}

/// Whether all ran with this storage.
fn ran_with(said: &Said, driver: &str) -> bool {
    let told = format!(": containers run with --storage-driver={driver} ");
    said.out.matches(&told).count() == ENGINES.len()
}

/// Fails the case unless every check passed, of every runtime and user.
fn claim_passed(said: &Said) -> Result<(), Ended> {
    claim(said.code == PASSED, "a check failed", || said.told())?;
    for engine in ENGINES {
        let rootful = ROOTFUL_CHECKS.iter().filter(|_| engine.ends_with("/rootful"));
        for check in CHECKS.iter().chain(rootful) {
            let line = format!("passed  simulated/{engine}/{check}");
            let found = said.out.lines().any(|told| told.starts_with(&line));
            claim(found, &format!("{engine}/{check} did not pass"), || said.told())?;
        }
    }
    Ok(())
}
