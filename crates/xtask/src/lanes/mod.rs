//! Lanes: where the tests run. The plain one is `cargo test`; the others are Debian trees, each with its own processes, mounts,
//! network, cgroups and container storage, and nothing of the person's own: in namespaces of this kernel, or as virtual
//! machines with kernels of their own.

pub(crate) mod cgroup;
mod enter;
mod loopback;
mod machine;
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
use spec::{Init, Security, Suite};
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
    /// Cases in a virtual machine.
    Machine { security: Security },
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

/// Virtual machines, which run when they are asked for.
pub(crate) const MACHINES: &[Lane] = &[
    Lane { name: "vm-apparmor", kind: Kind::Machine { security: Security::AppArmor } },
    Lane { name: "vm-selinux", kind: Kind::Machine { security: Security::SeLinux } },
];

/// All virtual machines, as a word in the place of a lane's name.
const ALL_MACHINES: &str = "--vm";

/// The lanes of these names; without a name, all that are no virtual machines.
pub(crate) fn named(names: &[String]) -> Result<Vec<Lane>> {
    if names.is_empty() {
        return Ok(LANES.to_vec());
    }
    let mut found = Vec::new();
    for name in names {
        let mut of_name = LANES.iter().chain(MACHINES).filter(|lane| lane.name == name).peekable();
        match name.as_str() {
            ALL_MACHINES => found.extend_from_slice(MACHINES),
            _ if of_name.peek().is_some() => found.extend(of_name),
            _ => {
                let known: Vec<&str> = LANES.iter().chain(MACHINES).map(|lane| lane.name).collect();
                return Err(Error::failed(format!("no lane {name}; there are: {}", known.join(", "))));
            }
        }
    }
    Ok(found)
}

impl Lane {
    /// Runs the lane and calls `each` for every case as it ends. An error means that the lane could not run.
    pub(crate) fn run(&self, project: &Path, only: &[String], each: &mut dyn FnMut(Case)) -> Result<()> {
        match self.kind {
            Kind::Unit => unit::run(project, each),
            Kind::Tree { recipe, view, init, apps } => {
                let suite = Suite::Containers;
                let run = run::Run { lane: self.name, recipe, view, init, machine: None, suite, apps };
                run.run(project, only, each)
            }
            Kind::Installation { recipe, view } => {
                let (init, suite) = (Init::Plain, Suite::Installation);
                let run = run::Run { lane: self.name, recipe, view, init, machine: None, suite, apps: None };
                run.run(project, only, each)
            }
            Kind::Machine { security } => machine::run(self.name, security).run(project, only, each),
            Kind::Packages => packages::run(project, only, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Vec<&'static str>> {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        Ok(named(&names)?.iter().map(|lane| lane.name).collect())
    }

    #[test]
    fn virtual_machines_run_only_when_they_are_asked_for() {
        let all = of(&[]).unwrap();
        assert!(all.contains(&"unit") && !all.iter().any(|name| name.starts_with("vm-")), "{all:?}");
        assert_eq!(of(&["--vm"]).unwrap(), ["vm-apparmor", "vm-selinux"]);
        assert_eq!(of(&["vm-selinux", "unit"]).unwrap(), ["vm-selinux", "unit"]);
    }

    #[test]
    fn a_lane_that_does_not_exist_is_refused_with_those_that_do() {
        let error = of(&["vm-tomoyo"]).unwrap_err().to_string();
        assert!(error.starts_with("no lane vm-tomoyo; there are: unit, "), "{error}");
        assert!(error.ends_with("vm-apparmor, vm-selinux"), "{error}");
    }
}
