//! A GPU asked for in the words of other tools: each spelling of `nvbind run` gives exactly the GPUs that it says, with
//! every podman and without a CDI specification, and the container is told the same.

use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::command_line::shim::{LIMIT, NOT_STARTED, NVBIND, nvbind};
use crate::container::{GPU, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, as_user, said};
use crate::probe;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use std::fs;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("asking", spellings).each(&[WHO, RELEASE]).takes(20),
    Case::new("asking-number", numbers).each(&[RUNTIME, WHO, RELEASE]).takes(3),
    Case::new("asking-refused", refused).each(&[RELEASE]),
];

/// What a container has.
#[derive(Clone, Copy, Debug)]
enum Has {
    First,
    Second,
    Both,
    /// The driver's files without a GPU.
    Files,
    Nothing,
}

impl Has {
    /// A command that is content with exactly this.
    fn look(self) -> String {
        match self {
            Has::First => probe::command(None),
            Has::Second => probe::OTHER.to_owned(),
            Has::Both => probe::BOTH.to_owned(),
            Has::Files => "nvbind-probe --device /dev/nvidia0=ENOENT --device /dev/nvidia1=ENOENT".to_owned(),
            Has::Nothing => probe::NOTHING.to_owned(),
        }
    }
}

/// A file of variables, in both users' reach.
const VARIABLES: (&str, &str) = ("/tmp/gpus.env", "A=b\nNVIDIA_VISIBLE_DEVICES=1\n");

/// Options, what the container has by them, and what `NVIDIA_VISIBLE_DEVICES` says there.
const SPELLINGS: &[(&[&str], Has, &str)] = &[
    (&[], Has::Both, "all"),
    (&["--gpus=all"], Has::Both, "all"),
    (&["--gpus=-1"], Has::Both, "all"),
    (&["--gpus=device=1"], Has::Second, "1"),
    (&["--gpus", "device=0,1"], Has::Both, "0,1"),
    (&["--gpus", "\"device=0\",capabilities=utility,compute,graphics"], Has::First, "0"),
    (&["--gpus=device=0", "--gpus=device=1"], Has::Both, "0,1"),
    (&["--gpu=1", "--gpu=0"], Has::Both, "1,0"),
    (&["--gpu=nvidia.com/gpu=1"], Has::Second, "1"),
    (&["--device=nvidia.com/gpu=0"], Has::First, "0"),
    (&["--device", "nvbind.io/gpu=1"], Has::Second, "1"),
    (&["--device=nvidia.com/gpu=0", "--gpu=1"], Has::Both, "0,1"),
    (&["--device=nvidia.com/gpu=all"], Has::Both, "all"),
    (&["--device=nvidia.com/gpu=none"], Has::Files, "none"),
    (&["-e", "NVIDIA_VISIBLE_DEVICES=1"], Has::Second, "1"),
    (&["--env=NVIDIA_VISIBLE_DEVICES=0", "--runtime=nvidia"], Has::First, "0"),
    (&["--env-file", VARIABLES.0], Has::Second, "1"),
    (&["--env=NVIDIA_VISIBLE_DEVICES=none"], Has::Files, "none"),
    (&["--env=NVIDIA_VISIBLE_DEVICES=void"], Has::Nothing, "void"),
    (&["--annotation=io.nvbind.gpu=1"], Has::Second, "1"),
    (&["--annotation=io.nvbind.gpu=0,1"], Has::Both, "0,1"),
];

/// The same with the caller's NVIDIA_VISIBLE_DEVICES=1.
const INHERITED: &[(&[&str], Has, &str)] = &[
    (&["--env=NVIDIA_VISIBLE_DEVICES"], Has::Second, "1"),
    (&["--env=NVIDIA_*"], Has::Second, "1"),
    (&["--env-host"], Has::Both, "all"),
];

fn spellings(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let file = Path::new(VARIABLES.0);
    fs::write(file, VARIABLES.1).on("write", file)?;
    let inherited = INHERITED.iter().map(|row| (row, true));
    for ((options, has, shown), is_inherited) in SPELLINGS.iter().map(|row| (row, false)).chain(inherited) {
        let variables: &[(&str, &str)] = if is_inherited { &[("NVIDIA_VISIBLE_DEVICES", "1")] } else { &[] };
        claim_has(
            podman,
            options,
            variables,
            *has,
            &format!("test \"$NVIDIA_VISIBLE_DEVICES\" = '{shown}'"),
        )?;
    }
    Ok(())
}

fn claim_has(
    podman: Podman,
    options: &[&str],
    variables: &[(&str, &str)],
    has: Has,
    shown: &str,
) -> Result<(), Ended> {
    then_remove(podman, || {
        let looked = started(podman, options, variables, &format!("{shown} && {}", has.look()))?;
        let what = format!("the container of {options:?} does not have {has:?}, or is told otherwise");
        claim(looked.code == 0, &what, || looked.told())
    })
}

/// Runs a container whose runtime podman is told before the options.
fn started(
    podman: Podman,
    options: &[&str],
    variables: &[(&str, &str)],
    command: &str,
) -> Result<Said, Error> {
    let runtime = format!("--runtime={}", podman.runtime());
    let mut shim = as_user(podman.user, limited(LIMIT, NVBIND));
    shim.envs(variables.iter().copied()).args(["run", "--network=none", "--name", GPU, &runtime]);
    said(shim.args(options).args([IMAGE, "sh", "-c", command]))
}

/// So many, by names that the container keeps.
fn numbers(_: &Lane, podman: Podman) -> Result<(), Ended> {
    for (options, has, shown) in [
        (&["--gpus=1"], Has::First, "GPU-*"),
        (&["--gpus=2"], Has::Both, "GPU-*,GPU-*"),
        (&["--gpu=any:1"], Has::First, "GPU-*"),
    ] {
        let shown = format!("case $NVIDIA_VISIBLE_DEVICES in {shown}) true;; *) false;; esac");
        claim_has(podman, options, &[], has, &shown)?;
    }
    then_remove(podman, || {
        started(podman, &["--gpus=1"], &[], &Has::First.look())?.must()?;
        podman.must(&["start", "--attach", GPU]).map(drop)
    })
}

/// podman is not started, and the reason is told.
fn refused(_: &Lane, podman: Podman) -> Result<(), Ended> {
    for (options, reason) in [
        (&["--gpus=0"][..], "0 is no number of GPUs"),
        (&["--gpus=3"], "3 GPUs are asked for, and this machine has 2"),
        (&["--gpu=0", "--gpu=all"], "do not agree"),
        (&["--gpu=none", "--device=nvidia.com/gpu=all"], "do not agree"),
        (&["--gpu=0", "--env=NVIDIA_VISIBLE_DEVICES=1"], "do not agree"),
        (&["--device=nvidia.com/gpu=7"], "there is no GPU 7"),
        (&["--annotation=io.nvbind.gpus=0"], "did you mean io.nvbind.gpu?"),
        (&["--env=NVBIND_DEVICES=0"], "NVBIND_DEVICES is for the containers of a pod"),
        (&["--gpu=0", "--device=/dev/nvidia0"], "--device /dev/nvidia0 gives the container a GPU beside"),
    ] {
        let words = [&["run", "--name", GPU], options, &[IMAGE, "true"]].concat();
        let told = nvbind(podman.user, &words)?;
        let is_told = told.code == NOT_STARTED && told.err.contains(reason);
        claim(is_told, &format!("{options:?} is not refused with its reason"), || told.told())?;
        let made = podman.run(&["container", "exists", GPU])?;
        claim(made.code == 1, "podman made a container", || made.told())?;
    }
    Ok(())
}
