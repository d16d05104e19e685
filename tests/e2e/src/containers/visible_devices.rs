//! The second hook JSON, by which `NVIDIA_VISIBLE_DEVICES` is a request: it is in a hooks directory of this case's own,
//! since it refuses containers of images that have the variable.

use crate::case::{Case, RELEASE, WHO};
use crate::command_line::shim;
use crate::container::{ASK, GPU, PLAIN, control, run, then_remove};
use crate::containers::refusals;
use crate::drivers::upgrade;
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, configure, use_driver};
use crate::podman::{IMAGE, Podman, Said, said};
use crate::probe;
use nvbind_fixtures::error::Error;
use nvbind_lanes::spec::PAYLOAD;
use nvbind_lanes::tree::write;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] =
    &[Case::new("visible-devices", visible_devices).each(&[WHO, RELEASE]).takes(5)];

/// Where the case installs nvbind, and what podman reads there.
const PREFIX: &str = "/opt/visible-devices";
const HOOKS: [&str; 2] = ["--hooks-dir", "/opt/visible-devices/share/containers/oci/hooks.d"];

/// What the case builds.
const BUILT: &str = "localhost/nvbind-visible-devices";

/// What the probe looks for is all of the driver's.
const CAPABILITIES: &str = "--env=NVIDIA_DRIVER_CAPABILITIES=all";

/// The exit code of the hook for what is not allowed.
const NOT_ALLOWED: i32 = 4;

/// What the configuration says where containers are trusted, and only with the GPU that is looked for.
const TRUSTED: &str = "[security]\nvisible_devices_when_unprivileged = true\nrestrict_devices = true\nallowed_devices = [\"0\"]\n";

fn visible_devices(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let nvbind = format!("{PAYLOAD}/bin/nvbind");
    said(Command::new(nvbind).args(["setup", "--visible-devices", "--prefix", PREFIX]))?.must()?;
    nothing_is_asked_for(podman)?;
    builds_are_containers(podman)?;
    let asked = [&HOOKS[..], &["--env=NVIDIA_VISIBLE_DEVICES=0", CAPABILITIES]].concat();
    refusals::refused(podman, &asked, &[NOT_ALLOWED], "security.visible_devices_when_unprivileged")?;
    works(podman, &[&asked[..], &["--privileged"]].concat())?;
    configure(DRIVER, TRUSTED)?;
    let all = [&HOOKS[..], &["--env=NVIDIA_VISIBLE_DEVICES=all", CAPABILITIES]].concat();
    let ended = works(podman, &all);
    use_driver(DRIVER)?;
    ended?;
    works(podman, &[&all[..], &ASK].concat())?;
    then_remove(podman, || {
        let runtime = format!("--runtime={}", podman.runtime());
        let words = ["run", "--network=none", "--gpu=0", "--name", GPU, &runtime, HOOKS[0], HOOKS[1], IMAGE];
        let look = look();
        let said = shim::nvbind(podman.user, &[&words[..], &["sh", "-c", &look]].concat())?;
        probe::claim_works(&said)
    })
}

/// A container without the variable, and one that says it wants nothing.
fn nothing_is_asked_for(podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        let look = "test ! -e /dev/nvidiactl && test ! -e /usr/local/nvidia";
        control(podman, &HOOKS, look)?;
        podman.remove(&[PLAIN])?;
        let void = [HOOKS[0], HOOKS[1], "--env=NVIDIA_VISIBLE_DEVICES=void"];
        run(podman, GPU, &void, look)?.must().map(drop)
    })
}

/// A step of a build from an image that has the variable is refused as a container is.
fn builds_are_containers(podman: Podman) -> Result<(), Ended> {
    let folder = "/tmp/visible-devices-build";
    let steps = format!(
        "FROM {IMAGE}\nENV NVIDIA_VISIBLE_DEVICES=0\nRUN test -e /dev/nvidiactl && test -e /dev/nvbind/lib64/libcuda.so.1\n"
    );
    write(&Path::new(folder).join("Containerfile"), &steps)?;
    let build = |more: &[&str]| -> Result<Said, Error> {
        let words = ["build", "--no-cache", "--network=none", "--tag", BUILT, HOOKS[0], HOOKS[1]];
        podman.run(&[&words[..], more, &[folder]].concat())
    };
    let refused = build(&[])?;
    claim(refused.code != 0, "a step of a build had a GPU", || refused.told())?;
    // Nothing of what a step has lands in a layer.
    let plain = format!("FROM {IMAGE}\nENV NVIDIA_VISIBLE_DEVICES=0\nRUN sleep 0\n");
    write(&Path::new(folder).join("Containerfile"), &plain)?;
    upgrade::leaves_nothing(podman, Path::new(folder), &["--cap-add=SYS_ADMIN"], &HOOKS)
}

/// The container has the first GPU alone, once.
fn works(podman: Podman, options: &[&str]) -> Result<(), Ended> {
    then_remove(podman, || {
        let said = run(podman, GPU, options, &look())?;
        probe::claim_works(&said)?;
        claim(said.err_beside_log().is_empty(), "something was said", || said.told())
    })
}

/// The probe, in a container where one view is mounted and no other.
pub(super) fn look() -> String {
    let views = "$(grep -cE ' /(usr/local/nvidia|run/nvbind|dev/nvbind) ' /proc/self/mountinfo)";
    format!("{} && test {views} = 1", probe::command(None))
}
