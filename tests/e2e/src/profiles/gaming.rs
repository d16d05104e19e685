//! The profile `gaming`.

use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::container::GPU;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, Said, User};
use crate::probe;
use crate::profiles::desktop;
use crate::profiles::desktop::{COOKIE, Desktop};
use crate::profiles::{
    FAMILIES, GRAPHICS, SHADERS, claim_left_out, holds_these_alone, started, without_volumes,
};
use nvbind_lanes::tree::write;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("profiles/gaming", on_a_desktop).each(&[RUNTIME, WHO, RELEASE]).takes(2),
    Case::new("profiles/gaming-without-desktop", without_desktop).each(&[WHO]),
    Case::new("profiles/gaming-own-words", own_words).each(&[WHO]),
];

const GAMING: &str = "--profile=gaming";

/// Every one by the variable that programs find it with.
const SOCKETS: &str = "--socket /tmp/.X11-unix/X${DISPLAY#:} --socket $WAYLAND_DISPLAY \
     --socket ${PULSE_SERVER#unix:} --socket $PIPEWIRE_REMOTE";

/// What the desktop's variables become, or do not.
const NO_SESSION: &str = "test -z \"${DISPLAY+set}${XAUTHORITY+set}${WAYLAND_DISPLAY+set}${PULSE_SERVER+set}\
     ${PIPEWIRE_REMOTE+set}\" && test ! -e /run/session && test ! -e /dev/input";

fn on(desktop: &Desktop, podman: Podman, options: &[&str], command: &str) -> Result<Said, Ended> {
    let variables = desktop.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    started(podman, &variables, options, command)
}

/// The probe, with the nodes of controllers beside the GPU's: of two, the user may use one.
fn look(podman: Podman) -> String {
    let roots = if podman.user == User::Root { "" } else { "=EACCES" };
    let nodes = format!("--device /dev/input/event0 --device /dev/input/event1{roots}");
    format!("{} {nodes} {SOCKETS}", probe::command(None))
}

/// As the container's root, and as oneself.
fn on_a_desktop(_: &Lane, podman: Podman) -> Result<(), Ended> {
    plays(podman, &[GAMING])?;
    if podman.user == User::Rootless { plays(podman, &[GAMING, "--userns=keep-id"]) } else { Ok(()) }
}

fn plays(podman: Podman, options: &[&str]) -> Result<(), Ended> {
    let in_cache = "cd $__GL_SHADER_DISK_CACHE_PATH && test $__GL_SHADER_DISK_CACHE = 1";
    let first = format!(
        "{} && {} && grep -q '{COOKIE}' $XAUTHORITY && ! touch $XAUTHORITY 2>/dev/null \
         && ! touch /tmp/.X11-unix/X1 2>/dev/null && test $(cat /proc/sys/kernel/hostname) = lane \
         && {in_cache} && echo compiled > kept",
        look(podman),
        holds_these_alone(FAMILIES)
    );
    desktop::with(podman.user, |desktop| {
        without_volumes(podman, || {
            let said = on(desktop, podman, options, &first)?;
            probe::claim_works(&said)?;
            claim_left_out(&said, &[])?;
            desktop.claim_connected()?;
            podman.remove(&[GPU])?;
            podman.must(&["volume", "exists", SHADERS])?;
            // Another container finds what the first one compiled.
            let second = format!("{in_cache} && test $(cat kept) = compiled");
            on(desktop, podman, options, &second)?.must().map(drop)
        })
    })
}

/// A server: the container starts, and a note tells of each thing that it does without.
fn without_desktop(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let left_out = [
        "--volume /tmp/.X11-unix:/tmp/.X11-unix:ro of the profile gaming",
        "; XAUTHORITY with it",
        "; WAYLAND_DISPLAY with it",
        "; PULSE_SERVER with it",
        "; PIPEWIRE_REMOTE with it",
        "--env DISPLAY of the profile gaming",
        "--device /dev/input of the profile gaming",
    ];
    let command = format!("{} && {NO_SESSION} && touch $__GL_SHADER_DISK_CACHE_PATH/x", probe::command(None));
    desktop::without(podman.user, || {
        without_volumes(podman, || {
            let said = started(podman, &[], &[GAMING], &command)?;
            probe::claim_works(&said)?;
            claim_left_out(&said, &left_out)
        })
    })
}

/// The user's own display, places, sizes and names.
fn own_words(_: &Lane, podman: Podman) -> Result<(), Ended> {
    write(Path::new("/tmp/own-display/X7"), "")?;
    let own = [
        "--env=DISPLAY=:7",
        "--volume=/tmp/own-display:/tmp/.X11-unix:ro",
        "--tmpfs=/var/cache/nvbind/shaders",
        "--shm-size=1m",
        "--hostname=own",
        "--capabilities=graphics",
        "--device=/dev/input/event1",
    ];
    let command = format!(
        "test $DISPLAY = :7 && test -e /tmp/.X11-unix/X7 && test ! -e /tmp/.X11-unix/X0 \
         && test $(cat /proc/sys/kernel/hostname) = own && {} \
         && ! dd if=/dev/zero of=/dev/shm/large bs=1048576 count=2 2>/dev/null \
         && grep -q ' /var/cache/nvbind/shaders .* - tmpfs ' /proc/self/mountinfo && test -c /dev/input/event0",
        holds_these_alone(&[GRAPHICS])
    );
    desktop::with(podman.user, |desktop| {
        without_volumes(podman, || {
            let options = [&[GAMING][..], &own].concat();
            let said = on(desktop, podman, &options, &command)?.must()?;
            claim_left_out(&said, &["--uts of the profile gaming"])?;
            // Of a profile's volume that the user has put something over, podman makes none.
            let exists = podman.run(&["volume", "exists", SHADERS])?;
            claim(exists.code == 1, "the volume is there for nothing", || exists.told())?;
            podman.remove(&[GPU])?;
            let wide = ["--profile=gaming", "-e", "NVIDIA_DRIVER_CAPABILITIES=utility"];
            on(desktop, podman, &wide, &holds_these_alone(&[]))?.must().map(drop)
        })
    })
}
