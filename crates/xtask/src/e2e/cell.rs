//! One cell of the matrix: the same container without nvbind, then with it.

use super::ended::Ended;
use super::lane::Lane;
use super::matrix::{Cell, Mode};
use super::podman::IMAGE;
use super::{probe, traces};

/// Runs the cell.
pub(crate) fn run(lane: &Lane, cell: &Cell) -> Result<(), Ended> {
    let podman = cell.podman;
    let options = cell.options();
    let start = |name, more: &[&str], command: &str| {
        let mut words = vec!["run", "--name", name, "--network=none"];
        words.extend(options.iter().chain(more));
        words.extend([IMAGE, "sh", "-c", command]);
        podman.run(&words)
    };
    // Nothing of this is nvbind's: where podman itself refuses, so does the cell, in podman's words.
    let control = start("control", &[], "true")?;
    if control.code != 0 {
        podman.remove(&["control"]).ok();
        return Err(Ended::Skipped(control.last_words().to_owned()));
    }
    let without = traces::diff(podman, "control")?;
    podman.remove(&["control"])?;
    let mounts = podman.mounts()?;

    let unasked = cell.filtered(lane.podman_major).then_some("EPERM");
    let mut more = vec!["--annotation", probe::GPU];
    if unasked.is_some() {
        more.extend(["--volume", probe::UNASKED]);
    }
    let look = probe::command(unasked);
    // As a package's installation does, in containers that may write.
    let again =
        matches!(cell.mode, Mode::Plain | Mode::Privileged).then(|| format!(" && ldconfig && {look}"));
    let said = start("gpu", &more, &format!("{look}{}", again.unwrap_or_default()));
    let judged = said.map_err(Ended::from).and_then(|said| {
        probe::claim_works(&said)?;
        traces::claim_small(&traces::diff(podman, "gpu")?, &without)
    });
    let removed = podman.remove(&["--ignore", "gpu"]);
    judged.and(removed)?;
    traces::claim_nothing_mounted(&mounts, &podman.mounts()?)
}
