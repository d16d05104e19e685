//! Volumes over the places where nvbind puts things: the GPU works, and the host's files behind the volume stay as they
//! are.

use crate::case::{CGROUP, Case, RUNTIME, WHO};
use crate::container::{ASK, GPU, claim_works_with, control, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::Podman;
use crate::{probe, snapshot};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("volume-etc", etc).each(&[RUNTIME, WHO]),
    Case::new("volume-cache", cache).each(&[RUNTIME, WHO]),
    Case::new("volume-view", view).each(&[RUNTIME, WHO]),
    Case::new("volume-usr-share", usr_share).each(&[RUNTIME, WHO]),
    Case::new("volume-dev", dev).each(&[RUNTIME, WHO, CGROUP]),
];

/// The host's own /etc: its linker cache belongs to the host's programs.
fn etc(_: &Lane, podman: Podman) -> Result<(), Ended> {
    claim_etc_unchanged(podman, &["--volume", "/etc:/etc"])
}

/// The host's linker cache alone.
fn cache(_: &Lane, podman: Podman) -> Result<(), Ended> {
    claim_etc_unchanged(podman, &["--volume", "/etc/ld.so.cache:/etc/ld.so.cache"])
}

fn claim_etc_unchanged(podman: Podman, options: &[&str]) -> Result<(), Ended> {
    then_remove(podman, || {
        control(podman, options, "true")?;
        let before = snapshot::of("/etc")?;
        let all: Vec<&str> = ASK.iter().chain(options).copied().collect();
        let said = run(podman, GPU, &all, &probe::command(None))?;
        before.claim_unchanged()?;
        probe::claim_works(&said)
    })
}

/// Something of the user's where the driver's files should go.
fn view(_: &Lane, podman: Podman) -> Result<(), Ended> {
    over(podman, "/usr/local/nvidia")
}

/// Something of the user's above data files of the driver.
fn usr_share(_: &Lane, podman: Podman) -> Result<(), Ended> {
    over(podman, "/usr/share")
}

fn over(podman: Podman, place: &str) -> Result<(), Ended> {
    let folder = "/tmp/volume";
    write(&Path::new(folder).join("kept"), "the user's own\n")?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).on("open", Path::new(folder))?;
    let volume = format!("{folder}:{place}");
    then_remove(podman, || {
        let options = ["--volume", &volume];
        control(podman, &options, "true")?;
        let before = snapshot::of(folder)?;
        let works = claim_works_again(podman, &options);
        before.claim_unchanged()?;
        works
    })
}

fn claim_works_again(podman: Podman, options: &[&str]) -> Result<(), Ended> {
    podman.remove(&[crate::container::PLAIN])?;
    claim_works_with(podman, options)
}

/// The host's own /dev: nothing may be made there. Whether the container starts is the hook's decision; if it does, the
/// GPU works.
fn dev(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let options = ["--volume", "/dev:/dev"];
    then_remove(podman, || {
        control(podman, &options, "true")?;
        let before = fs::read_dir("/dev").doing(|| "list /dev".into())?.count();
        let all: Vec<&str> = ASK.iter().chain(&options).copied().collect();
        let said = run(podman, GPU, &all, &probe::command(None))?;
        let after = fs::read_dir("/dev").doing(|| "list /dev".into())?.count();
        claim(before == after, "nodes were made in the host's /dev", || said.told())?;
        if said.code == 126 { Ok(()) } else { probe::claim_works(&said) }
    })
}
