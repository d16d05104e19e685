//! Limits on what a container takes, which need controllers that the other lanes' cgroups do not have.

use crate::case::Case;
use crate::command_line::shim;
use crate::container::{ASK, GPU, claim_works_in, keep, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, User};
use crate::probe;

/// The cases, by name.
pub(super) const CASES: &[Case] = &[Case::new("limits", limits)];

/// That they change.
pub(super) const UPDATES: &[Case] = &[Case::new("limits-update", update)];

/// What prints them.
const SHOW: &str = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";

/// A container with limits has them, and its GPU.
fn limits(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        let options: Vec<&str> = ["--memory=128m", "--pids-limit=64"].into_iter().chain(ASK).collect();
        keep(podman, &options)?;
        claim_limits(podman, "134217728\n64\n")?;
        claim_works_in(podman, &[], None)
    })
}

/// They change, and the container keeps its GPU and gets no other.
fn update(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        let runtime = format!("--runtime={}", podman.runtime());
        let words = [
            "run",
            "--device-rules",
            "--gpu=0",
            "--name",
            GPU,
            "--network=none",
            "--detach",
            "--stop-timeout=0",
            "--volume",
            probe::UNASKED,
            &runtime,
            IMAGE,
            "sleep",
            "1000",
        ];
        shim::nvbind(podman.user, &words)?.must()?;
        let unasked = (podman.user == User::Root).then_some("EPERM");
        podman.must(&["update", "--memory=96m", "--pids-limit=48", GPU])?;
        claim_limits(podman, "100663296\n48\n")?;
        claim_works_in(podman, &[], unasked)
    })
}

fn claim_limits(podman: Podman, expected: &str) -> Result<(), Ended> {
    let said = podman.must(&["exec", GPU, "sh", "-c", SHOW])?;
    claim(said.out == expected, "the limits are others", || said.told())
}
