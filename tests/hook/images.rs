//! What an image may hold in the places that nvbind uses: links out of it, other kinds of files, broken caches.

use crate::world::World;
use crate::{Case, case, check};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Cache, Library, merge};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// What a refusal of a link says.
macro_rules! escape {
    ($path:literal, $target:literal) => {
        concat!(
            "container c0ffee: ",
            $path,
            " in the container's root filesystem is a link to \"",
            $target,
            "\", which is not inside it; nothing was injected"
        )
    };
}

/// Links that are written to lead out: to a directory that is there on the host, and not in the image.
const ESCAPES: &[Case] = &[
    case("/usr/local", 5, escape!("/usr/local", "@/outside"), |world| out(world, "usr/local")),
    case("/usr", 5, escape!("/usr", "@/outside"), |world| out(world, "usr")),
    case("the view's place", 5, escape!("/usr/local/nvidia", "@/outside"), |world| {
        out(world, "usr/local/nvidia");
    }),
    case("/etc", 5, escape!("/etc", "@/outside"), |world| out(world, "etc")),
    case("/etc/ld.so.conf.d", 5, escape!("/etc/ld.so.conf.d", "@/outside"), |world| {
        out(world, "etc/ld.so.conf.d");
    }),
    case("/usr/bin", 5, escape!("/usr/bin", "@/outside"), |world| out(world, "usr/bin")),
    case("/dev", 5, escape!("/dev", "@/outside"), |world| {
        world.mounts.pop();
        out(world, "dev");
    }),
    case("by dots", 5, escape!("/usr/local", "../../../../../../../../outside"), |world| {
        world.link("usr/local", "../../../../../../../../outside");
    }),
];

fn out(world: &mut World, path: &str) {
    let outside = world.path("outside");
    world.link(path, outside);
}

const NODES: &[Case] = &[
    case(
        "a link to a file of the host",
        5,
        "container c0ffee: /dev/nvidia0 in the container is something else than the device 195:0; nothing was injected",
        |world| world.mounts.push("ln -s $OUTSIDE/kept $ROOT/dev/nvidia0"),
    ),
    case(
        "another device",
        5,
        "container c0ffee: /dev/nvidia1 in the container is something else than the device 195:1; nothing was injected",
        |world| world.mounts.push("mknod $ROOT/dev/nvidia1 c 1 3"),
    ),
    case(
        "a directory",
        5,
        "container c0ffee: /dev/nvidiactl in the container is something else than the device 195:255; nothing was injected",
        |world| world.mounts.push("mkdir $ROOT/dev/nvidiactl"),
    ),
];

/// Directories where files have to be written.
const DIRECTORIES: &[Case] = &[
    case(
        "the drop-in",
        5,
        "container c0ffee: /etc/ld.so.conf.d/00-nvbind.conf in the container is a directory, where nvbind has to write a file; remove it",
        |world| fs::create_dir_all(world.path("image/etc/ld.so.conf.d/00-nvbind.conf/x")).unwrap(),
    ),
    case(
        "the cache while it is written",
        5,
        "container c0ffee: /etc/.ld.so.cache.nvbind in the container is a directory, where nvbind has to write a file; remove it",
        |world| fs::create_dir(world.path("image/etc/.ld.so.cache.nvbind")).unwrap(),
    ),
];

#[test]
fn a_directory_where_a_file_is_written_is_refused_and_left() {
    check(DIRECTORIES);
}

/// What stands in the way of one file of the container's, and what is said of it.
const FILES: &[Case] = &[
    case("a FIFO for the cache", 0, "", |world| {
        mkfifo(&world.path("image/etc/ld.so.cache"), Mode::S_IRWXU).unwrap();
    }),
    case("a socket for the cache", 0, "", |world| {
        UnixListener::bind(world.path("image/etc/ld.so.cache")).unwrap();
    }),
    case("a device for the cache", 0, "", |world| {
        let path = world.path("image/etc/ld.so.cache");
        mknod(&path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(195, 0)).unwrap();
    }),
    case("a link for the cache", 0, "", |world| {
        let kept = world.path("outside/kept");
        world.link("etc/ld.so.cache", kept);
    }),
    case(
        "a link for ld.so.conf",
        0,
        "the container's /etc/ld.so.conf is no ordinary file; an ldconfig inside may not read /etc/ld.so.conf.d",
        |world| {
            let kept = world.path("outside/kept");
            world.link("etc/ld.so.conf", kept);
        },
    ),
    case("a link for the temporary cache", 0, "", |world| {
        let kept = world.path("outside/kept");
        world.link("etc/.ld.so.cache.nvbind", kept);
    }),
    case(
        "a cache that is none",
        0,
        "the container's /etc/ld.so.cache is covered by one of the driver's libraries alone: not a library cache: it does not begin with one of glibc's two magic strings",
        |world| world.write("image/etc/ld.so.cache", "not a cache\n"),
    ),
    case(
        "a directory for the cache",
        0,
        "the container's /etc/ld.so.cache is a directory; programs find the driver by LD_LIBRARY_PATH alone",
        |world| fs::create_dir(world.path("image/etc/ld.so.cache")).unwrap(),
    ),
    case(
        "a FIFO for the program",
        0,
        "/usr/bin/nvidia-smi is the image's own and no file; the driver's is /usr/local/nvidia/bin/nvidia-smi",
        |world| mkfifo(&world.path("image/usr/bin/nvidia-smi"), Mode::S_IRWXU).unwrap(),
    ),
    case(
        "a link for the program",
        0,
        "/usr/bin/nvidia-smi is the image's own and no file; the driver's is /usr/local/nvidia/bin/nvidia-smi",
        |world| {
            let kept = world.path("outside/kept");
            world.link("usr/bin/nvidia-smi", kept);
        },
    ),
];

#[test]
fn a_directory_that_leads_out_of_the_image_is_refused() {
    check(ESCAPES);
}

#[test]
fn a_node_that_is_something_else_is_refused() {
    check(NODES);
}

#[test]
fn files_of_any_kind_are_replaced_or_left_and_never_followed_or_opened() {
    check(FILES);
    for case in FILES {
        let Some(mut world) = World::new() else { return };
        (case.prepare)(&mut world);
        world.start();
        world.hook();
        assert_eq!(fs::read_to_string(world.path("outside/kept")).unwrap(), "of the host\n", "{}", case.name);
    }
}

#[test]
fn a_truncated_or_changed_cache_stops_no_container() {
    let Some(mut world) = World::new() else { return };
    let image = [Library { soname: b"libc.so.6", path: b"/lib/libc.so.6", abi: Abi::NATIVE.unwrap() }];
    let cache = merge(None, &image, &[]).unwrap();
    for length in (0..cache.len()).step_by(13) {
        world.write("image/etc/ld.so.cache", &cache[..length]);
        world.start();
        let ended = world.hook();
        assert_eq!(ended.code, Some(0), "{length}: {}", ended.says);
        let merged = fs::read(world.inside("etc/ld.so.cache")).unwrap();
        let merged = Cache::parse(&merged).unwrap();
        assert!(merged.entries().iter().any(|entry| entry.soname == b"libcuda.so.1"), "{length}");
        fs::remove_dir_all(world.path("scratch/upper/etc")).unwrap();
    }
}

#[test]
fn links_that_stay_inside_are_followed_inside() {
    let Some(mut world) = World::new() else { return };
    fs::create_dir_all(world.path("image/var/usrlocal")).unwrap();
    world.link("usr/local", "../../../../var/usrlocal");
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert!(world.inside("var/usrlocal/nvidia/bin/nvidia-smi").exists());
}

#[test]
fn an_image_with_files_in_the_view_s_place_has_the_view_elsewhere() {
    let Some(mut world) = World::new() else { return };
    world.write("image/usr/local/nvidia/lib64/libcuda.so.1", "the image's\n");
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert!(world.inside("run/nvbind/bin/nvidia-smi").exists());
    let link = fs::read_link(world.inside("usr/bin/nvidia-smi")).unwrap();
    assert_eq!(link, Path::new("/run/nvbind/bin/nvidia-smi"));
    let own = fs::read_to_string(world.inside("usr/local/nvidia/lib64/libcuda.so.1")).unwrap();
    assert_eq!(own, "the image's\n");
}
