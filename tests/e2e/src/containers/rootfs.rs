//! Containers whose root file system is a folder of the user's.

use crate::case::{Case, RUNTIME, WHO};
use crate::container::{ASK, GPU, PLAIN, control_image, run_image, then_remove};
use crate::ended::Ended;
use crate::lane::Lane;
use crate::podman::{Podman, User, said};
use crate::{probe, snapshot};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::spec::PAYLOAD;
use nvbind_lanes::tree::{USER, write};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("rootfs", folder).each(&[RUNTIME, WHO]),
    Case::new("rootfs-links-out", links_out).each(&[RUNTIME, WHO]),
];

/// What podman leaves in the folder it leaves without nvbind too; nvbind adds nothing.
fn folder(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let plain = unpack(podman, "plain")?;
    let gpu = unpack(podman, "gpu")?;
    then_remove(podman, || {
        control_image(podman, &[], &["--rootfs", &plain], "true")?;
        let said = run_image(podman, GPU, &ASK, &["--rootfs", &gpu], &probe::command(None))?;
        podman.remove(&[GPU, PLAIN])?;
        probe::claim_works(&said)?;
        snapshot::of(&plain)?.claim_same(&snapshot::of(&gpu)?)
    })
}

/// Folders that are links out of the root file system: nothing appears where they point to on the host.
fn links_out(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let outside = "/tmp/outside";
    for place in ["usr/local", "etc/ld.so.conf.d"] {
        let root = unpack(podman, "links")?;
        write(&Path::new(outside).join("kept"), "the host's own\n")?;
        let link = Path::new(&root).join(place);
        if link.exists() {
            fs::remove_dir_all(&link).on("remove", &link)?;
        }
        symlink(format!("/../../../../..{outside}"), &link).on("link", &link)?;
        let before = snapshot::of(outside)?;
        then_remove(podman, || {
            // Whether it starts is the hook's decision: inside the root, the link may well point to a folder.
            run_image(podman, GPU, &ASK, &["--rootfs", &root], "true")?;
            before.claim_unchanged()
        })?;
    }
    Ok(())
}

/// A fresh copy of the image's files that belongs to the user.
fn unpack(podman: Podman, name: &str) -> Result<String, Ended> {
    let root = format!("/tmp/rootfs-{name}");
    let owner = match podman.user {
        User::Root => "root",
        User::Rootless => USER,
    };
    let script = format!(
        "rm -rf {root} && mkdir {root} && tar -C {root} -xf {PAYLOAD}/image.tar && chown -R {owner} {root}"
    );
    said(Command::new("sh").args(["-c", &script]))?.must()?;
    Ok(root)
}
