//! GPUs as devices of the Container Device Interface, by nvbind's specification.

use super::refusals::refused;
use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::command_line::shim::nvbind;
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::Ended;
use crate::lane::Lane;
use crate::podman::{Podman, User};
use crate::probe;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("cdi", devices).each(&[RUNTIME, WHO, RELEASE]).takes(4)];

/// A device, several, a device beside the annotation, and the other kind give the GPU that is named; one that is not
/// there is refused.
fn devices(_: &Lane, podman: Podman) -> Result<(), Ended> {
    nvbind(User::Root, &["setup", "--cdi"])?.must()?;
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
    refused(podman, &["--device=nvidia.com/gpu=7"], &[3], "there is no GPU 7")?;
    nvbind(User::Root, &["cdi", "remove"])?.must().map(drop)
}
