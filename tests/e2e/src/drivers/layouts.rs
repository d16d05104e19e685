//! Wherever a distribution keeps the driver, the container gets all of it.

use crate::case::{CRUN, Case, ROOTFUL};
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::Podman;
use crate::probe;
use nvbind_fixtures::driver_sim::Layout;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("layouts", layouts).only(&[&[CRUN, ROOTFUL]]).takes(4)];

/// The place in a lane of the simulated drivers, a folder for each layout.
pub const LAYOUTS: &str = "/opt/layouts";

fn layouts(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let all = || Layout::ALL.iter().try_for_each(|(name, _)| layout(podman, name));
    let ended = all();
    use_driver(DRIVER)?;
    ended
}

fn layout(podman: Podman, name: &str) -> Result<(), Ended> {
    use_driver(&format!("{LAYOUTS}/{name}"))?;
    then_remove(podman, || {
        let said = run(podman, GPU, &ASK, &probe::command(None))?;
        probe::claim_works(&said)?;
        podman.remove(&[GPU])?;
        let smi = run(podman, GPU, &ASK, "nvidia-smi")?;
        claim(smi.code == 9, &format!("{name}: nvidia-smi does not find its library"), || smi.told())
    })
}
