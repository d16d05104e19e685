//! The device nodes of all GPUs.

use super::{Facts, Finding, Fix, Machine};
use nvbind_core::catalogue::MODPROBE;
use nvbind_core::host::Host;
use nvbind_core::node_access::{Access, Needed, has_parameters};
use nvbind_core::plan::{Device, Plan};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What makes the driver's nodes, and loads its modules; none for a driver of another root, where nvbind makes nothing.
pub(super) fn make(facts: &Facts<'_>) -> Option<Fix> {
    /// With it NVIDIA's program makes them for any user.
    const SET_USER_ID: u32 = 0o4000;
    let machine = facts.machine;
    if !facts.is_machine {
        return None;
    }
    let modprobe = fs::metadata(machine.path(MODPROBE));
    let command = [machine.nvbind.as_str(), "devices"];
    let fix = match modprobe {
        Ok(program) if program.uid() == 0 && program.mode() & SET_USER_ID != 0 => Fix::new(command),
        Ok(_) | Err(_) => Fix::as_root(machine, command),
    };
    Some(fix.safe())
}

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
    let fix = make(facts).filter(|_| missing.iter().all(|device| device.made_as.is_some()));
    if facts.machine.user.is_root() && missing.iter().all(is_made_by_hook) {
        Finding::warn(format!("{names}; the hook makes them, but not for rootless containers"), fix)
    } else if fix.is_some() {
        Finding::fail(names, fix)
    } else if facts.is_machine {
        Finding::fail(format!("{names}; {}", first.remedy), None)
    } else {
        let elsewhere = "nvbind makes none below another directory, what is run there has to";
        Finding::fail(format!("{names}; {elsewhere}"), None)
    }
}

/// Access for everybody, and for now as well: the parameters of the module count when it is loaded the next time.
const FOR_EVERYBODY: &str =
    "nvbind setup --device-mode 0666 && chmod 0666 $(find /dev/nvidia* -maxdepth 0 -type c)";

pub(super) fn usable(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if machine.user.is_root() {
        return Finding::skipped("root may use them all");
    }
    let Some((host, plan)) = usable_plan(facts) else {
        return Finding::skipped("which nodes a container needs is not known");
    };
    let (mut kept, mut left_out) = (None, None);
    for Device { node, is_required, .. } in &plan.devices {
        // One that is missing is the check before this one's matter.
        let Ok((access, stat)) = machine.user.access(host, &node.path) else { continue };
        let (path, mode) = (node.path.as_str(), stat.st_mode & 0o777);
        match access {
            Access::Granted => {}
            Access::ByGroup if *is_required => kept = Some((path, mode)),
            Access::OthersGroup | Access::OwnersAlone if *is_required => {
                let needed = Needed::of(path).words();
                let detail = format!("{} may not {needed} {path} ({mode:04o})", machine.name);
                return Finding::fail(detail, for_everybody(machine, path));
            }
            Access::ByGroup => left_out = Some((path, mode, None)),
            Access::OthersGroup | Access::OwnersAlone => left_out = Some((path, mode, Some(stat.st_gid))),
        }
    }
    let keep = || Fix::new([machine.nvbind.as_str(), "run", "--group-add", "keep-groups", "IMAGE"]);
    if let Some((path, mode)) = kept {
        let detail =
            format!("{path} is for its group alone ({mode:04o}), which a container does not keep by itself");
        return if has_crun(facts) {
            Finding::warn(detail, keep())
        } else {
            Finding::fail(format!("{detail}, and only crun can keep it"), for_everybody(machine, path))
        };
    }
    let Some((path, mode, group)) = left_out else {
        return Finding::ok(format!("{} may use them all", machine.name));
    };
    let detail =
        format!("{path} is for its group alone ({mode:04o}): containers that ask for all go without it");
    let join = |group: u32| Fix::as_root(machine, ["usermod", "-aG", &group.to_string(), &machine.name]);
    Finding::warn(detail, group.map(join).or_else(|| has_crun(facts).then(keep)))
}

fn for_everybody(machine: &Machine, path: &str) -> Fix {
    if has_parameters(path) {
        return Fix::script(machine, FOR_EVERYBODY);
    }
    let bits = if Needed::of(path).is_writing() { "a+rw" } else { "a+r" };
    Fix::as_root(machine, ["chmod", bits, path])
}

/// Whether podman is not set to another runtime than crun, which alone keeps groups (podman-run(1), `--group-add`).
fn has_crun(facts: &Facts<'_>) -> bool {
    let runtime = facts.engine.as_ref().ok().and_then(|engine| engine.runtime.as_deref());
    runtime.is_none_or(|runtime| Path::new(runtime).file_name() == Some(OsStr::new("crun")))
}
