//! `nvbind doctor`: the checks as a table, each a function of the [`Facts`], and what they found.

mod bugs;
mod configuration;
mod display;
mod docker;
mod driver;
mod facts;
mod fix;
mod fixes;
mod hook;
mod last;
mod nodes;
mod packages;
mod podman;
mod programs;
mod quadlets;
mod registries;
mod report;
mod security;
mod services;
mod subject;
mod system;
mod user;

#[cfg(test)]
mod tests;

pub(crate) use facts::Facts;
use fix::Fix;
pub(crate) use fixes::run_fixes;
pub(crate) use last::Failures;
pub(crate) use report::Report;
use serde::Serialize;
pub(crate) use subject::Machine;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Nothing to do.
    Ok,
    /// Containers with GPUs start, with something to know.
    Warn,
    /// Containers with GPUs do not start, or start without them.
    Fail,
    /// It does not apply to this machine, or another check has to be fine first.
    Skipped,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    status: Status,
    detail: String,
    /// The one command that fixes it; none where there is no such command, and `detail` says what to do.
    #[serde(flatten)]
    fix: Option<Fix>,
}

impl Finding {
    fn ok(detail: impl Into<String>) -> Finding {
        Finding { status: Status::Ok, detail: detail.into(), fix: None }
    }

    fn warn(detail: impl Into<String>, fix: impl Into<Option<Fix>>) -> Finding {
        Finding { status: Status::Warn, detail: detail.into(), fix: fix.into() }
    }

    fn fail(detail: impl Into<String>, fix: impl Into<Option<Fix>>) -> Finding {
        Finding { status: Status::Fail, detail: detail.into(), fix: fix.into() }
    }

    fn skipped(why: impl Into<String>) -> Finding {
        Finding { status: Status::Skipped, detail: why.into(), fix: None }
    }
}

#[derive(Clone, Copy, Debug)]
struct Check {
    /// Its name, which stays the same for programs.
    id: &'static str,
    title: &'static str,
    run: fn(&Facts<'_>) -> Finding,
}

const fn check(id: &'static str, title: &'static str, run: fn(&Facts<'_>) -> Finding) -> Check {
    Check { id, title, run }
}

/// All of them: what brings most people here first, then in the order in which things depend on each other.
const CHECKS: &[Check] = &[
    check("recent", "the hook refused no container within the last hour", last::recent),
    check("config", "the configuration that the hook reads is valid", configuration::of_hook),
    check(
        "own-config",
        "the configuration that the command line reads is valid",
        configuration::of_command_line,
    ),
    check("driver", "the kernel module is loaded", driver::loaded),
    check("nouveau", "no other driver has the GPUs", system::nouveau),
    check("secure-boot", "Secure Boot lets the kernel module in", system::secure_boot),
    check("versions", "kernel module and libraries are of one version", driver::versions),
    check("gpus", "the driver has GPUs, and the modules for compute", driver::gpus),
    check("denied", "the device cgroup lets this process have all GPUs", driver::denied),
    check("nodes", "the device nodes are there", nodes::present),
    check("access", "this user may use the device nodes", nodes::usable),
    check("persistence", "the persistence daemon runs", driver::persistence),
    check("podman", "podman is there and not too old", podman::podman),
    check("runtime", "an OCI runtime is there", podman::runtime),
    check("registries", "podman can read its registries, and resolves short names", registries::registries),
    check("hooks", "no hook JSON is broken", hook::json),
    check("hook", "podman finds nvbind's hook", hook::installed),
    check("static", "the hook needs no library", hook::is_static),
    check("other-hook", "NVIDIA's own hook is not there", hook::nvidias),
    check("cdi", "CDI specifications can be used", system::cdi),
    check("docker", "Docker's containers get GPUs from nvbind", docker::docker),
    check("subids", "this user has subordinate ids", user::subids),
    check("linger", "this user's containers outlive the session", user::linger),
    check("services", "services that run podman as a user outlive that user's session", services::services),
    check("quadlets", "Quadlets ask for GPUs in words that are read", quadlets::quadlets),
    check("cgroup", "cgroup version", user::cgroup),
    check("selinux", "SELinux lets containers use the devices", security::selinux),
    check("apparmor", "AppArmor lets this user's podman make namespaces", security::apparmor),
    check("display", "the display is there for containers", display::display),
];

/// Runs them all.
pub(crate) fn examine(machine: &Machine) -> Report {
    let facts = Facts::gather(machine);
    Report::new(CHECKS.iter().map(|check| (*check, (check.run)(&facts))))
}
