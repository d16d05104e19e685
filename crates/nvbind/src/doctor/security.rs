//! What SELinux and AppArmor allow.

use super::machine::text;
use super::{Facts, Finding, Fix};
use std::fs;

/// Rootless the nodes are bind mounts and keep the host's label, `xserver_misc_device_t`. Either boolean allows that
/// (container-selinux, container.te).
pub(super) fn selinux(facts: &Facts<'_>) -> Finding {
    const BOOLEANS: &[&str] = &["container_use_devices", "container_use_xserver_devices"];
    let machine = facts.machine;
    if machine.text("/sys/fs/selinux/enforce").as_deref() != Some("1") {
        return Finding::skipped("SELinux does not enforce");
    }
    if machine.user.is_root() {
        return Finding::skipped("the nodes of rootful containers are made inside and have their label");
    }
    // The value now, and the one after a commit.
    let is_on = |name: &&&str| {
        machine.text(&format!("/sys/fs/selinux/booleans/{name}")).is_some_and(|text| text.starts_with('1'))
    };
    match BOOLEANS.iter().find(is_on) {
        Some(name) => Finding::ok(format!("{name} is on")),
        None => Finding::warn(
            "it enforces, and container_use_devices is off: programs in a container may be refused the GPU",
            Fix::as_root(machine, ["setsebool", "-P", "container_use_devices=true"]),
        ),
    }
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
