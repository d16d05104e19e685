//! Lanes: where the end-to-end cases run. They are Debian trees, each with its own processes, mounts, network, cgroups
//! and container storage, and nothing of the person's own: in namespaces of this kernel, or as virtual machines with
//! kernels of their own. What runs in a lane is the program that started it, called with `inside`; see [`Lane::run`].
#![allow(clippy::print_stdout, reason = "it speaks to the person at the terminal")]
#![allow(
    missing_docs,
    reason = "names that need no comment have none: nobody but this workspace uses the crate"
)]

pub mod cgroup;
mod enter;
mod loopback;
mod machine;
pub mod report;
mod run;
mod seccomp;
pub mod spec;
mod supervise;
mod systemd;
pub mod tree;

use cgroup::View;
pub use enter::{BeforeBoot, enter};
pub use machine::ARCHITECTURE;
use nix::fcntl::{Flock, FlockArg};
use nvbind_fixtures::error::{Doing, Result};
pub use run::Lane;
use spec::{Init, Security, Suite};
use std::fs::{self, File};
use std::path::Path;
pub use supervise::supervise;

/// All lanes in namespaces. What is found in an image depends on the driver and not on cgroups: one lane of each
/// release has the applications for the cases in images.
pub const LANES: &[Lane] = &[
    Lane {
        name: "bookworm-v1",
        recipe: &tree::BOOKWORM,
        view: View::V1,
        init: Init::Plain,
        machine: None,
        suite: Suite::Containers,
        apps: None,
    },
    Lane {
        name: "bookworm-v2",
        recipe: &tree::BOOKWORM,
        view: View::V2,
        init: Init::Plain,
        machine: None,
        suite: Suite::Containers,
        apps: Some(&tree::BOOKWORM_APPS),
    },
    Lane {
        name: "bookworm-systemd-v1",
        recipe: &tree::BOOKWORM,
        view: View::V1,
        init: Init::Systemd,
        machine: None,
        suite: Suite::Containers,
        apps: None,
    },
    Lane {
        name: "trixie-v1",
        recipe: &tree::TRIXIE,
        view: View::V1,
        init: Init::Plain,
        machine: None,
        suite: Suite::Containers,
        apps: Some(&tree::TRIXIE_APPS),
    },
    Lane {
        name: "trixie-systemd",
        recipe: &tree::TRIXIE,
        view: View::V2,
        init: Init::Systemd,
        machine: None,
        suite: Suite::Containers,
        apps: None,
    },
    Lane {
        name: "packages",
        recipe: &tree::PACKAGERS,
        view: View::V2,
        init: Init::Plain,
        machine: None,
        suite: Suite::Formats,
        apps: None,
    },
    Lane {
        name: "packages-bookworm",
        recipe: &tree::BOOKWORM,
        view: View::V1,
        init: Init::Plain,
        machine: None,
        suite: Suite::Installation,
        apps: None,
    },
    Lane {
        name: "packages-trixie",
        recipe: &tree::TRIXIE,
        view: View::V2,
        init: Init::Plain,
        machine: None,
        suite: Suite::Installation,
        apps: None,
    },
];

/// Waits until nobody else holds this file, and holds it until the value is dropped.
pub fn lock(file: &Path) -> Result<Flock<File>> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).on("create", folder)?;
    }
    let opened = File::create(file).on("create", file)?;
    Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, error)| error).on("lock", file)
}

/// Virtual machines, which run when they are asked for.
pub const MACHINES: &[Lane] =
    &[virtual_machine("vm-apparmor", Security::AppArmor), virtual_machine("vm-selinux", Security::SeLinux)];

const fn virtual_machine(name: &'static str, security: Security) -> Lane {
    Lane {
        name,
        recipe: &tree::MACHINE,
        view: View::V2,
        init: Init::Systemd,
        machine: Some(security),
        suite: Suite::Machine(security),
        apps: None,
    }
}
