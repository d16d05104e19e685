//! Containers of a case: started without a network, and removed when the case is over.

use crate::ended::Ended;
use crate::podman::{IMAGE, Podman, Said};
use crate::{probe, traces};
use nvbind_fixtures::error::Error;

/// The container with a GPU, and the one without.
pub(crate) const GPU: &str = "gpu";
pub(crate) const PLAIN: &str = "plain";

/// The annotation that asks for the first GPU.
pub(crate) const ASK: [&str; 2] = ["--annotation", probe::GPU];

/// Runs `command` by the shell of the test image.
pub(crate) fn run(podman: Podman, name: &str, options: &[&str], command: &str) -> Result<Said, Error> {
    run_image(podman, name, options, &[IMAGE], command)
}

/// Runs `command` by the shell of an image, or of `--rootfs DIR`.
pub(crate) fn run_image(
    podman: Podman,
    name: &str,
    options: &[&str],
    image: &[&str],
    command: &str,
) -> Result<Said, Error> {
    run_words(podman, name, options, image, &["sh", "-c", command])
}

/// Runs a program of an image that need not have a shell.
pub(crate) fn run_words(
    podman: Podman,
    name: &str,
    options: &[&str],
    image: &[&str],
    command: &[&str],
) -> Result<Said, Error> {
    let mut words = vec!["run", "--name", name, "--network=none"];
    words.extend(options.iter().chain(image).chain(command));
    podman.run(&words)
}

/// Runs until it is asked to end. `sleep` alone, as a container's first process, would have podman wait for ten seconds
/// and kill it.
pub(crate) const STAYS: &str = "trap exit TERM; sleep 1000 & wait";

/// Runs the case's body, and then removes its containers whatever came of it.
pub(crate) fn then_remove(podman: Podman, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    let ended = body();
    let removed = podman.remove(&["--ignore", GPU, PLAIN]);
    ended.and(removed)
}

/// The same container without a GPU. Where podman itself refuses it, the case is skipped in podman's words.
pub(crate) fn control(podman: Podman, options: &[&str], command: &str) -> Result<Said, Ended> {
    control_image(podman, options, &[IMAGE], command)
}

/// The same for another image or `--rootfs DIR`.
pub(crate) fn control_image(
    podman: Podman,
    options: &[&str],
    image: &[&str],
    command: &str,
) -> Result<Said, Ended> {
    let said = run_image(podman, PLAIN, options, image, command)?;
    if said.code == 0 { Ok(said) } else { Err(Ended::Skipped(said.last_words().to_owned())) }
}

/// A container with a GPU that runs until it is stopped.
pub(crate) fn keep(podman: Podman, options: &[&str]) -> Result<(), Ended> {
    let mut all = vec!["--detach", "--stop-timeout=0"];
    all.extend(ASK.iter().chain(options));
    run(podman, GPU, &all, "sleep 1000")?.must().map(drop)
}

/// Fails the case unless the GPU works for a process that joins the container.
pub(crate) fn claim_works_in(podman: Podman, options: &[&str], unasked: Option<&str>) -> Result<(), Ended> {
    let look = probe::command(unasked);
    let mut words = vec!["exec"];
    words.extend(options.iter().chain(&[GPU, "sh", "-c", look.as_str()]));
    probe::claim_works(&podman.run(&words)?)
}

/// What a case claims of `options` in short: the GPU works, and little is left in the container and nothing on the
/// host.
pub(crate) fn claim_works_with(podman: Podman, options: &[&str]) -> Result<(), Ended> {
    control(podman, options, "true")?;
    let mounts = podman.mounts()?;
    let all: Vec<&str> = ASK.iter().chain(options).copied().collect();
    probe::claim_works(&run(podman, GPU, &all, &probe::command(None))?)?;
    traces::claim_small(&traces::diff(podman, GPU)?, &traces::diff(podman, PLAIN)?)?;
    podman.remove(&[GPU])?;
    traces::claim_nothing_mounted(&mounts, &podman.mounts()?)
}
