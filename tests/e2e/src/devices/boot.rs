//! `nvbind devices` on a machine where nothing has used the driver since it booted: a root of its own with a simulated
//! driver whose nodes are missing, and a simulated `nvidia-modprobe` that makes them as the real one does.

use crate::case::{CRUN, Case, RELEASE, ROOTFUL};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane};
use crate::podman::{Podman, Said, said};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_lanes::tree::write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("devices", devices).each(&[RELEASE]).only(&[&[CRUN, ROOTFUL]])];

const ROOT: &str = "/var/tmp/booted-machine";

/// The programs that run in it, with the libraries that they load, and what `nvbind setup` would install.
const PROGRAMS: [&str; 4] =
    ["/usr/local/bin/nvbind", "/usr/local/libexec/nvbind/nvbind-hook", "/bin/sh", "/usr/bin/mknod"];

pub(crate) const MODPROBE: &str = "usr/bin/nvidia-modprobe";

/// With `-u`, minor numbers are those of unified memory (nvidia-modprobe(1)).
pub(crate) const SIMULATED: &str = r#"#!/bin/sh
node() { mknod --mode=0666 "$@"; }
case "$*" in
  "-u -c 0") node /dev/nvidia-uvm c 384 0; node /dev/nvidia-uvm-tools c 384 1 ;;
  "-c 255") node /dev/nvidiactl c 195 255 ;;
  "-c "?) node "/dev/nvidia$2" c 195 "$2" ;;
  "-m") node /dev/nvidia-modeset c 195 254 ;;
  *) exit 1 ;;
esac
"#;

/// The kernel's own /proc with the driver's part of the simulated one, and the one node of the kernel that is needed.
const ENTER: &str = "mount --rbind proc mnt && mount --rbind /proc proc
touch dev/null && mount --bind /dev/null dev/null
mount --bind mnt/driver proc/driver && mount --bind mnt/devices proc/devices
exec chroot";

const DEVICES: &str = ". /usr/local/bin/nvbind devices";

/// For an ordinary user.
const SETUP: &str = "--userspec=2000:2000 . /usr/local/bin/nvbind setup --user --dry-run";

/// What is missing after the boot.
pub(crate) const MISSING: [&str; 6] = [
    "/dev/nvidia-modeset",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia0",
    "/dev/nvidia1",
    "/dev/nvidiactl",
];

fn devices(_: &Lane, _: Podman) -> Result<(), Ended> {
    let ended = make_machine().map_err(Ended::from).and_then(|()| claim_makes_all());
    fs::remove_dir_all(ROOT).on("remove", Path::new(ROOT))?;
    ended
}

fn make_machine() -> Result<(), Error> {
    let copied = said(Command::new("cp").args(["--archive", DRIVER, ROOT]))?;
    copied.must().map_err(|ended| Error::failed(format!("{ended:?}")))?;
    // Where /lib64 leads to, and where the simulated /proc is moved to.
    for directory in ["usr/lib64", "mnt"] {
        fs::create_dir_all(below(directory)).on("make", &below(directory))?;
    }
    for program in PROGRAMS {
        let listed = said(Command::new("ldd").arg(program))?.out;
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain([program]) {
            let copy = below(file);
            fs::create_dir_all(copy.parent().unwrap_or_else(|| Path::new(ROOT))).on("make", &copy)?;
            fs::copy(file, &copy).on("copy", &copy)?;
        }
    }
    for node in MISSING {
        fs::remove_file(below(node)).on("remove", &below(node))?;
    }
    write(&below(MODPROBE), SIMULATED)?;
    fs::set_permissions(below(MODPROBE), Permissions::from_mode(0o755)).on("allow to run", &below(MODPROBE))
}

fn below(path: &str) -> std::path::PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

fn claim_makes_all() -> Result<(), Ended> {
    let note = "note: the device node /dev/nvidia";
    let missing = inside(SETUP)?;
    claim(missing.err.contains(note), "setup does not tell of missing nodes", || missing.told())?;
    let first = inside(DEVICES)?;
    let made: String = MISSING.iter().map(|path| format!("made {path}\n")).collect();
    claim(first.code == 0 && first.out == made, "not all nodes were made", || first.told())?;
    let there = inside(SETUP)?;
    claim(there.code == 0 && !there.err.contains(note), "setup misses nodes that are there", || {
        there.told()
    })?;
    let second = inside(DEVICES)?;
    claim(second.code == 0 && second.out.is_empty(), "something is made twice", || second.told())?;
    for path in [MODPROBE, "dev/nvidiactl"] {
        fs::remove_file(below(path)).on("remove", &below(path))?;
    }
    let without = inside(DEVICES)?;
    let told = without.err.contains("/dev/nvidiactl is not there, and /usr/bin/nvidia-modprobe");
    claim(without.code == 3 && told, "a missing nvidia-modprobe is not told of", || without.told())
}

fn inside(command: &str) -> Result<Said, Error> {
    let script = format!("{ENTER} {command}");
    said(Command::new("unshare").args(["--mount", "sh", "-ec", &script]).current_dir(ROOT))
}
