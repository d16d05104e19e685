//! Images in which something stands where links are to be made, and those that expect the driver at a place of their
//! own.

use crate::case::{Case, RELEASE, WHO};
use crate::container::{ASK, GPU, run_image};
use crate::ended::{Ended, claim};
use crate::images::IN_IMAGES;
use crate::images::claims::{VIEW, claim_all_found};
use crate::images::made::Image;
use crate::lane::Lane;
use crate::podman::Podman;
use crate::snapshot;
use nvbind_lanes::tree::write;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("images/nix", nix).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(2),
    Case::new("images/obstacles", obstacles).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(4),
];

const NIX: Image = Image { name: "nix", has_programs: true, script: "mkdir -p nix/store", env: &[] };

/// NixOS's programs look for the driver in `/run/opengl-driver`.
fn nix(_: &Lane, podman: Podman) -> Result<(), Ended> {
    NIX.with(podman, |image| {
        claim_all_found(podman, &[image])?;
        podman.remove(&[GPU])?;
        let words = "readlink -f /run/opengl-driver/lib /run/opengl-driver/share";
        let said = run_image(podman, GPU, &ASK, &[image], words)?;
        let expected = format!("{VIEW}/lib64\n{VIEW}/share\n");
        claim(said.out == expected, "/run/opengl-driver does not lead into the view", || said.told())
    })
}

/// The exit code of a hook that refuses the root filesystem.
const REFUSED: &str = "exit code: 5";

/// The lane's own folder that links of the images point to.
const OUTSIDE: &str = "/tmp/outside";

/// What is in the way, and whether the container is refused: a folder that is a link out of the root filesystem would
/// have to be followed, all else is the image's and stays.
const OBSTACLES: &[(Image, bool)] = &[
    (obstacle("directory", "mkdir -p usr/share/vulkan/icd.d/nvidia_icd.json"), false),
    (
        obstacle(
            "link-out",
            "mkdir -p usr/share/vulkan; ln -s /../../../../tmp/outside usr/share/vulkan/icd.d",
        ),
        true,
    ),
    (
        obstacle(
            "file-links-out",
            "mkdir -p etc/OpenCL/vendors
            ln -s /../../../../tmp/outside/kept etc/OpenCL/vendors/nvidia.icd",
        ),
        false,
    ),
    (obstacle("share-is-a-file", "rm -rf usr/share; echo x > usr/share"), false),
];

const fn obstacle(name: &'static str, script: &'static str) -> Image {
    Image { name, has_programs: true, script, env: &[] }
}

/// The container starts, and the libraries are found; or it is refused for that reason. The host is as it was.
fn obstacles(_: &Lane, podman: Podman) -> Result<(), Ended> {
    super::with_real_driver(podman, || {
        write(&Path::new(OUTSIDE).join("kept"), "the host's own\n")?;
        let before = snapshot::of(OUTSIDE)?;
        for (image, is_refused) in OBSTACLES {
            let folder = image.folder(podman)?;
            for root in [format!("{folder}:O"), folder.clone()] {
                let said = run_image(podman, GPU, &ASK, &["--rootfs", &root], "nvbind-probe")?;
                let as_said = if *is_refused { said.err.contains(REFUSED) } else { said.code == 0 };
                claim(as_said, &format!("{}: refused or not, as it should not be", image.name), || {
                    said.told()
                })?;
                podman.remove(&[GPU])?;
                before.claim_unchanged()?;
            }
        }
        Ok(())
    })
}
