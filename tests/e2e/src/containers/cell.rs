//! One cell of the matrix: the same container without nvbind, then with it.

use crate::container;
use crate::container::{ASK, GPU, PLAIN, run, then_remove};
use crate::containers::matrix::{Mode, Options};
use crate::ended::{Ended, claim};
use crate::podman::Podman;
use crate::{probe, traces};

/// As a package's installation does; not every user of a container may.
const LDCONFIG: &str = "{ ldconfig || true; } 2>/dev/null";

/// Runs the cell.
pub(crate) fn judge(podman: Podman, cell: Options) -> Result<(), Ended> {
    // The other GPU's node as a volume: only the device cgroup stands between it and the container.
    let mut options = vec!["--volume", probe::UNASKED];
    options.extend(cell.of(podman));
    then_remove(podman, || {
        let writable = matches!(cell.mode, Mode::Plain | Mode::Privileged);
        let before = if writable { LDCONFIG } else { "true" };
        let look = format!("{before}; {}", probe::unasked_alone());
        let control = container::control(podman, &options, &look)?;
        // What podman and the runtime filter on their own: nvbind may allow no more and no less than its GPU's nodes.
        let unasked = probe::answer_for_unasked(&control)?;
        let filtered = unasked == "EPERM";
        claim(filtered || !cell.must_be_filtered(podman), "podman alone does not filter devices", || {
            control.told()
        })?;
        let mounts = podman.mounts()?;
        let mut look = probe::command(Some(&unasked));
        if writable {
            look = format!("{look} && {LDCONFIG} && {look}");
        }
        options.extend(ASK);
        probe::claim_works(&run(podman, GPU, &options, &look)?)?;
        traces::claim_small(&traces::diff(podman, GPU)?, &traces::diff(podman, PLAIN)?)?;
        podman.remove(&[GPU])?;
        traces::claim_nothing_mounted(&mounts, &podman.mounts()?)
    })
}
