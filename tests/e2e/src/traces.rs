//! What a container leaves in its root file system and on the host, compared with the same container without nvbind.

use crate::ended::{Ended, claim};
use crate::podman::Podman;
use std::collections::BTreeSet;

/// The most new paths in a container's upper layer, with every capability of the driver.
const MOST: usize = 30;

/// Where nvbind may add or change something in a root filesystem: these paths, and what is below the folders.
const FILES: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d/00-nvbind.conf",
    "/etc/ld-musl-aarch64.path",
    "/etc/ld-musl-x86_64.path",
    "/usr/bin/nvidia-smi",
    "/usr/local/nvidia",
    "/run/nvbind",
    "/run/nvidia-fabricmanager",
    "/run/nvidia-persistenced",
    "/run/opengl-driver",
];
const BELOW: &[&str] = &[
    "/etc/OpenCL/vendors/",
    "/etc/glvnd/egl_vendor.d/",
    "/etc/vulkan/",
    "/etc/nvidia/",
    "/lib/firmware/nvidia/",
    "/run/nvidia-fabricmanager/",
    "/run/nvidia-persistenced/",
    "/run/opengl-driver/",
    "/usr/bin/nvidia-",
    "/usr/lib/firmware/nvidia/",
    "/usr/share/X11/",
    "/usr/share/egl/",
    "/usr/share/glvnd/",
    "/usr/share/nvidia/",
    "/usr/share/vulkan/",
];
/// GBM's backend lies beside each of the image's own libraries.
const BACKEND: &str = "/gbm/nvidia-drm_gbm.so";
/// A folder that is of use only where the image has it.
const NEVER_MADE: &str = "A /usr/share/X11";

/// What `podman diff` says of a container.
pub(crate) fn diff(podman: Podman, name: &str) -> Result<BTreeSet<String>, Ended> {
    let said = podman.must(&["diff", name])?;
    Ok(said.out.lines().map(str::to_owned).collect())
}

/// The paths that `with` nvbind are new, beyond those that are new without it.
pub(crate) fn added<'a>(with: &'a BTreeSet<String>, without: &'a BTreeSet<String>) -> Vec<&'a str> {
    with.difference(without).filter_map(|line| line.strip_prefix("A ")).collect()
}

/// Fails the case if `with` nvbind has more than it may beyond `without`.
pub(crate) fn claim_small(with: &BTreeSet<String>, without: &BTreeSet<String>) -> Result<(), Ended> {
    let more: Vec<&String> = with.difference(without).collect();
    let strays: Vec<&&String> = more.iter().filter(|line| !may_be(line, with)).collect();
    claim(strays.is_empty(), "podman diff shows what nvbind may not leave", || format!("{strays:#?}"))?;
    claim(added(with, without).len() <= MOST, "nvbind leaves too many paths in the container's layer", || {
        format!("{more:#?}")
    })
}

/// Whether a line of `podman diff` is something of nvbind's, or a folder above it.
fn may_be(line: &str, all: &BTreeSet<String>) -> bool {
    let ours = |path: &str| {
        FILES.contains(&path)
            || path.ends_with(BACKEND)
            || BELOW.iter().any(|folder| path.starts_with(folder))
    };
    if line == NEVER_MADE {
        return false;
    }
    let Some((_, path)) = line.split_once(' ') else {
        return false;
    };
    let folder = format!("{path}/");
    ours(path)
        || all
            .iter()
            .filter_map(|line| line.split_once(' '))
            .any(|(_, other)| other.starts_with(&folder) && ours(other))
}

/// Fails the case unless the mount tables before and after it are the same.
pub(crate) fn claim_nothing_mounted(before: &str, after: &str) -> Result<(), Ended> {
    let more = mounted(before, after);
    claim(more.is_empty(), "something is left mounted", || more.join("\n"))
}

/// Where podman mounts its own storage on itself, when it likes.
const STORAGE: &str = "/containers/storage/overlay";

/// The lines of a mount table that another lacks, but for their numbers: those change without a mount.
fn mounted(before: &str, after: &str) -> Vec<String> {
    // ID PARENT MAJ:MIN ROOT POINT …: the numbers of a namespace's copy of a mount are its own.
    let strip = |line: &str| line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
    let before: Vec<String> = before.lines().map(strip).collect();
    let podmans = |line: &str| line.split(' ').nth(2).is_some_and(|point| point.ends_with(STORAGE));
    after.lines().map(strip).filter(|line| !before.contains(line) && !podmans(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn links_and_the_folders_above_them_are_ours() {
        let without = lines(&["C /etc", "A /etc/hosts"]);
        let with = lines(&[
            "C /etc",
            "A /etc/hosts",
            "C /etc/ld.so.cache",
            "C /usr",
            "C /usr/local",
            "A /usr/local/nvidia",
            "C /usr/lib",
            "A /usr/lib/gbm",
            "A /usr/lib/gbm/nvidia-drm_gbm.so",
        ]);
        assert_eq!(claim_small(&with, &without), Ok(()));
    }

    #[test]
    fn a_stray_file_or_folder_fails_the_case() {
        let without = lines(&[]);
        let told = |line: &str| match claim_small(&lines(&[line]), &without) {
            Err(Ended::Failed { output, .. }) => output.contains(line),
            _ => false,
        };
        assert!(told("A /usr/local/nvidia-stub"));
        assert!(told("A /usr/lib/libcuda.so.1"));
        assert!(told("C /opt"));
        assert!(told("A /usr/share/X11"));
    }

    #[test]
    fn a_mount_that_stays_is_told_and_renumbering_is_not() {
        let before = "22 1 0:1 / / rw - ext4 a rw\n30 22 0:5 / /proc rw - proc p rw\n";
        let after =
            "22 1 0:1 / / rw - ext4 a rw\n31 22 0:5 / /proc rw - proc p rw\n40 22 0:9 / /x ro - tmpfs t ro\n";
        assert_eq!(mounted(before, after), ["0:9 / /x ro - tmpfs t ro"]);
        let storage = "41 22 0:7 /s /var/lib/containers/storage/overlay rw - tmpfs t rw\n";
        assert_eq!(mounted("", storage), Vec::<String>::new());
    }
}
