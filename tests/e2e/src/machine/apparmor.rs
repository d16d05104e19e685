//! A machine with AppArmor, as Debian has it.

use crate::case::{Case, ROOTFUL};
use crate::container::{ASK, GPU, control, run, then_remove};
use crate::devices::boot::{MISSING, MODPROBE, SIMULATED};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::machine::boot::AS_MACHINE;
use crate::podman::{IMAGE, Podman, Said, User, said};
use crate::probe;
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(super) const CASES: &[Case] = &[
    Case::new("apparmor-profile", profile),
    Case::new("apparmor-nvidia-modprobe", nvidia_modprobe).only(&[&[ROOTFUL]]),
];

/// The profile of the process that reads it, and its mode.
const LABEL: &str = "/proc/self/attr/current";

/// podman's own profile confines a rootful container, and its GPU works. A rootless podman can load no profile and sets
/// none: the container has the runtime's, which confines nothing. Nothing is denied on the way.
fn profile(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let show = format!("cat {LABEL}");
    then_remove(podman, || {
        let expected = control(podman, &[], &show)?.out;
        let is_expected = match podman.user {
            User::Root => expected.starts_with("containers-default-") && expected.ends_with(" (enforce)\n"),
            User::Rootless => expected == format!("{} (unconfined)\n", podman.runtime()),
        };
        claim(is_expected, "podman alone has another profile", || expected.clone())?;
        let said = run(podman, GPU, &ASK, &format!("{show} >&2; {}", probe::command(None)))?;
        claim(said.err.ends_with(&expected), "the profile is another one with a GPU", || said.told())?;
        probe::claim_works(&said)
    })?;
    let denied =
        said(Command::new("journalctl").args(["--dmesg", "--output=cat", "--grep=apparmor=.DENIED."]))?;
    claim(denied.out.trim().is_empty(), "AppArmor denied something", || denied.told())
}

/// The profile that Debian has for the driver's tool. Other profiles name it; started by anything else, the tool has
/// that one's.
const TOOL_PROFILE: &str = "nvidia_modprobe (enforce)\n";

/// What the simulated kernel shows of a driver, and where that is while none is loaded.
const LOADED: &str = "/opt/driver/proc/driver/nvidia";
const UNLOADED: &str = "/opt/driver/proc/driver/nvidia.unloaded";

/// What the tool does beside its work: it loads the simulated driver, and writes down its own profile.
const LOADS: &str = "#!/bin/sh
test ! -e /opt/driver/proc/driver/nvidia.unloaded || mv /opt/driver/proc/driver/nvidia.unloaded /opt/driver/proc/driver/nvidia
cat /proc/self/attr/current > /run/nvidia-modprobe-profile
";
const WRITTEN: &str = "/run/nvidia-modprobe-profile";

/// Where the driver is not loaded yet, the hook has its tool load it, and nothing is in the way of that.
fn nvidia_modprobe(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let profiles = said(Command::new("cat").arg("/sys/kernel/security/apparmor/profiles"))?.must()?;
    claim(profiles.out.contains(TOOL_PROFILE), "Debian's profile is not there", || profiles.told())?;
    let tool = Path::new("/").join(MODPROBE);
    // That of mode setting is made by those who use it alone.
    for node in MISSING.iter().filter(|node| !node.ends_with("modeset")) {
        fs::remove_file(node).on("remove", Path::new(node))?;
    }
    fs::rename(LOADED, UNLOADED).on("move", Path::new(LOADED))?;
    let loading = SIMULATED.replace("#!/bin/sh\n", LOADS);
    write(&tool, &loading)?;
    let ended = then_remove(podman, || probe::claim_works(&as_machine(podman)?));
    write(&tool, SIMULATED)?;
    if Path::new(UNLOADED).exists() {
        fs::rename(UNLOADED, LOADED).on("move", Path::new(UNLOADED))?;
    }
    said(Command::new("systemctl").args(["restart", "nvbind-devices.service"]))?.must()?;
    ended?;
    let profile = fs::read_to_string(WRITTEN).on("read", Path::new(WRITTEN))?;
    fs::remove_file(WRITTEN).on("remove", Path::new(WRITTEN))?;
    claim(profile == format!("{} (unconfined)\n", podman.runtime()), "the tool is confined", || profile)
}

/// Runs a container with a GPU where the driver is the machine's own.
fn as_machine(podman: Podman) -> Result<Said, Ended> {
    let binds: String =
        AS_MACHINE.iter().map(|(source, at)| format!("mount --bind {source} {at}\n")).collect();
    let script = format!("{binds}exec timeout 60 podman --runtime={} \"$@\"", podman.runtime());
    let look = probe::command(None);
    let words = [&["run", "--name", GPU, "--network=none"], &ASK[..], &[IMAGE, "sh", "-c", &look]].concat();
    Ok(said(Command::new("unshare").args(["--mount", "sh", "-ec", &script, "sh"]).args(words))?)
}
