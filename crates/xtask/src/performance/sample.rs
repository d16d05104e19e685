//! What is measured, one at a time: lines of JSON from the lane.

use nvbind_e2e::podman::{Podman, Runtime, User};
use serde::{Deserialize, Serialize};

/// What stands at the container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    Plain,
    /// A static hook that does nothing.
    NoopHook,
    /// A C program that makes the same mounts and nothing else.
    CFloor,
    Nvbind,
}

impl Variant {
    /// All of them, plain podman first.
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::NoopHook, Self::CFloor, Self::Nvbind];

    /// The name in the table and the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::NoopHook => "noop-hook",
            Self::CFloor => "c-floor",
            Self::Nvbind => "nvbind",
        }
    }
}

/// Who runs podman with which runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// `crun` or `runc`.
    pub(crate) runtime: String,
    /// `rootful` or `rootless`.
    pub(crate) mode: String,
}

/// Every place, in the order of the table.
pub(crate) fn podmans() -> Vec<Podman> {
    let of = |runtime| [User::Root, User::Rootless].map(|user| Podman::new(user, runtime));
    [Runtime::Crun, Runtime::Runc].into_iter().flat_map(of).collect()
}

impl From<Podman> for Place {
    fn from(podman: Podman) -> Self {
        let mode = match podman.user {
            User::Root => "rootful",
            User::Rootless => "rootless",
        };
        Self { runtime: podman.runtime().to_owned(), mode: mode.to_owned() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Sample {
    /// One `podman run`.
    Start {
        place: Place,
        variant: Variant,
        /// Differences are taken within a round.
        round: usize,
        /// To the first instruction, in milliseconds.
        start: f64,
        /// To podman's end.
        total: f64,
    },
    /// One hook alone.
    Hook {
        place: Place,
        variant: Variant,
        /// From before it is started to after its end, in milliseconds.
        wall: f64,
        /// Its processor time: what a busy machine takes from others does not count.
        processor: f64,
        /// Peak resident memory in KiB.
        rss: u64,
    },
    /// What nvbind leaves in a container's upper layer.
    Layer {
        /// The capabilities that were asked for.
        capabilities: String,
        /// Inodes beyond those of the same container without it.
        inodes: u64,
    },
    /// One `nvbind run` with a stand-in for podman.
    Shim {
        /// To the stand-in's first instruction, beyond the same without nvbind.
        added: f64,
    },
    /// What is put into the container.
    Work {
        /// Files of the driver.
        files: u64,
        links: u64,
        nodes: u64,
    },
}
