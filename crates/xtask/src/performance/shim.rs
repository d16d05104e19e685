//! What `nvbind run` takes before podman runs in its place: a program that tells the clock stands in for podman.

use super::measure::{milliseconds, now};
use super::programs::FIRST;
use super::sample::Sample;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_lanes::spec::PAYLOAD;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

const FOLDER: &str = "/tmp/stand-in";

/// Starts by the shim and without it, in turn: the differences, in milliseconds.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Sample>> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).on("create", folder)?;
    let podman = folder.join("podman");
    symlink(format!("{PAYLOAD}/bin/{FIRST}"), &podman).on("link", &podman)?;
    let mut samples = Vec::new();
    for round in 0..=rounds {
        let alone = first_instruction(Command::new("podman"))?;
        let mut shim = Command::new("/usr/local/bin/nvbind");
        shim.args(["run", "--gpu=0", "image"]);
        let added = first_instruction(shim)? - alone;
        if round > 0 {
            samples.push(Sample::Shim { added });
        }
    }
    Ok(samples)
}

/// From before the command is started to what the stand-in tells.
fn first_instruction(mut command: Command) -> Result<f64> {
    command.env_clear().env("PATH", FOLDER).env("HOME", "/root").stdin(Stdio::null());
    let before = now()?;
    let output = command.output().doing(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().parse::<u64>() {
        Ok(first) if first > before => Ok(milliseconds(first - before)),
        _ => Err(Error::failed(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}
