//! The driver.

use super::{Facts, Finding, Fix, nodes, packages};
use nvbind_core::inventory::Error as Driver;
use nvbind_core::message::line;
use nvbind_core::plan::Error as Plan;
use nvbind_core::resolve::Error;

/// Where nvidia-persistenced listens (nvidia-persistenced(1)).
const SOCKET: &str = "/run/nvidia-persistenced/socket";

pub(super) fn loaded(facts: &Facts<'_>) -> Finding {
    match &facts.driver {
        None => Finding::skipped("where the driver is, the configuration does not tell"),
        Some(Err(error @ Driver::NotLoaded { .. })) => {
            let load = Fix::as_root(facts.machine, ["modprobe", "nvidia"]);
            // With another driver on the GPUs it would only fail.
            let has_nouveau = facts.machine.has("/sys/module/nouveau");
            Finding::fail(line(error), if has_nouveau { load } else { load.safe() })
        }
        Some(Ok(inventory)) if inventory.wsl.is_some() => {
            Finding::ok("the driver of the Windows host, by /dev/dxg (WSL2)")
        }
        Some(Ok(inventory)) => {
            let modules = if inventory.driver.open_modules { "open modules" } else { "closed modules" };
            Finding::ok(format!("{} is loaded ({modules})", inventory.driver.version))
        }
        // The next check's matter.
        Some(Err(
            Driver::Mismatch { version, .. } | Driver::NoLibraries { version } | Driver::NoNvml { version },
        )) => Finding::ok(format!("{version} is loaded")),
        Some(Err(error @ (Driver::Version { .. } | Driver::NoMajor { .. } | Driver::Gpu { .. }))) => {
            Finding::fail(
                line(error),
                Fix::script(
                    facts.machine,
                    "modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia",
                ),
            )
        }
        Some(Err(error @ Driver::Host(_))) => {
            let is_root = facts.machine.user.is_root();
            let ask = || Fix::as_root(facts.machine, [&facts.machine.nvbind, "doctor"]);
            Finding::fail(line(error), (!is_root).then(ask))
        }
        Some(Err(error @ (Driver::Damaged { .. } | Driver::Changing))) => Finding::fail(line(error), None),
    }
}

pub(super) fn versions(facts: &Facts<'_>) -> Finding {
    match &facts.driver {
        Some(Ok(inventory)) if inventory.wsl.is_some() => Finding::skipped("WSL2 tells no versions"),
        Some(Ok(inventory)) => Finding::ok(format!("both are {}", inventory.driver.version)),
        Some(Err(error @ Driver::Mismatch { .. })) => {
            Finding::fail(line(error), Fix::as_root(facts.machine, ["reboot"]))
        }
        Some(Err(error @ (Driver::NoLibraries { .. } | Driver::NoNvml { .. }))) => {
            Finding::fail(line(error), packages::install(facts.machine, "nvidia-driver"))
        }
        None
        | Some(Err(
            Driver::NotLoaded { .. }
            | Driver::Version { .. }
            | Driver::NoMajor { .. }
            | Driver::Gpu { .. }
            | Driver::Damaged { .. }
            | Driver::Changing
            | Driver::Host(_),
        )) => Finding::skipped("the driver cannot be used"),
    }
}

pub(super) fn gpus(facts: &Facts<'_>) -> Finding {
    match (&facts.plan, facts.inventory()) {
        (Some(Ok(_)), Some(inventory)) if inventory.wsl.is_some() => {
            Finding::ok("those of the Windows host (WSL2)")
        }
        (Some(Ok(_)), Some(inventory)) => {
            let names: Vec<&str> = inventory.gpus.iter().map(|gpu| gpu.model.as_str()).collect();
            Finding::ok(format!("{}: {}", names.len(), names.join(", ")))
        }
        (Some(Err(error @ Error::Plan(Plan::Module { .. }))), _) => {
            Finding::fail(line(error), nodes::make(facts))
        }
        (Some(Err(error)), _) => Finding::fail(line(error), None),
        (Some(Ok(_)) | None, _) => Finding::skipped("the driver cannot be used"),
    }
}

/// Whether a job, or a container around, has only some of the machine's GPUs.
pub(super) fn denied(facts: &Facts<'_>) -> Finding {
    let Some(inventory) = facts.inventory() else { return Finding::skipped("the driver cannot be used") };
    if inventory.denied.is_empty() {
        return Finding::ok("none is denied");
    }
    let denied: Vec<String> = inventory.denied.iter().map(|gpu| gpu.pci.to_string()).collect();
    let detail = format!(
        "containers from here have {} of {} GPUs, counted from 0: the device cgroup, a job's say, denies {}",
        inventory.gpus.len(),
        inventory.gpus.len() + denied.len(),
        denied.join(", ")
    );
    Finding::warn(detail, None)
}

pub(super) fn persistence(facts: &Facts<'_>) -> Finding {
    match facts.inventory() {
        None => Finding::skipped("the driver cannot be used"),
        Some(inventory) if inventory.wsl.is_some() => Finding::skipped("Windows has the driver (WSL2)"),
        Some(_) if facts.machine.has(SOCKET) => Finding::ok("nvidia-persistenced runs"),
        Some(_) => Finding::warn(
            "nvidia-persistenced does not run: the first use of a GPU is slow, and its settings are lost in between",
            Fix::as_root(facts.machine, ["systemctl", "enable", "--now", "nvidia-persistenced"]),
        ),
    }
}
