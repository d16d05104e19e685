//! A number of GPUs: those that no running container has, whoever asks first, and none twice at the same moment.

use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::command_line::shim::{LIMIT, NOT_STARTED, NVBIND, nvbind};
use crate::container::{GPU, PLAIN, STAYS, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, as_user};
use nvbind_fixtures::error::Doing;
use nvbind_fixtures::limits::limited;
use std::process::{Child, Stdio};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("free", free).each(&[RUNTIME, WHO, RELEASE]).takes(4),
    Case::new("free-at-once", at_once).each(&[RUNTIME, WHO]).takes(4),
];

/// The words that start a container in the background with a number of GPUs.
fn words<'a>(runtime: &'a str, name: &'a str, gpus: &'a str) -> [&'a str; 11] {
    [
        "run",
        "--detach",
        "--network=none",
        "--stop-timeout=0",
        runtime,
        gpus,
        "--name",
        name,
        IMAGE,
        "-c",
        STAYS,
    ]
}

/// Which of the two GPUs' nodes a container has.
fn nodes(podman: Podman, name: &str) -> Result<String, Ended> {
    let listed = podman.must(&["exec", name, "sh", "-c", "echo /dev/nvidia[0-9]"])?;
    Ok(listed.out.trim().to_owned())
}

fn free(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let runtime = format!("--runtime={}", podman.runtime());
    let start = |name, gpus| {
        let mut all = words(&runtime, name, gpus).to_vec();
        all.insert(1, "--entrypoint=sh");
        nvbind(podman.user, &all)
    };
    then_remove(podman, || {
        let told = start(GPU, "--gpus=1")?.must()?;
        claim(told.err.contains("of 2 GPUs the container has 0 (GPU-"), "it is not told which", || {
            told.told()
        })?;
        start(PLAIN, "--gpu=any:1")?.must()?;
        let (first, second) = (nodes(podman, GPU)?, nodes(podman, PLAIN)?);
        claim(
            (first.as_str(), second.as_str()) == ("/dev/nvidia1", "/dev/nvidia0"),
            "they share a GPU",
            || format!("{first}, {second}"),
        )?;
        let refused = start("third", "--gpus=1")?;
        let says = "1 GPUs are asked for, and 0 of 2 are free: containers have 0 (GPU-";
        claim(refused.code == NOT_STARTED && refused.err.contains(says), "a third gets one", || {
            refused.told()
        })?;
        // What is named may be shared; what ended is free again.
        podman.must(&["rm", "--force", "--time=0", GPU])?;
        start(GPU, "--gpus=1")?.must()?;
        let again = nodes(podman, GPU)?;
        claim(again == first, "the one that is free again is not taken", || again.clone())
    })
}

/// Started at the same moment.
fn at_once(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let runtime = format!("--runtime={}", podman.runtime());
    for _ in 0..3 {
        then_remove(podman, || {
            let start = |name| -> Result<Child, Ended> {
                let mut all = words(&runtime, name, "--gpus=1").to_vec();
                all.insert(1, "--entrypoint=sh");
                let mut command = as_user(podman.user, limited(LIMIT, NVBIND));
                command.args(all).stdin(Stdio::null()).stdout(Stdio::null());
                Ok(command.spawn().doing(|| "start nvbind".to_owned())?)
            };
            let children = [start(GPU)?, start(PLAIN)?];
            for mut child in children {
                let status = child.wait().doing(|| "wait for nvbind".to_owned())?;
                claim(status.success(), "one of two at the same moment gets none", || status.to_string())?;
            }
            let (first, second) = (nodes(podman, GPU)?, nodes(podman, PLAIN)?);
            claim(first != second, "both have the same GPU", || format!("{first}, {second}"))
        })?;
    }
    Ok(())
}
