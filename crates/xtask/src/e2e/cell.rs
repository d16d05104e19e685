//! One cell of the matrix: the same container without nvbind, then with it.

use super::container::{ASK, GPU, PLAIN, control, run, then_remove};
use super::ended::Ended;
use super::lane::Lane;
use super::matrix::{Cell, Mode};
use super::{probe, traces};

/// Runs the cell.
pub(crate) fn judge(lane: &Lane, cell: &Cell) -> Result<(), Ended> {
    let podman = cell.podman;
    let mut options = cell.options();
    then_remove(podman, || {
        control(podman, &options)?;
        let mounts = podman.mounts()?;
        let unasked = cell.filtered(lane.podman_major).then_some("EPERM");
        options.extend(ASK);
        if unasked.is_some() {
            options.extend(["--volume", probe::UNASKED]);
        }
        let mut look = probe::command(unasked);
        // As a package's installation does, in containers that may write.
        if matches!(cell.mode, Mode::Plain | Mode::Privileged) {
            look = format!("{look} && ldconfig && {look}");
        }
        probe::claim_works(&run(podman, GPU, &options, &look)?)?;
        traces::claim_small(&traces::diff(podman, GPU)?, &traces::diff(podman, PLAIN)?)?;
        podman.remove(&[GPU])?;
        traces::claim_nothing_mounted(&mounts, &podman.mounts()?)
    })
}
