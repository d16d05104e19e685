//! Process 1 of a lane: private namespaces, a disposable copy of the tree as root, and then either the cases or
//! systemd.

use super::cgroup::{View, join};
use super::spec::{Init, PAYLOAD, PROGRAM, RESULTS, Security, Spec};
use super::tree::{USER, USER_ID, write};
use super::{loopback, machine, seccomp, systemd};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, pivot_root, sethostname};
use nvbind_fixtures::error::{Doing, Error, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NONE: Option<&str> = None;

/// Character devices of a lane: path, major, minor.
const DEVICES: &[(&str, u64, u64)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("fuse", 10, 229),
    ("net/tun", 10, 200),
];

/// Links in /dev that programs expect.
const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "fd/0"),
    ("stdout", "fd/1"),
    ("stderr", "fd/2"),
];

/// Fresh file systems of a lane: path, kind, options. Container storage must not lie on the overlay of the tree.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "proc", ""),
    ("sys", "sysfs", ""),
    ("dev", "tmpfs", "mode=755"),
    ("dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
    ("dev/shm", "tmpfs", "mode=1777"),
    ("run", "tmpfs", "mode=755"),
    ("tmp", "tmpfs", "mode=1777"),
    ("var/lib/containers", "tmpfs", "mode=755"),
    ("home/tester/.local/share/containers", "tmpfs", "mode=700,uid=2000,gid=2000"),
];

/// What makes the disk of a virtual machine ready for its boot.
pub type BeforeBoot = fn(&Path, Security) -> Result<()>;

/// Becomes process 1: joins the cgroups, builds the root, runs the lane.
pub fn enter(spec_file: &Path, cgroups: &[PathBuf], before_boot: BeforeBoot) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).doing(|| "ask to end with the supervisor".into())?;
    let spec = Spec::read(spec_file)?;
    umask(Mode::from_bits_truncate(0o022));
    join(cgroups)?;
    if let Some(machine) = &spec.machine {
        return machine::become_machine(&spec, machine, before_boot);
    }
    let apart = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS;
    unshare(apart).doing(|| "make namespaces".into())?;
    sethostname("lane").doing(|| "name the lane".into())?;
    loopback::start()?;
    seccomp::stand_in_for_sys_resource()?;
    let root = build(&spec)?;
    become_root(&root)?;
    match spec.init {
        Init::Plain => run(&spec),
        Init::Systemd => systemd::become_init(spec.view),
    }
}

/// The tree with a disposable upper layer, the run's files, and fresh kernel file systems.
fn build(spec: &Spec) -> Result<PathBuf> {
    let root = overlay(spec)?;
    for (at, kind, options) in MOUNTS {
        let at = root.join(at);
        fs::create_dir_all(&at).on("create", &at)?;
        mount(Some(*kind), &at, Some(*kind), MsFlags::empty(), Some(*options))
            .on(&format!("mount {kind} on"), &at)?;
    }
    fill_dev(&root.join("dev"))?;
    fill_home(&root)?;
    mount_cgroups(spec, &root.join("sys/fs/cgroup"))?;
    bind(&spec.payload(), &root.join(PAYLOAD.trim_start_matches('/')), MsFlags::MS_RDONLY)?;
    bind(&spec.results(), &root.join(RESULTS.trim_start_matches('/')), MsFlags::empty())?;
    for (source, at) in &spec.binds {
        bind(source, &root.join(at.strip_prefix("/").unwrap_or(at)), MsFlags::MS_RDONLY)?;
    }
    if spec.init == Init::Systemd {
        systemd::prepare(&root)?;
    } else {
        write(
            &root.join("etc/containers/containers.conf.d/lane.conf"),
            "[engine]\ncgroup_manager = \"cgroupfs\"\n",
        )?;
    }
    Ok(root)
}

/// The tree with a disposable upper layer, in memory.
pub(crate) fn overlay(spec: &Spec) -> Result<PathBuf> {
    let base = spec.run.join("root");
    fs::create_dir_all(&base).on("create", &base)?;
    mount(Some("tmpfs"), &base, Some("tmpfs"), MsFlags::empty(), Some("size=4g,mode=755"))
        .on("mount a tmpfs on", &base)?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(base.join(name)).on("create", &base.join(name))?;
    }
    bind(&spec.tree, &base.join("lower"), MsFlags::empty())?;
    // Relative names: an overlay's options know no way to write a path with a comma or a colon. One device number for
    // all files: the program that labels them skips files of another one.
    chdir(&base).on("enter", &base)?;
    mount(
        Some("overlay"),
        "merged",
        Some("overlay"),
        MsFlags::empty(),
        Some("lowerdir=lower,upperdir=upper,workdir=work,xino=on"),
    )
    .doing(|| "mount an overlay of the tree".into())?;
    Ok(base.join("merged"))
}

pub(crate) fn bind(source: &Path, at: &Path, flags: MsFlags) -> Result<()> {
    fs::create_dir_all(at).on("create", at)?;
    mount(Some(source), at, NONE, MsFlags::MS_BIND, NONE).on("bind", source)?;
    if flags.is_empty() {
        return Ok(());
    }
    mount(NONE, at, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, NONE).on("remount", at)
}

fn fill_dev(dev: &Path) -> Result<()> {
    fs::create_dir(dev.join("net")).on("create", &dev.join("net"))?;
    for (name, major, minor) in DEVICES {
        let path = dev.join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(*major, *minor)).on("make the node", &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).on("open", &path)?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).on("link", &dev.join(name))?;
    }
    Ok(())
}

/// The folders above the user's container storage are the user's too, and so is a runtime folder where no logind makes
/// it.
fn fill_home(root: &Path) -> Result<()> {
    let home = root.join("home").join(USER);
    let runtime = root.join(format!("run/user/{USER_ID}"));
    fs::create_dir_all(&runtime).on("create", &runtime)?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).on("close", &runtime)?;
    for folder in [home.join(".local"), home.join(".local/share"), runtime] {
        chown(&folder, Some(USER_ID), Some(USER_ID)).on("give away", &folder)?;
    }
    Ok(())
}

fn mount_cgroups(spec: &Spec, at: &Path) -> Result<()> {
    let mut seen = spec.hierarchies.iter().filter(|hierarchy| hierarchy.is_in(spec.view));
    match spec.view {
        View::V2 => seen.try_for_each(|hierarchy| hierarchy.mount(at)),
        View::V1 => {
            mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
                .on("mount a tmpfs on", at)?;
            seen.try_for_each(|hierarchy| hierarchy.mount(&at.join(hierarchy.folder())))
        }
    }
}

fn become_root(root: &Path) -> Result<()> {
    let old = root.join(".old");
    fs::create_dir(&old).on("create", &old)?;
    pivot_root(root, &old).on("pivot into", root)?;
    chdir("/").doing(|| "enter the tree".into())?;
    umount2("/.old", MntFlags::MNT_DETACH).doing(|| "let go of the host's root".into())?;
    fs::remove_dir("/.old").doing(|| "remove /.old".into())?;
    // As on a booted system; and a mount that leaks out of a container shows.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE).doing(|| "share mounts".into())
}

/// Runs the cases, and waits for whatever else is left to this process 1.
fn run(spec: &Spec) -> Result<()> {
    if spec.view == View::V2 {
        // A process in the topmost cgroup would keep controllers from being handed down: crun retries that for a
        // second.
        let own = PathBuf::from("/sys/fs/cgroup/lane");
        fs::create_dir(&own).on("create", &own)?;
        join(&[own])?;
    }
    let child = inside().spawn().doing(|| "start the cases".into())?;
    let cases = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
    loop {
        let ended = waitpid(None, None).doing(|| "wait for the cases".into())?;
        if ended.pid() != Some(cases) {
            continue;
        }
        if ended == WaitStatus::Exited(cases, 0) {
            return Ok(());
        }
        return Err(Error::failed(format!("the cases of {} ended early: {ended:?}", spec.lane)));
    }
}

/// The command that runs the cases, with an environment of its own.
fn inside() -> Command {
    let mut command = Command::new(format!("{PAYLOAD}/bin/{PROGRAM}"));
    command.args(["inside", &format!("{PAYLOAD}/spec.json")]).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    command.process_group(0);
    command
}
