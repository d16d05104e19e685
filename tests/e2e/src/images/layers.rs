//! What is left in a container's layer with every capability of the driver, and in an image made from it.

use crate::case::{Case, RELEASE, WHO};
use crate::container;
use crate::container::{ASK, GPU, PLAIN, control_image, run_image};
use crate::ended::{Ended, claim};
use crate::images::IN_IMAGES;
use crate::images::applications::{IMAGE, PROBE, with_applications};
use crate::images::claims;
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::Podman;
use crate::{probe, traces};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("images/traces", left).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/commit", committed).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(3),
];

/// Links, the cache, the drop-in and the folders above them: no file of the driver's, and no empty stub for one.
fn left(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_applications(podman, || {
        control_image(podman, &[], &[IMAGE], "true")?;
        let mut keep = vec!["--detach", "--stop-timeout=0"];
        keep.extend(ASK);
        run_image(podman, GPU, &keep, &[IMAGE], "sleep 1000")?.must()?;
        let (with, without) = (traces::diff(podman, GPU)?, traces::diff(podman, PLAIN)?);
        traces::claim_small(&with, &without)?;
        let added = traces::added(&with, &without);
        let mut words = vec!["exec", GPU, "stat", "-c", "%F:%n"];
        words.extend(&added);
        let kinds = podman.must(&words)?.out;
        let strays: Vec<&str> = kinds.lines().filter(|line| !may_be_added(line)).collect();
        claim(strays.is_empty(), "more than links is left in the layer", || strays.join("\n"))?;
        podman.remove(&[GPU])?;
        // The test image has no GBM, and nobody who would look for its backend.
        container::run(podman, GPU, &ASK, "true")?.must()?;
        let diff = traces::diff(podman, GPU)?;
        claim(
            !diff.iter().any(|line| line.contains("/gbm")),
            "a backend is left where there is no GBM",
            || format!("{diff:#?}"),
        )
    })
}

/// `symbolic link:/usr/bin/nvidia-smi`
fn may_be_added(line: &str) -> bool {
    let files = ["/etc/ld.so.cache", "/etc/ld.so.conf.d/00-nvbind.conf"];
    line.split_once(':').is_some_and(|(kind, path)| match kind {
        "symbolic link" | "directory" => true,
        _ => files.contains(&path),
    })
}

/// An image made from a container runs without nvbind as the one that it came from, and with another driver there is
/// nothing of the earlier one in it.
fn committed(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let image = "localhost/nvbind-committed";
    with_applications(podman, || {
        let look = format!("{} >&2 && ls /usr/local/nvidia/lib64", claims::probe(&[])?.join(" "));
        let first = run_image(podman, GPU, &with_probe(), &[IMAGE], &look)?.must()?;
        let version = version(&first.out).ok_or_else(|| first.failed("no libcuda of some version"))?;
        podman.must(&["commit", "--quiet", GPU, image])?;
        podman.remove(&[GPU])?;
        let ended = without(podman, image).and_then(|()| with_another(podman, image, version));
        let removed = podman.must(&["rmi", "--force", image]);
        ended?;
        removed.map(drop)
    })
}

fn with_probe() -> Vec<&'static str> {
    ASK.into_iter().chain(["--volume", PROBE]).collect()
}

/// The image's own tools do the same in both.
fn without(podman: Podman, image: &str) -> Result<(), Ended> {
    let look = "ldconfig -p >/dev/null && ldconfig && ldconfig -p | grep -c nvidia; clinfo; vulkaninfo >/dev/null 2>&1; echo $?";
    let before = run_image(podman, PLAIN, &[], &[IMAGE], look)?;
    podman.remove(&[PLAIN])?;
    let after = run_image(podman, PLAIN, &[], &[image], look)?;
    podman.remove(&[PLAIN])?;
    let same = before.code == 0 && (before.code, &before.out) == (after.code, &after.out);
    claim(same, "the committed image does not run as the original one without nvbind", || {
        format!("{}\n{}", before.told(), after.told())
    })
}

/// Another version, and then less of it: the links of what it does not have are gone.
fn with_another(podman: Podman, image: &str, version: &str) -> Result<(), Ended> {
    use_driver(DRIVER)?;
    let dangling = "find / -xdev -type l -lname '/usr/local/nvidia/*' ! -exec test -e {} \\; -print";
    let look = format!(
        "grep -aF {version} /etc/ld.so.cache; ldconfig -p | grep -F {version}
        find / -xdev -lname '*{version}*'; {dangling}; {}",
        probe::command(None)
    );
    let said = run_image(podman, GPU, &with_probe(), &[image], &look)?;
    claim(said.out.starts_with('{'), "something of the earlier driver is left", || said.told())?;
    probe::claim_works(&said)?;
    podman.remove(&[GPU])?;
    let options: Vec<&str> =
        ASK.into_iter().chain(["--annotation", "io.nvbind.capabilities=utility"]).collect();
    let said = run_image(podman, GPU, &options, &[image], dangling)?.must()?;
    claim(said.out.is_empty(), "links of what the driver does not have are left", || said.told())
}

/// The driver's version is the end of its libcuda's file name.
fn version(names: &str) -> Option<&str> {
    names.lines().filter_map(|name| name.strip_prefix("libcuda.so.")).find(|rest| rest.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_folders_and_the_loaders_files_may_be_added() {
        assert!(may_be_added("symbolic link:/usr/bin/nvidia-smi"));
        assert!(may_be_added("regular file:/etc/ld.so.cache"));
        assert!(!may_be_added("regular empty file:/usr/lib/libcuda.so.1"));
        assert!(!may_be_added("regular file:/usr/share/vulkan/icd.d/nvidia_icd.json"));
    }

    #[test]
    fn the_version_is_libcudas() {
        assert_eq!(version("libcuda.so.1\nlibcuda.so.535.309.01\n"), Some("535.309.01"));
        assert_eq!(version("libcuda.so.1\n"), None);
    }
}
