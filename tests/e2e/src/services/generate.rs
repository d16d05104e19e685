//! What `nvbind generate` prints, as Quadlet, systemd and `podman kube play` take it.

use crate::case::{CRUN, Case, INIT, NO_SYSTEMD, RELEASE, RUNC, RUNTIME, SYSTEMD, TRIXIE_PODMAN, WHO};
use crate::command_line::shim::nvbind;
use crate::container::{GPU, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Runtime, Said, User, as_user, said};
use crate::probe;
use crate::profiles::without_volumes;
use crate::services::quadlet::{GENERATOR, install, journal, systemctl};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::spec::Init;
use nvbind_lanes::tree::USER;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("generate-quadlet", quadlet)
        .each(&[WHO, INIT])
        .only(&[&[TRIXIE_PODMAN, SYSTEMD, CRUN], &[TRIXIE_PODMAN, NO_SYSTEMD], &[TRIXIE_PODMAN, RUNC]])
        .sample(&[&[CRUN]]),
    Case::new("generate-systemd", service).each(&[WHO, RELEASE]).only(&[&[SYSTEMD, CRUN]]).takes(3),
    Case::new("generate-kube", kube).each(&[RUNTIME, WHO]).only(&[&[TRIXIE_PODMAN]]),
    Case::new("profiles/generate-quadlet", quadlet_of_profile)
        .each(&[WHO, INIT])
        .only(&[&[TRIXIE_PODMAN]])
        .sample(&[&[CRUN]]),
];

/// All that a unit file could take for something else.
const TRICK: &str = r#"100% %h $HOME ${HOME} "it's" \n ; x"#;

/// Ends at once where the value did not get through.
const COMMAND: &str = r#"test "$0" = "$TRICK" && exec sleep 1000"#;

const SERVICE: &str = "generated.service";

/// What the container of a profile has, beside what it was typed.
const OF_PROFILE: &str = "nvbind-probe --device /dev/nvidia-uvm --device /dev/dri=ENOENT && test $NCCL_DEBUG = WARN \
     && touch $CUDA_CACHE_PATH/x && dd if=/dev/zero of=/dev/shm/large bs=1048576 count=80 2>/dev/null";

/// The file for a container that runs until it is stopped.
fn generated(podman: Podman, kind: &str, options: &[&str]) -> Result<String, Ended> {
    let runtime = format!("--runtime={}", podman.runtime());
    let trick = format!("--env=TRICK={TRICK}");
    let own = ["generate", kind, "--", &runtime, "--gpu=0", "--name", GPU, "-d", "--network=none"];
    let more = ["--stop-timeout=0", "--cap-drop=chown", &trick, IMAGE, "sh", "-c", COMMAND, TRICK];
    Ok(nvbind(podman.user, &[&own, options, &more].concat())?.must()?.out)
}

/// Fails the case unless the container runs, and the probe among the shell's `look` finds what it expects.
fn claim_runs(podman: Podman, name: &str, look: &str) -> Result<(), Ended> {
    let look = format!("{look} && test \"$TRICK\" = '{}'", TRICK.replace('\'', r"'\''"));
    probe::claim_works(&podman.run(&["exec", name, "sh", "-c", &look])?)
}

fn quadlet(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    quadlet_of(lane, podman, "generated", &[], &probe::command(None))
}

/// A unit file holds what the profile is on the machine where it is generated.
fn quadlet_of_profile(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    // A name of its own: systemd counts the starts of each, and soon refuses more.
    without_volumes(podman, || quadlet_of(lane, podman, "of-profile", &["--profile=ai-ml"], OF_PROFILE))
}

/// Quadlet has no complaint, and systemd starts the container.
fn quadlet_of(lane: &Lane, podman: Podman, unit: &str, options: &[&str], look: &str) -> Result<(), Ended> {
    let text = generated(podman, "quadlet", options)?;
    let folder = crate::services::quadlet::folder(podman.user);
    let path = folder.join(format!("{unit}.container"));
    install(podman.user, &path, &text)?;
    let mut generator = Command::new(GENERATOR);
    generator.arg("--dryrun").args((podman.user == User::Rootless).then_some("--user"));
    let dry = said(&mut as_user(podman.user, generator))?;
    let holds = dry.code == 0 && dry.out.contains(&format!("--name {GPU}"));
    let ended = claim(holds, "Quadlet does not take it", || dry.told())
        .and_then(|()| start(lane, podman, &format!("{unit}.service"), look));
    fs::remove_file(&path).on("remove", &path)?;
    reload(lane, podman)?;
    ended
}

/// systemd has no complaint, and starts the container.
fn service(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    let text = generated(podman, "systemd", &[])?;
    let folder = match podman.user {
        User::Root => PathBuf::from("/etc/systemd/system"),
        User::Rootless => PathBuf::from(format!("/home/{USER}/.config/systemd/user")),
    };
    let path = folder.join(SERVICE);
    install(podman.user, &path, &text)?;
    let mut analyze = Command::new("systemd-analyze");
    analyze.args((podman.user == User::Rootless).then_some("--user")).arg("verify").arg(&path);
    let verified = said(&mut as_user(podman.user, analyze))?;
    let holds = verified.code == 0 && !verified.err.contains(SERVICE);
    let ended = claim(holds, "systemd does not take it", || verified.told())
        .and_then(|()| start(lane, podman, SERVICE, &probe::command(None)));
    fs::remove_file(&path).on("remove", &path)?;
    reload(lane, podman)?;
    ended
}

/// Started, looked at and stopped, twice; nothing where no systemd runs.
fn start(lane: &Lane, podman: Podman, service: &str, look: &str) -> Result<(), Ended> {
    if lane.spec.init != Init::Systemd || podman.runtime != Runtime::Crun {
        return Ok(());
    }
    reload(lane, podman)?;
    for _ in 0..2 {
        let started = systemctl(podman.user, &["start", service])?;
        let told = |said: &Said| journal(podman.user, service, said);
        let ended = claim(started.code == 0, "the service did not start", || told(&started))
            .and_then(|()| claim_runs(podman, GPU, look));
        let stopped = systemctl(podman.user, &["stop", service])?;
        ended?;
        claim(stopped.code == 0, "the service did not stop", || told(&stopped))?;
        let exists = podman.run(&["container", "exists", GPU])?;
        claim(exists.code == 1, "the service leaves its container behind", || exists.told())?;
    }
    Ok(())
}

fn reload(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    if lane.spec.init != Init::Systemd {
        return Ok(());
    }
    systemctl(podman.user, &["daemon-reload"])?.must().map(drop)
}

/// podman plays the pod, and its container has the GPU.
fn kube(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let file = format!("/tmp/generated-{}.json", podman.name().replace('/', "-"));
    fs::write(&file, generated(podman, "kube", &[])?).on("write", Path::new(&file))?;
    let ended = then_remove(podman, || {
        podman.must(&["kube", "play", "--network=none", &file])?;
        claim_runs(podman, &format!("{GPU}-pod-{GPU}"), &probe::command(None))
    });
    let down = podman.run(&["kube", "down", "--force", &file])?;
    ended?;
    down.must().map(drop)
}
