//! A machine where SELinux enforces Debian's policy, which is the reference policy, with nvbind's module.

use crate::case::Case;
use crate::command_line::shim::nvbind;
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, Said, User, said};
use crate::probe;
use crate::probe::NODES;
use nvbind_fixtures::error::Result as Made;
use nvbind_fixtures::process::read;
use nvbind_lanes::tree::write;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(super) const CASES: &[Case] =
    &[Case::new("selinux-refused", refused), Case::new("selinux-module", module)];

/// What does not depend on the runtime.
pub(super) const TYPES: &[Case] = &[
    Case::new("selinux-labels", labels),
    Case::new("selinux-other-types", others),
    Case::new("selinux-doctor", doctor),
];

/// What tells of all before it.
pub(super) const AT_LAST: &[Case] = &[Case::new("selinux-no-denials", no_denials)];

/// The simulated driver's files have the labels of the real one's, and the hook of `nvbind setup` that of a package's,
/// as the guide has people do it (`semanage fcontext -a -e`).
const SUBSTITUTIONS: (&str, &str) = (
    "etc/selinux/default/contexts/files/file_contexts.subs",
    "/opt/driver /\n/usr/local/libexec /usr/libexec\n",
);

/// What the kernel labels itself.
const KERNELS: &[(&str, &str)] = &[("proc_t", "/opt/driver/proc"), ("sysfs_t", "/opt/driver/sys")];

/// What this lane needs of the policy beside what it is: a container may write to the pipes that podman has for its
/// output, as podman is run by a person who has logged in.
const AID: (&str, &str) = (
    "var/tmp/lane-aid.cil",
    "(allow container_domain unconfined_t (fifo_file (append getattr ioctl read write)))
(allow container_domain unconfined_t (fd (use)))
",
);

/// And podman as a service may not have the kernel load a module that it needs.
const MODULES: (&str, &str) = ("etc/modules-load.d/lane-aid.conf", "fuse\noverlay\n");

/// nvbind's module, where `nvbind setup` put it.
const MODULE: &str = "usr/local/share/selinux/packages/nvbind.cil";

/// Makes a machine's disk ready for its boot.
pub(super) fn before_boot(root: &Path) -> Made<()> {
    for (path, content) in [SUBSTITUTIONS, AID, MODULES] {
        write(&root.join(path), content)?;
    }
    let inside = || {
        let mut chroot = Command::new("chroot");
        chroot.arg(root);
        chroot
    };
    for (kind, folder) in KERNELS {
        let context = format!("system_u:object_r:{kind}:s0");
        read(inside().args(["chcon", "--recursive", &context, folder]))?;
    }
    let mut semodule = inside();
    semodule.args(["semodule", "--noreload"]);
    for module in [AID.0, MODULE] {
        semodule.arg("--install").arg(Path::new("/").join(module));
    }
    Ok(read(&mut semodule).map(drop)?)
}

/// The context of the process that reads it.
const CONTEXT: &str = "cat /proc/self/attr/current >&2";

/// Runs a container with a GPU and options.
fn with(podman: Podman, options: &[&str], command: &str) -> Result<Said, Ended> {
    let all: Vec<&str> = ASK.iter().chain(options).copied().collect();
    Ok(run(podman, GPU, &all, command)?)
}

/// The directory with the driver and what the hook writes have the container's own label, as if podman had made them.
fn labels(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let places = [
        "/usr/local/nvidia",
        "/usr/local/nvidia/lib64",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf.d/00-nvbind.conf",
    ];
    let look = format!("stat --format=%C {}; {CONTEXT}", places.join(" "));
    then_remove(podman, || {
        let said = with(podman, &[], &look)?.must()?;
        let level =
            said.err.trim_end_matches('\0').trim().rsplit_once("container_t:").map(|(_, level)| level);
        let level = level.ok_or_else(|| said.failed("the container is not confined"))?;
        let expected = format!("system_u:object_r:container_file_t:{level}");
        let all = said.out.lines().count() == places.len() && said.out.lines().all(|line| line == expected);
        claim(all, "something has another label than the container's files", || said.told())
    })
}

/// The options of a container whose nodes are bound and keep the host's label, as those of rootless ones always are.
fn bound(podman: Podman) -> &'static [&'static str] {
    match podman.user {
        User::Root => &["--userns=auto"],
        User::Rootless => &[],
    }
}

/// `container_t` may not use such nodes, by which the driver's programs and libraries are not concerned.
fn refused(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let nodes: String = NODES.iter().map(|node| format!(" --device {node}=EACCES")).collect();
    then_remove(podman, || probe::claim_works(&with(podman, bound(podman), &format!("nvbind-probe{nodes}"))?))
}

/// Every node and library works with the type of nvbind's module, and no more than that: where devices are filtered,
/// the other GPU's node stays forbidden.
fn module(_: &Lane, podman: Podman) -> Result<(), Ended> {
    const TYPE: [&str; 2] = ["--security-opt", "label=type:nvbind_container_t"];
    // All of the driver's libraries, and not only those that this lane tries otherwise.
    const EVERY: [&str; 1] = ["--env=NVBIND_PROBE_LIBRARIES="];
    then_remove(podman, || {
        let options = [&TYPE[..], &EVERY, bound(podman)].concat();
        let said = with(podman, &options, &format!("{CONTEXT}; {}", probe::command(None)))?;
        claim(said.err.contains(":nvbind_container_t:s0:c"), "the container has another type", || {
            said.told()
        })?;
        probe::claim_works(&said)?;
        podman.remove(&[GPU])?;
        let (volume, unasked): (&[&str], _) = match podman.user {
            User::Root => (&["--volume", probe::UNASKED], Some("EPERM")),
            User::Rootless => (&[], None),
        };
        probe::claim_works(&with(podman, &[&TYPE[..], volume].concat(), &probe::command(unasked))?)
    })
}

/// The types that confine nothing, which people take.
fn others(_: &Lane, podman: Podman) -> Result<(), Ended> {
    for label in ["label=disable", "label=type:spc_t"] {
        let options = [&["--security-opt", label][..], bound(podman)].concat();
        then_remove(podman, || probe::claim_works(&with(podman, &options, &probe::command(None))?))?;
    }
    Ok(())
}

/// What the user is told: rootless, which type there is.
fn doctor(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let said = nvbind(podman.user, &["doctor", "--json"])?;
    let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let checks = report.get("checks").and_then(Value::as_array).into_iter().flatten();
    let found = checks.into_iter().find(|check| check.get("id").and_then(Value::as_str) == Some("selinux"));
    let expected = match podman.user {
        User::Root => "those with --userns need label=type:nvbind_container_t",
        User::Rootless => "containers with --security-opt label=type:nvbind_container_t may use the devices",
    };
    let told = found.is_some_and(|check| check.to_string().contains(expected));
    claim(told, "doctor tells something else of SELinux", || said.told())
}

/// Programs of nvbind's, and what they start.
const OURS: &[&str] = &["nvbind", "nvbind-hook", "nvidia-modprobe", "restorecon"];

/// crun 1.23 and newer keeps programs there, which the hook looks for. podman as a service may not look, and so neither
/// may crun.
const PINS: &str = " tcontext=system_u:object_r:bpf_t:";

/// Nothing that nvbind does itself was denied, since the boot, nor was the hook's start.
fn no_denials(_: &Lane, _: Podman) -> Result<(), Ended> {
    let all = said(Command::new("ausearch").args(["--message", "avc", "--raw"]))?;
    let denials = all.out.lines().filter(|line| line.starts_with("type=AVC ") && line.contains("denied"));
    // The nodes that were refused, at least.
    claim(
        all.out.contains(" name=\"nvidiactl\" "),
        "the audit log lacks the nodes that were refused",
        || all.told(),
    )?;
    let ours = |line: &&str| {
        let by = |name: &&str| line.contains(&format!(" comm=\"{name}\" "));
        OURS.iter().any(by) && !line.contains(PINS) || line.contains(" name=\"nvbind-hook\" ")
    };
    let denied: Vec<&str> = denials.filter(ours).collect();
    claim(denied.is_empty(), "SELinux denied something to nvbind", || denied.join("\n"))
}
