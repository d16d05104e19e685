//! Images for a newer CUDA: which libcuda programs load, the image's or the driver's.

use crate::case::{Case, RUNTIME, WHO};
use crate::container::{ASK, GPU, run_image, then_remove};
use crate::containers::life::start;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman};
use crate::traces;
use nvbind_fixtures::driver_sim::ForwardCompat;
use nvbind_fixtures::error::{Error, Result as Made};
use nvbind_lanes::tree::write;
use std::path::{Path, PathBuf};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("forward-compatibility", image_wins).each(&[RUNTIME, WHO]).takes(2),
    Case::new("forward-compatibility-unlisted", driver_wins).each(&[WHO]),
];

/// The place in a lane of what the images have beyond the test image, a folder for each.
pub(crate) const COMPAT: &str = "/opt/compat";

/// Of CUDA 13.0; the simulated driver is a 570.
const LISTED: (&str, ForwardCompat) = (
    "listed",
    ForwardCompat {
        version: "580.65.06",
        note: r#"{"format":1,"CUDA version":"13.0","driver":[535,550,570,575,580],"device":[1,2,7]}"#,
    },
);
const UNLISTED: (&str, ForwardCompat) = (
    "unlisted",
    ForwardCompat {
        version: "580.65.06",
        note: r#"{"format":1,"CUDA version":"13.0","driver":[535,550,575,580],"device":[1,2,7]}"#,
    },
);

/// Makes the folders.
pub fn ensure(folder: &Path) -> Made<(PathBuf, PathBuf)> {
    for (name, compat) in [LISTED, UNLISTED] {
        compat.ensure(&folder.join(name)).map_err(|error| Error::Fixture(Box::new(error)))?;
    }
    Ok((folder.to_owned(), COMPAT.into()))
}

/// Programs load the image's libcuda, by whatever way they search, also after a restart and an `ldconfig`.
fn image_wins(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_image(podman, LISTED.0, || {
        let image_s = "/usr/local/cuda-13.0/compat/libcuda.so.580.65.06";
        claim_loads(podman, "", image_s)?;
        claim_loads(podman, "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64", image_s)?;
        let first = traces::diff(podman, GPU)?;
        start(podman, &["restart", "--time=0", GPU])?;
        claim_loads(podman, "", image_s)?;
        let last = traces::diff(podman, GPU)?;
        claim(first == last, "podman diff grows with a restart", || format!("{first:#?}\n{last:#?}"))?;
        claim_loads(podman, "ldconfig;", image_s)
    })
}

/// The driver's branch is none that the image's libcuda works on.
fn driver_wins(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_image(podman, UNLISTED.0, || {
        let driver_s = "/usr/local/nvidia/lib64/libcuda.so.570.172.08";
        claim_loads(podman, "", driver_s)?;
        claim_loads(podman, "ldconfig;", driver_s)
    })
}

/// Fails the case unless a program in the container that asks for libcuda gets this file.
fn claim_loads(podman: Podman, before: &str, file: &str) -> Result<(), Ended> {
    let load = format!("{before} nvbind-probe load libcuda.so.1");
    let said = podman.must(&["exec", GPU, "sh", "-c", &load])?;
    let loaded = said.out.trim_end() == format!("{file}\tcuInit=100");
    claim(loaded, &format!("libcuda.so.1 is not {file}"), || said.told())
}

/// A running container with a GPU of the test image with such a folder in it.
fn with_image(podman: Podman, name: &str, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    let image = format!("localhost/nvbind-{name}");
    let file = format!("/tmp/compat-{name}/Containerfile");
    write(Path::new(&file), &format!("FROM {IMAGE}\nCOPY usr /usr\n"))?;
    podman.must(&["build", "--file", &file, "--tag", &image, &format!("{COMPAT}/{name}")])?;
    let ended = then_remove(podman, || {
        let mut options = vec!["--detach", "--stop-timeout=0"];
        options.extend(ASK);
        run_image(podman, GPU, &options, &[&image], "sleep 1000")?.must()?;
        body()
    });
    podman.must(&["rmi", "--force", &image])?;
    ended
}
