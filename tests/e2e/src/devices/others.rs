//! Device nodes that users give a container beside its GPU.

use crate::case::{CGROUP, Case, RUNTIME, WHO};
use crate::container::{ASK, GPU, control, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::Podman;
use crate::probe;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("other-devices", other).each(&[RUNTIME, WHO, CGROUP])];

/// A node of another driver, one of the GPU that nobody asks nvbind for, and one that nvbind would give as well.
const DEVICES: [&str; 3] = [
    "--device=/dev/fuse",
    "--device=/opt/driver/dev/nvidia0:/dev/unasked",
    "--device=/opt/driver/dev/nvidia1:/dev/nvidia1",
];
/// Where the first two are in the container.
const OTHERS: [&str; 2] = ["/dev/fuse", "/dev/unasked"];

/// What podman lets a container use by `--device` opens as it does without nvbind, and the GPU works too.
fn other(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let look = OTHERS.map(|path| format!("--device {path}")).join(" ");
    then_remove(podman, || {
        let alone = control(podman, &DEVICES, &format!("nvbind-probe --library libc.so.6=ok {look}"))?;
        let mut expected = String::new();
        for path in OTHERS {
            let answer = probe::answer_for(&alone, path)?;
            claim(["ok", "ENXIO"].contains(&answer.as_str()), "podman alone gives no devices", || {
                alone.told()
            })?;
            expected = format!("{expected} --device {path}={answer}");
        }
        let all: Vec<&str> = ASK.iter().chain(&DEVICES).copied().collect();
        probe::claim_works(&run(podman, GPU, &all, &format!("{}{expected}", probe::command(None)))?)
    })
}
