//! Docker: what each version needs for its containers to get GPUs from nvbind.
//!
//! | version | `--device nvidia.com/gpu=…` | `--gpus` |
//! |---|---|---|
//! | before 25 | – | a hook of [`DOCKERS_NAME`] in dockerd's PATH |
//! | 25 to 27 | `features.cdi` in daemon.json | the same |
//! | 28 to 29.1 | as it is | the same |
//! | 29.2 and newer | as it is | a program [`CDI_NAME`] in dockerd's PATH stands for devices of CDI |
//!
//! Sources: `daemon/nvidia_linux.go`, `daemon/devices_nvidia_linux.go` and `daemon/cdi.go` of moby.

pub(crate) mod daemon_json;

use crate::version::{self, Version};
use nvbind_core::oci::{DOCKERS_NAME, is_hook};
use std::path::{Path, PathBuf};

/// The program that newer versions look for.
pub(crate) const CDI_NAME: &str = "nvidia-cdi-hook";

/// Where dockerd is found, and where it looks for the hook: systemd's own PATH for services (`DEFAULT_PATH` in
/// `src/basic/path-util.h`).
pub(crate) const PATH: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// What a version needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The name of the link to nvbind's hook in dockerd's PATH.
    pub(crate) link: &'static str,
    /// Whether it knows CDI at all.
    pub(crate) knows_cdi: bool,
    /// Whether that has to be switched on.
    pub(crate) feature: bool,
}

impl Needs {
    #[must_use]
    pub(crate) fn of(version: Version) -> Needs {
        let link = if version < Version([29, 2, 0]) { DOCKERS_NAME } else { CDI_NAME };
        let knows_cdi = version >= Version([25, 0, 0]);
        Needs { link, knows_cdi, feature: knows_cdi && version < Version([28, 0, 0]) }
    }
}

/// A program of this name where dockerd looks, below the directory that stands in for `/`.
#[must_use]
pub(crate) fn find(root: &Path, name: &str) -> Option<PathBuf> {
    let places = PATH.iter().map(|directory| root.join(directory.trim_start_matches('/')).join(name));
    // A link that leads nowhere, too.
    places.into_iter().find(|path| path.symlink_metadata().is_ok())
}

/// Where the links of such a program end, if that is nvbind's hook.
#[must_use]
pub(crate) fn leads_to_nvbind(path: &Path) -> bool {
    path.read_link().is_ok_and(|target| is_hook(&target))
}

/// The version of a daemon; none where it does not tell it.
#[must_use]
pub(crate) fn version_of(dockerd: &Path) -> Option<Version> {
    Version::find(&version::ask(dockerd)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_needs_what_it_looks_for() {
        for (version, link, knows_cdi, feature) in [
            ([20, 10, 24], DOCKERS_NAME, false, false),
            ([25, 0, 0], DOCKERS_NAME, true, true),
            ([27, 5, 1], DOCKERS_NAME, true, true),
            ([28, 5, 2], DOCKERS_NAME, true, false),
            ([29, 1, 9], DOCKERS_NAME, true, false),
            ([29, 2, 0], CDI_NAME, true, false),
        ] {
            assert_eq!(Needs::of(Version(version)), Needs { link, knows_cdi, feature }, "{version:?}");
        }
    }

    #[test]
    fn a_link_is_nvbinds_also_where_it_leads_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("usr/bin");
        std::fs::create_dir_all(&bin).unwrap();
        assert_eq!(find(root.path(), DOCKERS_NAME), None);
        let link = bin.join(DOCKERS_NAME);
        std::os::unix::fs::symlink("/gone/nvbind-hook", &link).unwrap();
        assert_eq!(find(root.path(), DOCKERS_NAME), Some(link.clone()));
        assert!(leads_to_nvbind(&link));
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, "").unwrap();
        assert!(!leads_to_nvbind(&link));
    }
}
