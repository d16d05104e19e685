//! Lanes: where the tests run. The plain one is `cargo test`; the others are Debian trees in namespaces of this kernel, each
//! with its own processes, mounts, network, cgroups and container storage, and nothing of the person's own.

pub(crate) mod cgroup;
mod enter;
mod loopback;
mod packages;
pub(crate) mod run;
mod seccomp;
pub(crate) mod spec;
mod supervise;
mod systemd;
pub(crate) mod tree;
mod unit;

use std::path::Path;

pub use enter::enter;
pub use supervise::supervise;

use crate::error::{Error, Result};
use crate::report::Case;
use cgroup::View;
use spec::{Init, Suite};
use tree::Recipe;

/// How a lane runs its cases.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `cargo test` of the workspace.
    Unit,
    /// Cases in a tree; with the applications of its release, those in images too.
    Tree { recipe: &'static Recipe, view: View, init: Init, apps: Option<&'static Recipe> },
    /// Packages in a tree where nothing is installed.
    Installation { recipe: &'static Recipe, view: View },
    /// Packages made twice, and looked at by the tools of their formats.
    Packages,
}

/// A lane by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// The name, as in `cargo xtask test NAME` and in front of its cases' names.
    pub(crate) name: &'static str,
    kind: Kind,
}

/// All lanes, in the order in which they run. What is found in an image depends on the driver and not on cgroups: one lane
/// of each release has the cases in images.
pub(crate) const LANES: &[Lane] = &[
    Lane { name: "unit", kind: Kind::Unit },
    Lane {
        name: "bookworm-v1",
        kind: Kind::Tree { recipe: &tree::BOOKWORM, view: View::V1, init: Init::Plain, apps: None },
    },
    Lane {
        name: "bookworm-v2",
        kind: Kind::Tree {
            recipe: &tree::BOOKWORM,
            view: View::V2,
            init: Init::Plain,
            apps: Some(&tree::BOOKWORM_APPS),
        },
    },
    Lane {
        name: "bookworm-systemd-v1",
        kind: Kind::Tree { recipe: &tree::BOOKWORM, view: View::V1, init: Init::Systemd, apps: None },
    },
    Lane {
        name: "trixie-v1",
        kind: Kind::Tree {
            recipe: &tree::TRIXIE,
            view: View::V1,
            init: Init::Plain,
            apps: Some(&tree::TRIXIE_APPS),
        },
    },
    Lane {
        name: "trixie-systemd",
        kind: Kind::Tree { recipe: &tree::TRIXIE, view: View::V2, init: Init::Systemd, apps: None },
    },
    Lane { name: "packages", kind: Kind::Packages },
    Lane { name: "packages-bookworm", kind: Kind::Installation { recipe: &tree::BOOKWORM, view: View::V1 } },
    Lane { name: "packages-trixie", kind: Kind::Installation { recipe: &tree::TRIXIE, view: View::V2 } },
];

/// The lanes of these names; all, if there are none.
pub(crate) fn named(names: &[String]) -> Result<Vec<Lane>> {
    if names.is_empty() {
        return Ok(LANES.to_vec());
    }
    let known: Vec<&str> = LANES.iter().map(|lane| lane.name).collect();
    names
        .iter()
        .map(|name| {
            let found = LANES.iter().find(|lane| lane.name == name).copied();
            found.ok_or_else(|| Error::failed(format!("no lane {name}; there are: {}", known.join(", "))))
        })
        .collect()
}

impl Lane {
    /// Runs the lane and calls `each` for every case as it ends. An error means that the lane could not run.
    pub(crate) fn run(&self, project: &Path, only: &[String], each: &mut dyn FnMut(Case)) -> Result<()> {
        match self.kind {
            Kind::Unit => unit::run(project, each),
            Kind::Tree { recipe, view, init, apps } => {
                let suite = Suite::Containers;
                run::Run { lane: self.name, recipe, view, init, suite, apps }.run(project, only, each)
            }
            Kind::Installation { recipe, view } => {
                let (init, suite) = (Init::Plain, Suite::Installation);
                run::Run { lane: self.name, recipe, view, init, suite, apps: None }.run(project, only, each)
            }
            Kind::Packages => packages::run(project, only, each),
        }
    }
}
