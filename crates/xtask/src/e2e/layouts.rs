//! Wherever a distribution keeps the driver, the container gets all of it.

use super::Function;
use super::container::{ASK, GPU, run, then_remove};
use super::ended::{Ended, claim};
use super::lane::{DRIVER, Lane, use_driver};
use super::podman::{Podman, Runtime, User};
use super::probe;
use crate::driver_sim::Layout;

/// The cases, by name.
pub(crate) const CASES: &[(&str, Function)] = &[("layouts", layouts)];

/// The place in a lane of the simulated drivers, a folder for each layout.
pub(crate) const LAYOUTS: &str = "/opt/layouts";

fn layouts(_: &Lane, podman: Podman) -> Result<(), Ended> {
    if podman != Podman::new(User::Root, Runtime::Crun) {
        return Err(Ended::Skipped("the same files for every user and runtime: tried once".into()));
    }
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
