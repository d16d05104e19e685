//! An image that carries the annotation itself: who asks for a GPU is the person who runs the container.

use crate::case::{Case, RELEASE, WHO};
use crate::container::{GPU, run_image, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman};
use nvbind_lanes::tree::write;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("image-annotation", image_annotation).each(&[WHO, RELEASE])];

const ANNOTATED: &str = "localhost/nvbind-annotated";

/// Up to 4.5.0, podman takes an image's annotations for the container's: such an image gets a GPU without being asked.
/// The command line has the last word.
fn image_annotation(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let folder = "/tmp/annotated";
    write(&Path::new(folder).join("Containerfile"), &format!("FROM {IMAGE}\n"))?;
    podman.must(&["build", "--format=oci", "--annotation=io.nvbind.gpu=all", "--tag", ANNOTATED, folder])?;
    let version = podman.must(&["version", "--format={{.Client.Version}}"])?.out;
    let is_taken = version.starts_with("4.3.");
    let ended = then_remove(podman, || {
        let alone = run_image(podman, GPU, &[], &[ANNOTATED], "test -e /dev/nvidiactl")?;
        claim(
            (alone.code == 0) == is_taken,
            "podman takes an image's annotation otherwise than we say",
            || format!("podman {version}{}", alone.told()),
        )?;
        podman.remove(&[GPU])?;
        let none = ["--annotation", "io.nvbind.gpu=none"];
        run_image(podman, GPU, &none, &[ANNOTATED], "test ! -e /dev/nvidiactl")?.must().map(drop)
    });
    podman.must(&["rmi", "--force", ANNOTATED])?;
    ended
}
