//! Where the trees of a [`Host`](super::Host) are: `[driver]` of the configuration.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where the driver is: each key is a directory that stands in for `/`, the machine's own by default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
// For messages, the name of the table.
#[serde(default, deny_unknown_fields, expecting = "struct Driver")]
pub struct Roots {
    /// Libraries, programs, data files.
    pub root: PathBuf,
    /// Device nodes (`dev/` below it).
    pub dev_root: PathBuf,
    /// The driver's state (`proc/` below it).
    pub proc_root: PathBuf,
    /// PCI devices (`sys/` below it).
    pub sys_root: PathBuf,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots::below(Path::new("/"))
    }
}

impl Roots {
    /// Whether the driver is this machine's own, and not one below a directory: only its modules are loaded and only its
    /// nodes are made.
    #[must_use]
    pub fn are_machine(&self) -> bool {
        [&self.dev_root, &self.proc_root].iter().all(|root| *root == Path::new("/"))
    }

    /// All four below one directory: what `--driver-root DIR` means.
    #[must_use]
    pub fn below(root: &Path) -> Roots {
        Roots {
            root: root.to_path_buf(),
            dev_root: root.to_path_buf(),
            proc_root: root.to_path_buf(),
            sys_root: root.to_path_buf(),
        }
    }
}
