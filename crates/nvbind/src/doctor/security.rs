//! What SELinux and AppArmor allow.

use super::subject::text;
use super::{Facts, Finding, Fix};
use crate::driver::label;
use std::fs;

/// Rootful without a user namespace the nodes are made inside, and have the container's label. Otherwise they are bind mounts
/// and keep the host's, `xserver_misc_device_t`, which container_t may not use. The type of nvbind's module may
/// (packaging/selinux/nvbind.cil). A boolean of container-selinux (container.te) is the other way: it is for all containers,
/// and the first for all devices.
pub(super) fn selinux(facts: &Facts<'_>) -> Finding {
    const BOOLEANS: &[&str] = &[ALL_DEVICES, "container_use_xserver_devices"];
    const TYPE: &str = "nvbind_container_t";
    let machine = facts.machine;
    if machine.text("/sys/fs/selinux/enforce").as_deref() != Some("1") {
        return Finding::skipped("SELinux does not enforce");
    }
    if machine.user.is_root() {
        return labelled_as_data(facts).unwrap_or_else(|| Finding::skipped(format!(
            "the nodes of rootful containers are made inside and have their label; those with --userns need label=type:{TYPE}"
        )));
    }
    if let Some(finding) = unlabelled(facts) {
        return finding;
    }
    let boolean = |name: &str| machine.text(&format!("/sys/fs/selinux/booleans/{name}"));
    // The value now, and the one after a commit.
    if let Some(name) = BOOLEANS.iter().find(|name| boolean(name).is_some_and(|text| text.starts_with('1'))) {
        return Finding::ok(format!("{name} is on, for every container"));
    }
    if machine.holds("/sys/fs/selinux/policy", TYPE.as_bytes()) {
        return Finding::ok(format!(
            "containers with --security-opt label=type:{TYPE} may use the devices, others are refused them"
        ));
    }
    let installed = facts.hook.as_ref().and_then(|hook| hook.as_ref().ok());
    let file = installed.and_then(|hook| hook.binary.ancestors().nth(3)).map(|prefix| prefix.join(MODULE));
    let refused = "it enforces, and containers are refused the GPU";
    match file.and_then(|file| machine.has(file.to_str()?).then(|| file.display().to_string())) {
        Some(file) => Finding::warn(
            format!("{refused}: nvbind's module has a type for them, --security-opt label=type:{TYPE}"),
            Fix::as_root(machine, ["semodule", "-i", &file]),
        ),
        None if boolean(ALL_DEVICES).is_some() => Finding::warn(
            format!("{refused}: {ALL_DEVICES} is off, and {MODULE} is not beside the hook"),
            Fix::as_root(machine, ["setsebool", "-P", &format!("{ALL_DEVICES}=true")]),
        ),
        None => Finding::warn(format!("{refused}: {MODULE} is not beside the hook, which allows it"), None),
    }
}

/// The boolean of container-selinux for all devices.
const ALL_DEVICES: &str = "container_use_devices";

/// A hook with the label of most that is in `/usr/local`. In the reference policy, Debian's, podman has a domain of its own where it is a
/// service of the system's, and runs no file of that label (policy/modules/services/podman.te); with container-selinux it has not.
fn labelled_as_data(facts: &Facts<'_>) -> Option<Finding> {
    const DATA: &str = "usr_t";
    const RELABEL: &str = "semanage fcontext -a -e /usr/libexec \"$0\" && restorecon -R \"$0\"";
    let machine = facts.machine;
    let hook = facts.hook.as_ref()?.as_ref().ok()?.binary.as_path();
    let is_data = (machine.type_of)(&machine.path(hook.to_str()?)).as_deref() == Some(DATA);
    if !is_data || machine.has(&format!("/sys/fs/selinux/booleans/{ALL_DEVICES}")) {
        return None;
    }
    let directory = hook.ancestors().nth(2)?.display().to_string();
    Some(Finding::warn(
        format!(
            "{} has the label {DATA}, and podman as a service of the system's may not run it",
            hook.display()
        ),
        Fix::as_root(machine, ["sh", "-c", RELABEL, &directory]),
    ))
}

/// The policy module, below the prefix of an installation.
const MODULE: &str = "share/selinux/packages/nvbind.cil";

/// Nodes that no container may use with any type, as nothing gave them a label of their own.
fn unlabelled(facts: &Facts<'_>) -> Option<Finding> {
    let machine = facts.machine;
    let plan = facts.plan.as_ref()?.as_ref().ok()?;
    let nodes = plan.devices.iter().map(|device| device.node.path.as_str());
    let nodes = label::unlabelled(nodes, |node| (machine.type_of)(&machine.path(node)));
    let first = nodes.first()?;
    Some(Finding::warn(
        format!("{first} has the label of /dev itself ({}), which no container may use", label::UNLABELLED),
        Fix::as_root(machine, [label::RESTORECON].into_iter().chain(nodes.iter().copied())),
    ))
}

/// In a container nothing is needed: its default profile has the rule `file`, and nvbind mounts before it holds
/// (containers/common, pkg/apparmor). But Ubuntu's kernel lets only programs with a profile that says `userns` make user
/// namespaces, and a rootless podman is nothing without one; the package apparmor has that profile.
pub(super) fn apparmor(facts: &Facts<'_>) -> Finding {
    const RESTRICTED: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    const PROFILES: &str = "/etc/apparmor.d";
    let machine = facts.machine;
    let is = |path: &str, value: &str| machine.text(path).is_some_and(|text| text == value);
    if !is("/sys/module/apparmor/parameters/enabled", "Y") {
        return Finding::skipped("AppArmor is not enabled");
    }
    if machine.user.is_root() || !is(RESTRICTED, "1") {
        return Finding::ok("nothing is in the way");
    }
    let Some(podman) = &facts.podman else { return Finding::skipped("podman is not in PATH") };
    let inside = podman.path.strip_prefix(&machine.root).unwrap_or(&podman.path);
    let program = format!("/{}", inside.display());
    let mut profiles = machine.files(PROFILES, &[]);
    // A link of that name in there turns a profile off (aa-disable(8)).
    profiles.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        fs::symlink_metadata(machine.path(PROFILES).join("disable").join(name)).is_err()
    });
    let allows =
        |text: &str| text.contains(&program) && (text.contains("userns") || text.contains("unconfined"));
    if profiles.iter().filter_map(|path| text(path)).any(|text| allows(&text)) {
        return Finding::ok(format!("a profile lets {program} make user namespaces"));
    }
    Finding::fail(
        format!("no profile in {PROFILES} lets {program} make user namespaces, and the kernel asks for one"),
        // Ubuntu alone has that kernel; without the option a profile that was removed does not come back (dpkg(1)).
        Fix::as_root(
            machine,
            ["apt-get", "install", "--reinstall", "-o", "Dpkg::Options::=--force-confmiss", "apparmor"],
        ),
    )
}
