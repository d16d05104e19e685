//! The sockets of the driver's daemons, and what a container gets only when it asks for it by name.

use crate::world::{self, HOOK, World, skip};
use crate::{Case, case, check};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::makedev;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

const DEVICES: &str = "Character devices:\n195 nvidia\n195 nvidia-modeset\n231 infiniband_verbs\n\
                       240 nvidia-caps-imex-channels\n241 nvidia-nvswitch\n242 nvidia-fs\n243 gdrdrv\n\
                       244 infiniband_verbs\n511 nvidia-uvm\n\nBlock devices:\n";

/// The nodes of a host that has every extra.
const NODES: &[(&str, u64, u64)] = &[
    ("nvidia-caps-imex-channels/channel0", 240, 0),
    ("nvidia-caps-imex-channels/channel2", 240, 2),
    ("nvidia-nvswitchctl", 241, 255),
    ("nvidia-nvswitch0", 241, 0),
    ("nvidia-fs0", 242, 5),
    ("gdrdrv", 243, 0),
    ("infiniband/uverbs0", 231, 192),
    ("infiniband/uverbs32", 244, 0),
    ("infiniband/rdma_cm", 10, 58),
];

/// Asks a host that has every extra, but no daemon, for these.
fn ask(world: &mut World, extras: &str) {
    world.driver.write("proc/devices", DEVICES);
    world.driver.write("proc/misc", " 58 rdma_cm\n");
    world.driver.write("etc/cufile.json", "{}\n");
    for (name, major, minor) in NODES {
        node(world, name, makedev(*major, *minor));
    }
    world.request(&format!(r#""io.nvbind.gpu":"none","io.nvbind.extras":"{extras}""#));
}

fn node(world: &World, name: &str, device: u64) {
    let path = world.driver.path("dev").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&path);
    world::node(&path, 0o666, device).unwrap();
}

/// The host's directory of MPS, in a /tmp as it is.
fn mps(world: &World) -> PathBuf {
    let path = world.driver.path("tmp/nvidia-mps");
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(world.driver.path("tmp"), Permissions::from_mode(0o1777)).unwrap();
    path
}

fn listen(world: &World, path: &str) -> UnixListener {
    let path = world.driver.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    UnixListener::bind(path).unwrap()
}

fn start(world: &mut World) {
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
}

const MISSING: &[Case] = &[
    case(
        "a kernel module that is not loaded",
        3,
        "container c0ffee: gdrcopy was asked for, but there is no /dev/gdrdrv, or its kernel module is not loaded; install gdrdrv-dkms of GDRCopy, run `modprobe gdrdrv` as root",
        |world| {
            ask(world, "gdrcopy");
            world.driver.write("proc/devices", "Character devices:\n195 nvidia\n511 nvidia-uvm\n");
        },
    ),
    case(
        "a channel that nobody made",
        3,
        "container c0ffee: imex was asked for, but there is no /dev/nvidia-caps-imex-channels/channel1, or its kernel module is not loaded; load the nvidia module with NVreg_CreateImexChannel0=1 for channel 0, make others with mknod",
        |world| ask(world, "imex:1"),
    ),
    case(
        "a daemon that does not run",
        3,
        "container c0ffee: mps was asked for, but there is no directory /tmp/nvidia-mps; start nvidia-cuda-mps-control -d",
        |world| ask(world, "gds,mps"),
    ),
];

const NODES_OF_OTHERS: &[Case] = &[
    case(
        "another major number",
        3,
        "container c0ffee: @driver/dev/gdrdrv is not the character device 243:0; remove it, and install gdrdrv-dkms of GDRCopy, run `modprobe gdrdrv` as root",
        |world| {
            ask(world, "gdrcopy");
            node(world, "gdrdrv", makedev(1, 1));
        },
    ),
    case(
        "another major number where any minor one is right",
        3,
        "container c0ffee: @driver/dev/infiniband/uverbs0 is not the character device 231:192; remove it, and install rdma-core, run `modprobe ib_uverbs` as root",
        |world| {
            ask(world, "infiniband");
            node(world, "infiniband/uverbs0", makedev(8, 192));
        },
    ),
    case(
        "another channel than its name says",
        3,
        "container c0ffee: @driver/dev/nvidia-caps-imex-channels/channel2 is not the character device 240:2; remove it, and load the nvidia module with NVreg_CreateImexChannel0=1 for channel 0, make others with mknod",
        |world| {
            ask(world, "imex:2");
            node(world, "nvidia-caps-imex-channels/channel2", makedev(240, 0));
        },
    ),
];

const REPLACEABLE: &[Case] = &[
    case(
        "MPS: a link",
        4,
        "container c0ffee: @driver/tmp/nvidia-mps is not a directory of root that others cannot replace; it is not put into a container",
        |world| {
            ask(world, "mps");
            fs::remove_dir(mps(world)).unwrap();
            symlink(world.path("outside"), world.driver.path("tmp/nvidia-mps")).unwrap();
        },
    ),
    case(
        "MPS: another user's directory",
        4,
        "container c0ffee: @driver/tmp/nvidia-mps is not a directory of root that others cannot replace; it is not put into a container",
        |world| {
            ask(world, "mps");
            chown(mps(world), Some(1000), None).unwrap();
        },
    ),
    case(
        "MPS: a directory that others can replace",
        4,
        "container c0ffee: @driver/tmp/nvidia-mps is not a directory of root that others cannot replace; it is not put into a container",
        |world| {
            ask(world, "mps");
            mps(world);
            fs::set_permissions(world.driver.path("tmp"), Permissions::from_mode(0o777)).unwrap();
        },
    ),
    case(
        "MPS: a /tmp that is a link",
        4,
        "container c0ffee: @driver/tmp/nvidia-mps is not a directory of root that others cannot replace; it is not put into a container",
        |world| {
            ask(world, "mps");
            mps(world);
            fs::rename(world.driver.path("tmp"), world.driver.path("temporary")).unwrap();
            world.driver.link("/tmp", "temporary");
        },
    ),
    case(
        "a socket in a directory that a group can write to",
        4,
        "container c0ffee: @driver/run/nvidia-persistenced/socket is not a socket in a directory that only root and its owner can change; it is not put into a container",
        |world| {
            let _socket = listen(world, "run/nvidia-persistenced/socket");
            let directory = world.driver.path("run/nvidia-persistenced");
            fs::set_permissions(directory, Permissions::from_mode(0o775)).unwrap();
        },
    ),
];

#[test]
fn an_extra_that_is_not_there_is_refused_with_what_brings_it() {
    check(MISSING);
}

#[test]
fn a_node_of_another_driver_is_refused() {
    check(NODES_OF_OTHERS);
}

#[test]
fn what_others_could_have_put_there_is_refused() {
    check(REPLACEABLE);
}

#[test]
fn extras_are_there_when_they_are_asked_for_and_not_without() {
    let Some(mut world) = World::new() else { return };
    ask(&mut world, "imex:2,nvswitch,gds,gdrcopy,infiniband");
    start(&mut world);
    for (name, major, minor) in NODES.iter().filter(|(name, ..)| !name.ends_with("channel0")) {
        let node = fs::symlink_metadata(world.inside("dev").join(name)).unwrap();
        assert!(node.file_type().is_char_device(), "{name}");
        assert_eq!((node.rdev(), node.mode() & 0o777), (makedev(*major, *minor), 0o666), "{name}");
    }
    assert!(!world.inside("dev/nvidia-caps-imex-channels/channel0").exists());
    assert!(!world.inside("dev/nvidiactl").exists());
    let cufile = fs::read_link(world.inside("etc/cufile.json")).unwrap();
    assert_eq!(cufile, Path::new("/usr/local/nvidia/etc/cufile.json"));
    let names = |world: &World| {
        let entries = fs::read_dir(world.inside("dev")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    ask(&mut world, "gdrcopy");
    start(&mut world);
    assert_eq!(names(&world), ["gdrdrv"]);
    assert!(fs::symlink_metadata(world.inside("etc/cufile.json")).is_err());
    world.request(r#""io.nvbind.gpu":"none""#);
    start(&mut world);
    assert_eq!(names(&world), Vec::<&str>::new());
}

#[test]
fn the_directory_of_mps_can_be_written_to_in_a_view_that_cannot() {
    let Some(mut world) = World::new() else { return };
    ask(&mut world, "mps");
    let host = mps(&world);
    fs::write(host.join("control"), "of the daemon").unwrap();
    start(&mut world);
    let link = fs::read_link(world.inside("tmp/nvidia-mps")).unwrap();
    assert_eq!(link, Path::new("/usr/local/nvidia/run/nvidia-mps"));
    let inside = world.inside("usr/local/nvidia/run/nvidia-mps");
    assert_eq!(fs::read_to_string(inside.join("control")).unwrap(), "of the daemon");
    fs::write(inside.join("client"), "of the container").unwrap();
    assert_eq!(fs::read_to_string(host.join("client")).unwrap(), "of the container");
    let beside = fs::write(world.inside("usr/local/nvidia/run/client"), "").unwrap_err();
    assert_eq!(beside.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    let mount = mounts.lines().find(|line| line.contains("/usr/local/nvidia/run/nvidia-mps ")).unwrap();
    assert!(mount.contains("rw,nosuid,nodev,noexec"), "{mount}");
    // A start without it takes the link back.
    world.request(r#""io.nvbind.gpu":"none""#);
    start(&mut world);
    assert!(fs::symlink_metadata(world.inside("tmp/nvidia-mps")).is_err());
}

/// systemd shares the mounts of a host: what is mounted there later, or in the container, is not to show in the other
/// one.
#[test]
fn what_the_host_shares_is_private_in_the_container() {
    let none: Option<&Path> = None;
    for (namespaces, bound) in
        [(&["--mount"][..], 0), (&["--user", "--map-root-user", "--mount"], NODES.len())]
    {
        let Some(mut world) = World::new() else { return };
        if !Command::new("unshare").args(namespaces).arg("true").status().unwrap().success() {
            skip::<()>("this machine has no user namespaces");
            return;
        }
        world.namespaces = namespaces;
        ask(&mut world, "mps,imex,nvswitch,gds,gdrcopy,infiniband");
        mps(&world);
        let _socket = listen(&world, "run/nvidia-persistenced/socket");
        let driver = world.driver.path("");
        mount(Some(&driver), &driver, none, MsFlags::MS_BIND, none).unwrap();
        mount(none, &driver, none, MsFlags::MS_SHARED, none).unwrap();
        start(&mut world);
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
        let root = world.path("scratch/root");
        let count = |below: &str| {
            let path = format!(" {}/{below}", root.display());
            let found: Vec<&str> = mounts.lines().filter(|line| line.contains(&path)).collect();
            for mount in &found {
                assert!(!mount.contains("shared:") && !mount.contains("master:"), "{mount}");
            }
            found.len()
        };
        // The view itself, the libraries and programs, the socket and the directory.
        assert!(count("usr/local/nvidia") > 4, "{mounts}");
        assert_eq!(count("dev/"), bound, "{mounts}");
        umount2(&driver, MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_daemon_s_socket_is_reached_through_the_view_and_a_missing_one_is_not_missed() {
    for host in ["run/nvidia-persistenced/socket", "var/run/nvidia-persistenced/socket"] {
        let Some(mut world) = World::new() else { return };
        let socket = listen(&world, host);
        start(&mut world);
        let link = fs::read_link(world.inside("run/nvidia-persistenced")).unwrap();
        assert_eq!(link, Path::new("/usr/local/nvidia/run/nvidia-persistenced"));
        assert!(fs::symlink_metadata(world.inside("run/nvidia-fabricmanager")).is_err());
        UnixStream::connect(world.inside("usr/local/nvidia/run/nvidia-persistenced/socket")).unwrap();
        socket.accept().unwrap();
        drop(socket);
        fs::remove_file(world.driver.path(host)).unwrap();
        start(&mut world);
        assert!(fs::symlink_metadata(world.inside("run/nvidia-persistenced")).is_err());
    }
}

#[test]
fn all_channels_that_a_driver_has_by_default_fit_into_the_usual_limits_of_descriptors() {
    // In a user namespace each node is bound, which takes a descriptor; elsewhere they are made, also by a hook that
    // cannot raise a hard limit.
    for (namespaces, limit) in [
        (&["--mount"][..], "setpriv --bounding-set=-sys_resource sh -c 'ulimit -n 1024; exec \"$@\"' sh"),
        (&["--user", "--map-root-user", "--mount"], "sh -c 'ulimit -Sn 1024; exec \"$@\"' sh"),
    ] {
        let Some(mut world) = World::new() else { return };
        if !Command::new("unshare").args(namespaces).arg("true").status().unwrap().success() {
            skip::<()>("this machine has no user namespaces");
            return;
        }
        world.namespaces = namespaces;
        ask(&mut world, "imex");
        for channel in 0..2048 {
            node(&world, &format!("nvidia-caps-imex-channels/channel{channel}"), makedev(240, channel));
        }
        world.start();
        let mut command = Command::new("sh");
        let line = format!("exec {limit} {HOOK} {}", world.arguments.join(" "));
        let ended = world.run(command.args(["-c", &line]));
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        let channels = fs::read_dir(world.inside("dev/nvidia-caps-imex-channels")).unwrap();
        assert_eq!(channels.count(), 2048);
    }
}
