//! The device nodes of all GPUs.

use super::{Facts, Finding};
use nvbind_core::host::Host;
use nvbind_core::plan::{Device, Plan};
use std::ffi::OsStr;
use std::path::Path;

fn usable_plan<'f>(facts: &'f Facts<'_>) -> Option<(&'f Host, &'f Plan)> {
    let plan = facts.plan.as_ref()?.as_ref().ok()?;
    Some((facts.host.as_ref().ok()?, plan))
}

pub(super) fn present(facts: &Facts<'_>) -> Finding {
    let Some((host, plan)) = usable_plan(facts) else {
        return Finding::skipped("which nodes a container needs is not known");
    };
    let is_missing =
        |device: &&Device| host.dev.stat(&device.node.path).is_err_and(|error| error.is_not_found());
    let missing: Vec<&Device> = plan.devices.iter().filter(is_missing).collect();
    let Some(first) = missing.first() else {
        return Finding::ok(format!("all {} are there", plan.devices.len()));
    };
    let names: Vec<&str> = missing.iter().map(|device| device.node.path.as_str()).collect();
    let names = format!("missing: {}", names.join(", "));
    let is_made_by_hook = |device: &&Device| device.made_as.is_some_and(|nodes| nodes.may_be_made);
    let fix = if missing.iter().all(|device| device.made_as.is_some()) {
        facts.machine.as_root("nvbind devices")
    } else {
        first.remedy.to_owned()
    };
    if facts.machine.is_root() && missing.iter().all(is_made_by_hook) {
        Finding::warn(format!("{names}; the hook makes them, but not for rootless containers"), fix)
    } else {
        Finding::fail(names, fix)
    }
}

pub(super) fn usable(facts: &Facts<'_>) -> Finding {
    /// Access for everybody.
    const RULE: &str = r#"sh -c 'echo KERNEL==\"nvidia*\", MODE=\"0666\" > /etc/udev/rules.d/70-nvbind.rules && chmod 0666 /dev/nvidia*'"#;
    let machine = facts.machine;
    if machine.is_root() {
        return Finding::skipped("root may use them all");
    }
    let Some((host, plan)) = usable_plan(facts) else {
        return Finding::skipped("which nodes a container needs is not known");
    };
    let mut kept = None;
    for Device { node, .. } in &plan.devices {
        // One that is missing is the check before this one's matter.
        let Ok(stat) = host.dev.stat(&node.path) else { continue };
        let needed = needed(&node.path);
        if stat.st_uid == machine.uid || stat.st_mode & needed == needed {
            continue;
        }
        let (path, mode) = (&node.path, stat.st_mode & 0o777);
        if (stat.st_mode >> 3) & needed == needed && machine.groups.contains(&stat.st_gid) {
            kept = Some(format!(
                "{path} is for its group alone ({mode:04o}), which a container does not keep by itself"
            ));
        } else {
            return Finding::fail(
                format!("{} may not use {path} ({mode:04o})", machine.user),
                machine.as_root(RULE),
            );
        }
    }
    let Some(detail) = kept else {
        return Finding::ok(format!("{} may use them all", machine.user));
    };
    if has_crun(facts) {
        Finding::warn(detail, "nvbind run --group-add keep-groups …")
    } else {
        Finding::fail(format!("{detail}, and only crun can keep it"), machine.as_root(RULE))
    }
}

/// The permission bits without which a node is of no use: programs write to all but those that stand for a right to use
/// something, which the driver makes for reading alone (`DeviceFileMode` of a MIG instance's access file).
fn needed(path: &str) -> u32 {
    if path.starts_with("/dev/nvidia-caps") { 0o4 } else { 0o6 }
}

/// Whether podman is not set to another runtime than crun, which alone keeps groups (podman-run(1), `--group-add`).
fn has_crun(facts: &Facts<'_>) -> bool {
    let runtime = facts.engine.as_ref().ok().and_then(|engine| engine.runtime.as_deref());
    runtime.is_none_or(|runtime| Path::new(runtime).file_name() == Some(OsStr::new("crun")))
}
