//! A lane whose process 1 is the tree's own systemd: its units, and what must not run there.

use super::cgroup::View;
use super::spec::{LOG, PAYLOAD, PROGRAM, RESULTS};
use super::tree::{USER_ID, write};
use nvbind_fixtures::error::{Doing, Result};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Units that would act on the host's kernel, or wait for hardware that a lane does not have.
const MASKED: &[&str] = &[
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "systemd-binfmt.service",
    "systemd-remount-fs.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-random-seed.service",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "console-getty.service",
    "getty.target",
    "tmp.mount",
];

/// Puts the service that runs the cases into the tree, and what else systemd needs to know.
pub(crate) fn prepare(root: &Path) -> Result<()> {
    install_service(root, "")?;
    for unit in MASKED {
        symlink("/dev/null", root.join(UNITS).join(unit)).on("mask", Path::new(unit))?;
    }
    write(&root.join("etc/systemd/journald.conf.d/lane.conf"), "[Journal]\nStorage=volatile\n")
}

/// The folder of a machine's own units.
const UNITS: &str = "etc/systemd/system";

/// Puts the service into the tree that runs the cases, and has the boot start it; `launcher` is what starts them, where
/// it is not systemd itself.
pub(crate) fn install_service(root: &Path, launcher: &str) -> Result<()> {
    const NAME: &str = "nvbind-lane.service";
    write(&root.join(UNITS).join(NAME), &service(launcher))?;
    let wants = root.join(UNITS).join("multi-user.target.wants");
    std::fs::create_dir_all(&wants).on("create", &wants)?;
    symlink(Path::new("..").join(NAME), wants.join(NAME)).on("link into", &wants)
}

/// The cases as a service; when they end, however they end, so does the lane. For the network to be there a user's
/// Quadlets wait, though something else has to ask for it.
fn service(launcher: &str) -> String {
    format!(
        "[Unit]\n\
         After=user@{USER_ID}.service dbus.service systemd-logind.service network-online.target\n\
         Wants=user@{USER_ID}.service network-online.target\n\
         [Service]\n\
         Type=exec\n\
         Slice=user.slice\n\
         Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         ExecStart={launcher}{PAYLOAD}/bin/{PROGRAM} inside {PAYLOAD}/spec.json\n\
         StandardOutput=append:{RESULTS}/{LOG}\n\
         StandardError=append:{RESULTS}/{LOG}\n\
         ExecStopPost=/usr/bin/systemctl poweroff --force --force\n"
    )
}

/// On cgroup v1 no cgroup2 beside it: crun takes the two for a hybrid that it does not know.
const LEGACY: &[&str] =
    &["systemd.unified_cgroup_hierarchy=no", "systemd.legacy_systemd_cgroup_controller=yes"];

/// Replaces this process by systemd, which takes the cgroup file systems of the view.
pub(crate) fn become_init(view: View) -> Result<()> {
    let mut init = Command::new("/sbin/init");
    init.args(["systemd.unit=multi-user.target", "--log-target=journal", "--show-status=false"]).env_clear();
    if view == View::V1 {
        init.args(LEGACY);
    }
    init.env("container", "nvbind-lane").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Err(init.exec()).doing(|| "start systemd".into())
}
