//! Images that bring a driver's files of another version, or a linker cache that cannot be used.

use crate::case::{Case, RELEASE, WHO};
use crate::container::{ASK, GPU, PLAIN, control_image, run_image};
use crate::ended::{Ended, claim};
use crate::images::IN_IMAGES;
use crate::images::claims;
use crate::images::claims::{VIEW, claim_all_found, host_libcuda};
use crate::images::made::Image;
use crate::lane::Lane;
use crate::podman::Podman;
use crate::{probe, snapshot};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("images/libcuda-in-cache", in_cache).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(2),
    Case::new("images/libcuda-in-variable", in_variable).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/populated-view", populated).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(2),
    // The image's caches are damaged, and not the driver.
    Case::new("images/damaged-caches", damaged).each(&[WHO]).only(IN_IMAGES).takes(10),
];

/// Another libcuda where the loader looks first without a cache, and one where CUDA's images have the loader look.
const IN_CACHE: Image = Image {
    name: "libcuda-in-cache",
    has_programs: true,
    script: "mkdir -p opt/cuda
        cp $driver/libcuda.so.*.* $lib/libcuda.so.1
        cp $driver/libcuda.so.*.* opt/cuda/libcuda.so.1
        echo /opt/cuda > etc/ld.so.conf.d/000_cuda.conf
        ldconfig -X -r .",
    env: &[],
};

/// The host's wins, also when the cache is made anew inside.
fn in_cache(_: &Lane, podman: Podman) -> Result<(), Ended> {
    IN_CACHE.with(podman, |image| {
        let before = run_image(podman, PLAIN, &[], &[image], "nvbind-probe load libcuda.so.1")?;
        claim(before.out.contains("/libcuda.so.1"), "the image has no libcuda", || before.told())?;
        let probe = claims::probe(&[])?.join(" ");
        // ldconfig knows a library by its soname alone, and so does the probe without a list.
        let look = format!("{probe} && ldconfig && nvbind-probe");
        probe::claim_works(&run_image(podman, GPU, &ASK, &[image], &look)?)
    })
}

const IN_VARIABLE: Image = Image {
    name: "libcuda-in-variable",
    has_programs: true,
    script: "mkdir -p opt/cuda && cp $driver/libcuda.so.*.* opt/cuda/libcuda.so.1",
    env: &["LD_LIBRARY_PATH=/opt/cuda"],
};

/// LD_LIBRARY_PATH comes before the cache: the host's file lies over the image's.
fn in_variable(_: &Lane, podman: Podman) -> Result<(), Ended> {
    IN_VARIABLE.with(podman, |image| {
        let look = format!(
            "{} && stat -Lc file:%d:%i /opt/cuda/libcuda.so.1",
            claims::probe(&["libcuda.so.1"])?.join(" ")
        );
        claim_is_hosts(podman, image, &look)
    })
}

/// What CUDA's images have: these variables, and in some a library at the place of the view.
const POPULATED: Image = Image {
    name: "populated-view",
    has_programs: true,
    script: "mkdir -p usr/local/nvidia/bin usr/local/nvidia/lib64
        cp $driver/libcuda.so.*.* usr/local/nvidia/lib64/libcuda.so.1
        echo 'the image has its own' > usr/local/nvidia/bin/kept",
    env: &[
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
        "PATH=/usr/local/nvidia/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ],
};

/// The view is elsewhere, the image's files stay, and its libcuda is the host's.
fn populated(_: &Lane, podman: Podman) -> Result<(), Ended> {
    POPULATED.with(podman, |image| {
        let look = format!(
            "cat {VIEW}/bin/kept >&2 && {} --view /run/nvbind && stat -Lc file:%d:%i {VIEW}/lib64/libcuda.so.1",
            claims::probe(&["libcuda.so.1"])?.join(" ")
        );
        claim_is_hosts(podman, image, &look)
    })
}

/// The last line of the command is the identity of the library that the loader finds.
fn claim_is_hosts(podman: Podman, image: &str, look: &str) -> Result<(), Ended> {
    let said = run_image(podman, GPU, &ASK, &[image], look)?;
    probe::claim_works(&said)?;
    let found = said.out.trim_end().lines().next_back().unwrap_or_default();
    claim(found == host_libcuda()?, "the program gets the image's libcuda", || said.told())
}

/// Caches that say nothing, or what is not so: a word, more entries than there is file, a size beyond reason, and
/// big-endian.
const DAMAGED: &[Image] = &[
    damaged_by("garbage", "echo garbage > etc/ld.so.cache"),
    damaged_by("too-many", r"printf 'glibc-ld.so.cache1.1\377\377\377\177\0\0\0\0\2' > etc/ld.so.cache"),
    damaged_by("huge", "truncate -s 100M etc/ld.so.cache"),
    damaged_by(
        "big-endian",
        r"{ printf 'glibc-ld.so.cache1.1\0\0\0\1\0\0\0\20\3'; head -c 19 /dev/zero
            printf '\0\0\3\3\0\0\0\110\0\0\0\110'; head -c 12 /dev/zero; printf 'libcuda.so.1'; head -c 4 /dev/zero
        } > etc/ld.so.cache",
    ),
];

const fn damaged_by(name: &'static str, script: &'static str) -> Image {
    Image { name, has_programs: true, script, env: &[] }
}

/// The driver is found all the same, and the file in the layer is as it was: below an overlay, and where the folder is
/// the root filesystem itself.
fn damaged(_: &Lane, podman: Podman) -> Result<(), Ended> {
    super::with_real_driver(podman, || {
        for image in DAMAGED {
            let folder = image.folder(podman)?;
            let etc = format!("{folder}/etc");
            for root in [format!("{folder}:O"), folder.clone()] {
                // What podman itself makes in a folder is there before.
                control_image(podman, &[], &["--rootfs", &root], "true")?;
                let before = snapshot::of(&etc)?;
                claim_all_found(podman, &["--rootfs", &root])?;
                podman.remove(&[GPU, PLAIN])?;
                before.claim_unchanged()?;
            }
        }
        Ok(())
    })
}
