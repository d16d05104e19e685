//! A container's life: joined, restarted by hand and by podman itself, stopped and started, committed.

use crate::case::{Case, INIT, RELEASE, RUNTIME, WHO};
use crate::container;
use crate::container::{ASK, GPU, PLAIN, claim_works_in, control, keep, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman};
use crate::{probe, traces};
use std::thread;
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("untouched", untouched).each(&[RUNTIME, WHO]),
    Case::new("exec", exec).each(&[RUNTIME, WHO]),
    Case::new("restart", restart).each(&[RUNTIME, WHO, INIT]).takes(3),
    Case::new("start-after-stop", start_after_stop).each(&[RUNTIME, WHO]).takes(3),
    Case::new("restart-policy", restart_policy).each(&[RUNTIME, WHO]).takes(4),
    Case::new("commit", commit).each(&[WHO, RELEASE]),
];

/// What a container without GPU must not have.
const NOTHING: &str =
    "test ! -e /usr/local/nvidia/lib64 && test ! -e /dev/nvidiactl && ! nvbind-probe load libcuda.so.1";

/// Without the annotation, nvbind is not there.
fn untouched(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || container::run(podman, PLAIN, &[], NOTHING)?.must().map(drop))
}

/// A process that joins later has the GPU too, also as another user.
fn exec(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        keep(podman, &[])?;
        claim_works_in(podman, &[], None)?;
        claim_works_in(podman, &["--user=1000"], None)
    })
}

fn restart(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let restart = |podman| start(podman, &["restart", "--time=0", GPU]);
    again(podman, |podman| keep(podman, &[]), restart)
}

fn start_after_stop(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let start_again = |podman: Podman| {
        podman.must(&["stop", "--time=0", GPU])?;
        start(podman, &["start", GPU])
    };
    again(podman, |podman| keep(podman, &[]), start_again)
}

/// Fails when it is told to, and goes on after the next start.
const FAILS_WHEN_TOLD: &str = "until test -e /fail; do sleep 1; done; rm /fail; exit 1";

/// A container that fails is started again by podman, without anybody's command.
fn restart_policy(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let first = |podman| {
        let options = [ASK[0], ASK[1], "--detach", "--restart=on-failure:3"];
        container::run(podman, GPU, &options, FAILS_WHEN_TOLD)?.must().map(drop)
    };
    again(podman, first, |podman| {
        let restarts = restarts(podman)?;
        podman.must(&["exec", GPU, "touch", "/fail"])?;
        claim_restarted(podman, restarts + 1)
    })
}

/// How often podman itself has started the container again.
fn restarts(podman: Podman) -> Result<u32, Ended> {
    let said = podman.must(&["inspect", "--format={{.RestartCount}}", GPU])?;
    said.out
        .trim()
        .parse()
        .map_err(|error| said.failed(format!("podman tells no number of restarts: {error}")))
}

/// Fails the case unless the container soon runs again, after that many restarts of podman's own.
fn claim_restarted(podman: Podman, restarts: u32) -> Result<(), Ended> {
    let expected = format!("{restarts} running");
    let mut tries = 0..100;
    loop {
        let said = podman.must(&["inspect", "--format={{.RestartCount}} {{.State.Status}}", GPU])?;
        if said.out.trim() == expected || tries.next().is_none() {
            return claim(said.out.trim() == expected, "podman did not start the container again", || {
                said.told()
            });
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// What runc says where systemd has not forgotten the scope of the last run yet. Podman does not wait for that, with or
/// without nvbind.
const SCOPE_IS_STILL_THERE: &str = "was already loaded or has a fragment file";

/// Starts a container again by podman's `words`.
pub(crate) fn start(podman: Podman, words: &[&str]) -> Result<(), Ended> {
    let mut tries = 0..5;
    loop {
        let said = podman.run(words)?;
        if tries.next().is_none() || !said.err.contains(SCOPE_IS_STILL_THERE) {
            return said.must().map(drop);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Starts the container of a case, or starts it again.
type Start = fn(Podman) -> Result<(), Ended>;

/// After each of three starts the GPU works, and what is left in the container does not grow.
fn again(podman: Podman, first: Start, start_again: Start) -> Result<(), Ended> {
    then_remove(podman, || {
        control(podman, &[], "true")?;
        let mounts = podman.mounts()?;
        first(podman)?;
        claim_works_in(podman, &[], None)?;
        let first = traces::diff(podman, GPU)?;
        let size = cache_size(podman)?;
        for _ in 0..2 {
            start_again(podman)?;
            claim_works_in(podman, &[], None)?;
        }
        let last = traces::diff(podman, GPU)?;
        claim(first == last, "podman diff grows with each start", || format!("{first:#?}\n{last:#?}"))?;
        let now = cache_size(podman)?;
        claim(size == now, "the linker cache grows with each start", || format!("{size} then {now}"))?;
        traces::claim_small(&last, &traces::diff(podman, PLAIN)?)?;
        podman.remove(&[GPU])?;
        traces::claim_nothing_mounted(&mounts, &podman.mounts()?)
    })
}

fn cache_size(podman: Podman) -> Result<String, Ended> {
    Ok(podman.must(&["exec", GPU, "stat", "-c", "%s", "/etc/ld.so.cache"])?.out.trim().to_owned())
}

/// An image made from a container that had a GPU runs with and without one.
fn commit(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let image = "localhost/nvbind-committed";
    let ended = then_remove(podman, || {
        probe::claim_works(&container::run(podman, GPU, &ASK, &probe::command(None))?)?;
        podman.must(&["commit", "--quiet", GPU, image])?;
        podman.remove(&[GPU])?;
        let without = container::run_image(podman, PLAIN, &[], &[image], NOTHING)?;
        claim(without.code == 0, "the committed image does not run as before without nvbind", || {
            without.told()
        })?;
        probe::claim_works(&container::run_image(podman, GPU, &ASK, &[image], &probe::command(None))?)
    });
    let removed = podman.run(&["rmi", "--force", image])?;
    // The image that all cases share is not a part of it.
    podman.must(&["image", "exists", IMAGE])?;
    ended?;
    claim(removed.code <= 1, "the committed image cannot be removed", || removed.told())
}
