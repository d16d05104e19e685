//! What can be wrong with the host's driver.

use crate::machine::VERSION;
use crate::world::{self, HOOK, World, skip};
use crate::{Case, case, check};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

fn libcuda(world: &World) -> PathBuf {
    world.driver.path(&format!("usr/lib64/libcuda.so.{VERSION}"))
}

fn mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const DRIVERS: &[Case] = &[
    case(
        "none",
        3,
        "container c0ffee: no NVIDIA driver is loaded: @driver/proc/driver/nvidia/version is not there; load it with `modprobe nvidia`, or install the driver",
        |world| fs::remove_dir_all(world.driver.path("proc/driver")).unwrap(),
    ),
    case(
        "a version that is none",
        3,
        "container c0ffee: @driver/proc/driver/nvidia/version does not tell the driver's version",
        |world| world.driver.write("proc/driver/nvidia/version", "NVRM version: ../../etc\n"),
    ),
    case(
        "libraries of another version",
        3,
        "container c0ffee: the NVIDIA kernel module is 570.172.08, but the libraries are 535.261.03; reboot, or reload the nvidia modules, to finish the driver's upgrade",
        |world| {
            fs::remove_dir_all(world.driver.path("usr/lib64")).unwrap();
            world.driver.library("/usr/lib64", "libcuda.so.535.261.03", "libcuda.so.1");
        },
    ),
    case(
        "an upgrade that stopped between two packages",
        3,
        "container c0ffee: the NVIDIA kernel module is 570.172.08, but the libraries are 535.261.03; reboot, or reload the nvidia modules, to finish the driver's upgrade",
        |world| {
            fs::remove_file(world.driver.path("usr/lib64/libnvidia-ml.so.570.172.08")).unwrap();
            world.driver.library("/usr/lib64", "libnvidia-ml.so.535.261.03", "libnvidia-ml.so.1");
        },
    ),
    case(
        "no libraries",
        3,
        "container c0ffee: the NVIDIA kernel module 570.172.08 is loaded, but none of its libraries is on this machine (no libcuda.so.570.172.08 or libnvidia-ml.so.570.172.08); install the driver's user-space packages",
        |world| fs::remove_dir_all(world.driver.path("usr/lib64")).unwrap(),
    ),
    case(
        "a library that was copied half-way",
        3,
        "container c0ffee: @driver/usr/lib64/libnvidia-nvvm.so.570.172.08 is no shared library; install the driver's user-space packages again",
        |world| {
            let path = format!("usr/lib64/libnvidia-nvvm.so.{VERSION}");
            world.driver.write(&path, "\x7fELF\x02\x01\x01 and no more");
        },
    ),
    case(
        "no major number",
        3,
        "container c0ffee: @driver/proc/devices lists no nvidia driver although one is loaded",
        |world| world.driver.write("proc/devices", "Character devices:\n  1 mem\n"),
    ),
    case(
        "a module that is not loaded",
        3,
        "container c0ffee: /dev/nvidia-uvm is needed for compute,video, but the kernel module nvidia-uvm is not loaded; run `nvbind devices` or `modprobe nvidia-uvm` as root",
        |world| world.driver.write("proc/devices", "Character devices:\n195 nvidia\n"),
    ),
    case(
        "a GPU that does not say its minor number",
        3,
        "container c0ffee: @driver/proc/driver/nvidia/gpus/0000:01:00.0/information lacks a usable \"Device Minor\" line",
        |world| world.driver.write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: X\n"),
    ),
];

const NODES: &[Case] = &[
    case(
        "missing, and not to be made",
        3,
        "container c0ffee: @driver/dev/nvidia-uvm is not there; run `nvbind devices` as root",
        |world| {
            world.driver.write("proc/driver/nvidia/params", "ModifyDeviceFiles: 0\n");
            fs::remove_file(world.driver.path("dev/nvidia-uvm")).unwrap();
        },
    ),
    case(
        "another device",
        3,
        "container c0ffee: @driver/dev/nvidia0 is not the character device 195:0; remove it, and run `nvbind devices` as root",
        |world| node(world, SFlag::S_IFCHR, makedev(1, 3)),
    ),
    case(
        "a block device",
        3,
        "container c0ffee: @driver/dev/nvidia0 is not the character device 195:0; remove it, and run `nvbind devices` as root",
        |world| node(world, SFlag::S_IFBLK, makedev(195, 0)),
    ),
    case(
        "a file",
        3,
        "container c0ffee: @driver/dev/nvidia0 is not the character device 195:0; remove it, and run `nvbind devices` as root",
        |world| node(world, SFlag::S_IFREG, 0),
    ),
];

fn node(world: &World, kind: SFlag, device: nix::libc::dev_t) {
    let path = world.driver.path("dev/nvidia0");
    fs::remove_file(&path).unwrap();
    mknod(&path, kind, Mode::S_IRWXU, device).unwrap();
}

const FILES: &[Case] = &[
    case(
        "writable by everyone",
        4,
        "container c0ffee: @driver/usr/lib64/libcuda.so.570.172.08 is not root's alone to write and everybody's to read; it is not put into a container",
        |world| mode(libcuda(world), 0o646),
    ),
    case(
        "writable by a group",
        4,
        "container c0ffee: @driver/usr/bin/nvidia-smi is not root's alone to write and everybody's to read; it is not put into a container",
        |world| mode(world.driver.path("usr/bin/nvidia-smi"), 0o775),
    ),
    case(
        "a user's",
        4,
        "container c0ffee: @driver/usr/lib64/libcuda.so.570.172.08 is not root's alone to write and everybody's to read; it is not put into a container",
        |world| chown(libcuda(world), Some(1000), None).unwrap(),
    ),
];

/// What a directory that others may write to could be made to show.
const DIRECTORIES: &[Case] = &[
    case(
        "a directory that everyone can write to",
        4,
        "container c0ffee: @driver/usr/lib64 is not root's alone to write and everybody's to read; it is not put into a container",
        |world| mode(world.driver.path("usr/lib64"), 0o757),
    ),
    case(
        "a link to a secret of root's",
        4,
        "container c0ffee: @driver/secret is not root's alone to write and everybody's to read; it is not put into a container",
        |world| {
            world.driver.write("secret", "of root's");
            mode(world.driver.path("secret"), 0o600);
            fs::remove_file(world.driver.path("usr/bin/nvidia-smi")).unwrap();
            world.driver.link("/usr/bin/nvidia-smi", "/secret");
        },
    ),
];

#[test]
fn a_driver_that_cannot_work_is_refused() {
    check(DRIVERS);
}

#[test]
fn a_node_that_is_not_the_driver_s_is_refused() {
    check(NODES);
}

#[test]
fn a_file_that_others_than_root_could_change_is_refused() {
    check(FILES);
    check(DIRECTORIES);
}

#[test]
fn a_node_that_nobody_made_is_made_as_the_kernel_module_says() {
    let Some(mut world) = World::new() else { return };
    world.driver.write(
        "proc/driver/nvidia/params",
        "ModifyDeviceFiles: 1\nDeviceFileUID: 7\nDeviceFileGID: 44\nDeviceFileMode: 432\n",
    );
    fs::remove_file(world.driver.path("dev/nvidia1")).unwrap();
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    for path in [world.driver.path("dev/nvidia1"), world.inside("dev/nvidia1")] {
        let node = fs::metadata(&path).unwrap();
        assert!(node.file_type().is_char_device());
        assert_eq!((node.rdev(), node.mode() & 0o777), (makedev(195, 1), 0o660), "{}", path.display());
        assert_eq!((node.uid(), node.gid()), (7, 44), "{}", path.display());
    }
}

/// A machine that has just booted, and the driver's own program for that, with this script and mode: both stand in for
/// this machine's in the test's mount namespace.
fn unloaded(script: &str, may: u32) -> Option<World> {
    let mut world = World::new()?;
    let loaded = fs::read_to_string(world.driver.path("proc/devices")).unwrap();
    world.write("proc-devices", loaded.replace("511 nvidia-uvm\n", ""));
    world.write("loaded", &loaded);
    bind(&world.driver.path("proc/driver"), "/proc/driver");
    bind(&world.path("proc-devices"), "/proc/devices");
    let at = world.path("");
    let at = at.to_str().unwrap().trim_end_matches('/');
    world.write("scratch/bin/nvidia-modprobe", script.replace('@', at));
    mode(world.path("scratch/bin/nvidia-modprobe"), may);
    overlay(&world, "bin", "/usr/bin");
    let copied =
        Command::new("cp").arg("-a").args([world.driver.path("dev"), world.path("scratch/dev")]).status();
    assert!(copied.unwrap().success());
    overlay(&world, "dev", "/dev");
    world.write("config.toml", format!("[driver]\nroot = {:?}\n", world.driver.path("")));
    world.arguments = ["prestart", "--config", &format!("{at}/config.toml")].map(str::to_owned).to_vec();
    world.start();
    Some(world)
}

/// Takes the stand-ins away, so that the world's directories can be removed.
fn uncover() {
    for target in ["/dev", "/usr/bin", "/proc/devices", "/proc/driver"] {
        umount2(target, MntFlags::MNT_DETACH).unwrap();
    }
}

const LOADS: &str = "#!/bin/sh\n[ \"$*\" = '-u -c 0' ] && [ -z \"$HOME\" ] && cat @/loaded >/proc/devices\n";

#[test]
fn modules_that_are_not_loaded_are_loaded_by_the_driver_s_own_program() {
    for (script, may, code, says) in [
        (LOADS, 0o755, 0, ""),
        (
            "#!/bin/sh\nexit 1\n",
            0o755,
            3,
            "the driver's modules are not loaded: /usr/bin/nvidia-modprobe failed (exit status: 1)",
        ),
        (
            LOADS,
            0o777,
            3,
            "the driver's modules are not loaded: /usr/bin/nvidia-modprobe is not root's alone to write",
        ),
    ] {
        let Some(world) = unloaded(script, may) else { return };
        let ended = world.hook();
        assert_eq!(ended.code, Some(code), "{}", ended.says);
        assert!(ended.says.contains(says), "{}", ended.says);
        uncover();
    }
}

/// As a runtime does whose time limit is over, or whose container was killed.
#[test]
fn what_a_killed_hook_was_waiting_for_ends_with_it() {
    const HANGS: &str =
        "#!/bin/sh\n/bin/sleep 600 &\necho $$ $! >@/started.new\nmv @/started.new @/started\nwait\n";
    let Some(world) = unloaded(HANGS, 0o755) else { return };
    let mut command = Command::new(HOOK);
    command.args(&world.arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut hook = command.spawn().unwrap();
    hook.stdin.take().unwrap().write_all(&world.stdin()).unwrap();
    let started = world.path("started");
    while !started.exists() {
        assert_eq!(hook.try_wait().unwrap(), None, "the hook waits for it");
        thread::sleep(Duration::from_millis(10));
    }
    hook.kill().unwrap();
    hook.wait().unwrap();
    let text = fs::read_to_string(&started).unwrap();
    for pid in text.split_whitespace() {
        let status = format!("/proc/{pid}/status");
        let is_running = || fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
        while is_running() {
            thread::sleep(Duration::from_millis(10));
        }
    }
    uncover();
}

#[test]
fn a_hook_in_a_user_namespace_loads_no_modules() {
    let namespaces = ["--user", "--map-root-user"];
    let Some(world) = unloaded(LOADS, 0o755) else { return };
    if Command::new("unshare").args(namespaces).arg("true").status().unwrap().success() {
        let mut command = Command::new("unshare");
        let ended = world.run(command.args(namespaces).arg(HOOK).args(&world.arguments));
        let says = "nvbind-hook: container c0ffee: /dev/nvidia-uvm is needed for compute,video, but the kernel module nvidia-uvm is not loaded; ";
        assert!(ended.code == Some(3) && ended.says.starts_with(says), "{ended:?}");
    } else {
        skip::<()>("this machine has no user namespaces");
    }
    uncover();
}

/// As udev's rules name them, which the container does not have.
#[test]
fn a_gpu_s_drm_nodes_are_found_by_its_pci_address() {
    let Some(mut world) = World::new() else { return };
    let uuid = "GPU-aaaa0000-0000-0000-0000-000000000001";
    world.driver.gpu("0000:01:00.0", 1, uuid, &["card0", "renderD128"]);
    fs::create_dir(world.driver.path("dev/dri")).unwrap();
    for (name, minor) in [("card0", 0), ("renderD128", 128)] {
        world::node(&world.driver.path("dev/dri").join(name), 0o666, makedev(226, minor)).unwrap();
    }
    world.request(r#""io.nvbind.gpu":"0","io.nvbind.capabilities":"graphics""#);
    for _start in 0..2 {
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        for (link, target) in [("card", "../card0"), ("render", "../renderD128")] {
            let path = world.inside("dev/dri/by-path").join(format!("pci-0000:01:00.0-{link}"));
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(target));
            assert!(fs::metadata(path).unwrap().file_type().is_char_device());
        }
    }
}

fn bind(source: &Path, target: &str) {
    let none: Option<&str> = None;
    mount(Some(source), target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
}

/// A directory of the machine with what is in one of the test's on top.
fn overlay(world: &World, upper: &str, target: &str) {
    let (upper, work) =
        (world.path("scratch").join(upper), world.path("scratch").join(format!("{upper}.work")));
    fs::create_dir(&work).unwrap();
    let options = format!("lowerdir={target},upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), target, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
}

#[test]
fn what_is_no_library_or_program_of_the_driver_is_left_out() {
    let Some(mut world) = World::new() else { return };
    let driver = &world.driver;
    mkfifo(&driver.path(&format!("usr/lib64/libnvidia-cfg.so.{VERSION}")), Mode::S_IRWXU).unwrap();
    driver.link(&format!("usr/lib64/libnvidia-glsi.so.{VERSION}"), "/etc/nowhere");
    fs::create_dir_all(driver.path("usr/bin/nvidia-debugdump")).unwrap();
    world.start();
    let ended = world.hook();
    let says = format!(
        "nvbind-hook: left out, since not the driver's {VERSION} or not for this machine: /usr/lib64/libnvidia-cfg.so.{VERSION}, /usr/lib64/libnvidia-glsi.so.{VERSION}\n"
    );
    assert_eq!((ended.code, ended.says), (Some(0), says));
    let names = |path: &str| {
        let entries = fs::read_dir(world.inside(path)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let files = ["libcuda.so", "libcuda.so.1", "libcuda.so.570.172.08"];
    let management = ["libnvidia-ml.so", "libnvidia-ml.so.1", "libnvidia-ml.so.570.172.08"];
    assert_eq!(names("usr/local/nvidia/lib64"), [files, management].concat());
    assert_eq!(names("usr/local/nvidia/bin"), ["nvidia-smi"]);
}

/// Each stands for a read that fails: what this user may not read, they would do without, and never know.
#[test]
fn what_a_user_may_not_read_is_not_left_out() {
    const USER: Option<u32> = Some(1000);
    let namespaces = ["--user", "--map-root-user"];
    for path in [
        "usr/lib64/libcuda.so.570.172.08",
        "usr/lib64",
        "usr/bin/nvidia-smi",
        "etc/ld.so.cache",
        "proc/driver/nvidia/params",
        "usr/share/vulkan/icd.d/nvidia_icd.json",
    ] {
        let Some(mut world) = World::new() else { return };
        if !Command::new("unshare").args(namespaces).arg("true").status().unwrap().success() {
            skip::<()>("this machine has no user namespaces");
            return;
        }
        if !world.driver.path(path).exists() {
            world.driver.write(path, "{}");
        }
        chown(world.driver.path(path), USER, None).unwrap();
        mode(world.driver.path(path), 0o700);
        world.start();
        let before = world.snapshot();
        let mut command = Command::new("unshare");
        let ended = world.run(command.args(namespaces).arg(HOOK).args(&world.arguments));
        let says = format!(
            "nvbind-hook: container c0ffee: cannot read @driver/{path}: Permission denied (os error 13)\n"
        );
        assert_eq!((ended.code, ended.says), (Some(4), says), "{path}");
        world.assert_same(&before, path);
    }
}
