//! Debian's own programs and the loaders that they are linked with: each opens NVIDIA's library from the view. No
//! device answers, and nobody expects one to.

use crate::case::{APPLICATIONS, BOOKWORM_PODMAN, CRUN, Case, RELEASE, WHO};
use crate::container::{ASK, GPU, run_image};
use crate::ended::{Ended, claim};
use crate::images::IN_IMAGES;
use crate::images::claims::{VIEW, claim_opened};
use crate::images::made::other_driver;
use crate::images::{APPS, claims, with_real_driver};
use crate::lane::Lane;
use crate::podman::{Podman, Said, said};
use crate::probe;
use nvbind_fixtures::driver_sim::{TRIPLET, TRIPLET_32};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::write;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("images/debian", all_found).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(8),
    Case::new("images/vulkan", vulkan).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/egl", egl).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/opencl", opencl).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/gbm", gbm).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/own-icd", own_icd).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/package", package).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/32-bit", programs_32_bit)
        .each(&[WHO])
        .only(&[&[BOOKWORM_PODMAN, APPLICATIONS, CRUN]])
        .takes(2),
];

/// The image of the lane's Debian release, made at its first use: the podman's storage ends with the lane.
pub(super) const IMAGE: &str = "localhost/nvbind-applications";

/// Runs a case's body with that image and the real driver.
pub(super) fn with_applications(
    podman: Podman,
    body: impl FnOnce() -> Result<(), Ended>,
) -> Result<(), Ended> {
    with_real_driver(podman, || {
        if podman.run(&["image", "exists", IMAGE])?.code != 0 {
            let archive = "/tmp/applications.tar";
            // What a user's own import could not make is made by podman in every container.
            let words = ["--exclude=./dev/*", "--exclude=./var/cache/apt", "-C", APPS, "-cf", archive, "."];
            said(Command::new("tar").args(words))?.must()?;
            podman.must(&["import", "--quiet", archive, IMAGE])?;
            fs::remove_file(archive).on("remove", Path::new(archive))?;
        }
        body()
    })
}

/// The probe, which belongs to no Debian release.
pub(super) const PROBE: &str = "/opt/nvbind/bin/nvbind-probe:/usr/bin/nvbind-probe:ro";

/// Runs a command in such a container.
fn run(podman: Podman, options: &[&str], command: &str) -> Result<Said, Ended> {
    let all: Vec<&str> = ASK.iter().chain(options).copied().collect();
    Ok(run_image(podman, GPU, &all, &[IMAGE], command)?)
}

/// What an image may lack of what some library of the driver needs; of all else it has the package.
const LACKS: &[&str] = &["libcrypto.so.3"];

fn all_found(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_applications(podman, || {
        let look = claims::probe(&[])?.join(" ");
        let said = run(podman, &["--volume", PROBE], &look)?;
        probe::claim_works(&said)?;
        let lacks: BTreeSet<String> = claims::lacking(&said).into_iter().collect();
        let expected = lacks.iter().all(|name| LACKS.contains(&name.as_str()));
        claim(expected, &format!("the driver's libraries lack {lacks:?} in the image"), || said.told())
    })
}

fn vulkan(_: &Lane, podman: Podman) -> Result<(), Ended> {
    opens(podman, "vulkaninfo", "libGLX_nvidia.so.0")
}

fn egl(_: &Lane, podman: Podman) -> Result<(), Ended> {
    opens(podman, &format!("eglinfo.{TRIPLET}"), "libEGL_nvidia.so.0")
}

fn opencl(_: &Lane, podman: Podman) -> Result<(), Ended> {
    opens(podman, "clinfo", "libnvidia-opencl.so.1")
}

/// The program's own end depends on a device, and says nothing here.
fn opens(podman: Podman, program: &str, library: &str) -> Result<(), Ended> {
    with_applications(podman, || {
        let said = run(podman, &["--env=LD_DEBUG=libs"], program)?;
        claim_opened(&said, &format!("{VIEW}/lib64/{library}"))
    })
}

/// GBM's loader opens its backend by a path beside itself (Mesa, src/gbm/main/backend.c).
fn gbm(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_applications(podman, || {
        // Loaded before glibc's own little program, 64-bit or 32-bit as the library.
        let look = "for gbm in /usr/lib/*-linux-gnu/libgbm.so.1; do
                folder=${gbm%/*}
                backend=$folder/gbm/nvidia-drm_gbm.so
                readlink -f $backend
                LD_DEBUG=libs LD_PRELOAD=$backend $folder/libc.so.6 && echo opened $backend
            done";
        let said = run(podman, &[], look)?;
        let places: Vec<&str> = said.out.lines().filter(|line| line.starts_with('/')).collect();
        let ours = !places.is_empty() && places.iter().all(|place| place.starts_with(VIEW));
        claim(ours, "the backend is no file of the view", || said.told())?;
        for backend in said.out.lines().filter_map(|line| line.strip_prefix("opened ")) {
            claim_opened(&said, backend)?;
        }
        claim(said.code == 0, "the backend does not load", || said.told())
    })
}

/// A description of the image's own, at a place that the Vulkan loader prefers: it is bound over, and there is no
/// second.
fn own_icd(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_applications(podman, || {
        let folder = Path::new("/tmp/own-icd");
        let image = "localhost/nvbind-own-icd";
        let icd = "/etc/vulkan/icd.d/nvidia_icd.json";
        write(&folder.join("icd.json"), OWN_ICD)?;
        write(&folder.join("Containerfile"), &format!("FROM {IMAGE}\nCOPY icd.json {icd}\n"))?;
        podman.must(&["build", "--quiet", "--tag", image, &folder.to_string_lossy()])?;
        let look = format!("cat {icd}; VK_LOADER_DEBUG=all LD_DEBUG=libs vulkaninfo");
        let said = run_image(podman, GPU, &ASK, &[image], &look)?;
        let removed = podman.must(&["rmi", "--force", image]);
        let kept = said.out.contains("/opt/nowhere");
        claim(!kept, "the image's own description is still there", || said.told())?;
        claim_opened(&said, &format!("{VIEW}/lib64/libGLX_nvidia.so.0"))?;
        // It looks several times.
        let found: BTreeSet<&str> = said.err.lines().filter_map(found_icd).collect();
        claim(found.len() == 1, "the Vulkan loader does not find NVIDIA's description once", || said.told())?;
        removed.map(drop)
    })
}

const OWN_ICD: &str = r#"{"file_format_version": "1.0.0",
    "ICD": {"library_path": "/opt/nowhere/libGLX_nvidia.so.0", "api_version": "1.0.0"}}
"#;

/// NVIDIA's description that a line of the loader's is about: `… Found ICD manifest file PATH, version …`
fn found_icd(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Found ICD manifest file ")?;
    let (path, _) = rest.split_once(',')?;
    path.contains("nvidia_icd").then_some(path)
}

/// A package with a driver's library of another version is installed after the start, as one that depends on it would
/// have it: its trigger has ldconfig make the cache anew, and the host's library is still the one that is found.
fn package(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_applications(podman, || {
        write(Path::new("/tmp/package/DEBIAN/control"), CONTROL)?;
        write(Path::new("/tmp/package/DEBIAN/triggers"), "activate-noawait ldconfig\n")?;
        let script = format!(
            "set -eu; cd /tmp/package; mkdir -p usr/lib; cp {}/libcuda.so.*.* usr/lib
            dpkg-deb --root-owner-group --build . /tmp/late.deb",
            other_driver()
        );
        said(Command::new("sh").args(["-c", &script]))?.must()?;
        let probe = claims::probe(&[])?.join(" ");
        let install =
            "dpkg --install /tmp/late.deb && ldconfig -p | grep 'libcuda.so.1 .* => /\\(usr/\\)\\?lib/'";
        // ldconfig knows a library by its soname alone, and so does the probe without a list.
        let look = format!("{probe} && {{ {install}; }} >&2 && nvbind-probe");
        let options = ["--volume", PROBE, "--volume", "/tmp/late.deb:/tmp/late.deb:ro"];
        probe::claim_works(&run(podman, &options, &look)?)
    })
}

const CONTROL: &str = "Package: nvbind-late\nVersion: 1\nArchitecture: all\n\
    Maintainer: nobody <nobody@localhost>\nDescription: a library\n";

/// Where the image has 32-bit libraries, so has the view: 32-bit programs find the 32-bit driver, by the same
/// descriptions.
fn programs_32_bit(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let program = format!("eglinfo.{TRIPLET_32}");
    with_applications(podman, || {
        let said = run(podman, &["--env=LD_DEBUG=libs"], &program)?;
        claim_opened(&said, &format!("{VIEW}/lib/libEGL_nvidia.so.0"))?;
        podman.remove(&[GPU])?;
        // Every name of the view's 32-bit folder.
        let look = format!(
            "cd {VIEW}/lib && for name in *.so.*; do
                echo found $name
                LD_DEBUG=libs LD_PRELOAD=$name /usr/lib/{TRIPLET_32}/libc.so.6
            done"
        );
        let said = run(podman, &[], &look)?;
        let names: Vec<&str> = said.out.lines().filter_map(|line| line.strip_prefix("found ")).collect();
        for name in ["libcuda.so.1", "libGLX_nvidia.so.0", "libnvidia-ml.so.1", "libnvidia-opencl.so.1"] {
            claim(names.contains(&name), &format!("no 32-bit {name} in the view"), || said.told())?;
        }
        names.iter().try_for_each(|name| claim_opened(&said, &format!("{VIEW}/lib/{name}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nvidias_description_counts() {
        let line =
            "DRIVER:    Found ICD manifest file /usr/share/vulkan/icd.d/nvidia_icd.json, version \"1.0.0\"";
        assert_eq!(found_icd(line), Some("/usr/share/vulkan/icd.d/nvidia_icd.json"));
        assert_eq!(found_icd("Found ICD manifest file /usr/share/vulkan/icd.d/lvp_icd.json, version"), None);
    }
}
