//! What an image may hold in the directory for CUDA forward compatibility.

use crate::machine::{VERSION, libcuda, shared_object};
use crate::world::World;
use crate::{Case, case, check};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use nvbind_core::ldcache::Cache;
use std::fs;
use std::path::Path;

const DIRECTORY: &str = "usr/local/cuda/compat";

/// What NVIDIA's libcuda of CUDA 13.0 says; the driver of the tests is a 570.
const NOTE: &str = r#"{"format":1,"CUDA version":"13.0","driver":[535,550,570,575,580],"device":[1,2,7]}"#;

/// A directory as the package cuda-compat-13-0 makes it.
fn package(world: &World, directory: &str, note: &str) {
    let name = "580.65.06";
    for (stem, soname) in
        [("libcuda", "libcuda.so.1"), ("libnvidia-ptxjitcompiler", "libnvidia-ptxjitcompiler.so.1")]
    {
        world.write(&format!("image/{directory}/{stem}.so.{name}"), libcuda(soname, note));
        link(world, directory, soname, &format!("{stem}.so.{name}"));
    }
    link(world, directory, "libcuda.so", "libcuda.so.1");
}

fn link(world: &World, directory: &str, name: &str, target: &str) {
    world.link(&format!("{directory}/{name}"), target);
}

/// A host whose driver has a library that the image's directory has, too, beside libcuda.
fn world() -> Option<World> {
    let world = World::new()?;
    let name = format!("libnvidia-ptxjitcompiler.so.{VERSION}");
    world.driver.library("/usr/lib64", &name, "libnvidia-ptxjitcompiler.so.1");
    Some(world)
}

/// Where a name of the view leads.
fn target(world: &World, name: &str) -> Option<String> {
    let link = fs::read_link(world.inside("usr/local/nvidia/lib64").join(name)).ok()?;
    Some(link.into_os_string().into_string().unwrap())
}

fn is_image_s(world: &World) -> bool {
    let target = target(world, "libcuda.so.1").unwrap();
    let file = format!("libcuda.so.{VERSION}");
    let is_bound = world.inside("usr/local/nvidia/lib64").join(&file).exists();
    match target.as_str() {
        "/usr/local/cuda/compat/libcuda.so.1" => assert!(!is_bound, "the driver's is left out"),
        other => assert!(other == file && is_bound, "{other}"),
    }
    target.starts_with('/')
}

/// Starts a container and says whether the image's libcuda won, and what the hook said.
fn outcome(prepare: impl FnOnce(&mut World)) -> Option<(bool, String)> {
    let mut world = world()?;
    prepare(&mut world);
    world.start();
    let ended = world.hook();
    assert_eq!(ended.code, Some(0), "{}", ended.says);
    assert_eq!(fs::read_to_string(world.path("outside/kept")).unwrap(), "of the host\n");
    Some((is_image_s(&world), ended.says))
}

#[test]
fn the_image_s_libraries_take_the_places_of_the_driver_s_and_are_only_linked() {
    let Some(mut world) = world() else { return };
    package(&world, "usr/local/cuda-13.0/compat", NOTE);
    world.link("usr/local/cuda", "/etc/alternatives/cuda");
    fs::create_dir(world.path("image/etc/alternatives")).unwrap();
    world.link("etc/alternatives/cuda", "/usr/local/cuda-13.0");
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert!(is_image_s(&world));
    let names = ["libcuda.so", "libcuda.so.1", "libcuda.so.580.65.06", "libnvidia-ptxjitcompiler.so.1"];
    for name in names {
        assert_eq!(target(&world, name), Some(format!("/usr/local/cuda/compat/{name}")));
    }
    let management = format!("libnvidia-ml.so.{VERSION}");
    assert_eq!(target(&world, "libnvidia-ml.so.1").as_ref(), Some(&management), "it has no newer one");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    assert!(mounts.contains("/usr/local/nvidia/lib64/libnvidia-ml.so"), "{mounts}");
    assert!(!mounts.contains("libcuda.so") && !mounts.contains("compat"), "{mounts}");

    let cache = fs::read(world.inside("etc/ld.so.cache")).unwrap();
    let cache = Cache::parse(&cache).unwrap();
    let paths: Vec<&[u8]> = cache
        .entries()
        .iter()
        .filter(|entry| entry.soname.starts_with(b"libcuda.so"))
        .map(|entry| entry.path)
        .collect();
    let expected = ["libcuda.so.580.65.06", "libcuda.so.1", "libcuda.so"];
    let expected = expected.map(|name| format!("/usr/local/nvidia/lib64/{name}"));
    assert_eq!(paths, expected.each_ref().map(|path| path.as_bytes()));
}

/// What the image's own library takes the place of is its business wherever else it has it.
#[test]
fn a_place_of_a_library_that_the_image_brings_is_left() {
    let Some(mut world) = world() else { return };
    let allocator = "libnvidia-allocator.so.1";
    world.driver.library("/usr/lib64", &format!("libnvidia-allocator.so.{VERSION}"), allocator);
    package(&world, DIRECTORY, NOTE);
    world.write(&format!("image/{DIRECTORY}/libnvidia-allocator.so.580.65.06"), shared_object(allocator));
    link(&world, DIRECTORY, allocator, "libnvidia-allocator.so.580.65.06");
    world.write("image/usr/lib64/gbm/nvidia-drm_gbm.so", "of the image\n");
    world.write("image/usr/lib64/libgbm.so.1", "");
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert!(is_image_s(&world));
    assert_eq!(target(&world, allocator), Some(format!("/{DIRECTORY}/{allocator}")));
    let place = fs::read_to_string(world.inside("usr/lib64/gbm/nvidia-drm_gbm.so")).unwrap();
    assert_eq!(place, "of the image\n");
}

#[test]
fn with_a_newer_driver_at_the_next_start_nothing_is_left_of_the_image_s() {
    let Some(mut world) = world() else { return };
    package(&world, DIRECTORY, NOTE);
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert!(is_image_s(&world));
    let first = crate::listing::of(&world.path("scratch/upper"));
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert_eq!(crate::listing::of(&world.path("scratch/upper")), first, "a restart changes nothing");

    let driver = crate::machine::Machine::empty();
    driver.write(
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.48.01  Mon\n",
    );
    driver.library("/usr/lib64", "libcuda.so.590.48.01", "libcuda.so.1");
    world.arguments[2] = driver.path("").display().to_string();
    world.request(r#""io.nvbind.gpu":"none""#);
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert_eq!(target(&world, "libcuda.so.1").as_deref(), Some("libcuda.so.590.48.01"));
    let cache = fs::read(world.inside("etc/ld.so.cache")).unwrap();
    let cache = Cache::parse(&cache).unwrap();
    let names: Vec<String> =
        cache.entries().iter().map(|entry| String::from_utf8_lossy(entry.soname).into_owned()).collect();
    assert_eq!(names, ["libcuda.so.590.48.01", "libcuda.so.1", "libcuda.so"]);
    let drop_in = fs::read_to_string(world.inside("etc/ld.so.conf.d/00-nvbind.conf")).unwrap();
    assert_eq!(drop_in, "/usr/local/nvidia/lib64\n");
}

#[test]
fn the_driver_s_stay_where_the_image_s_do_not_work_on_it() {
    for note in [
        r#"{"format":1,"CUDA version":"13.0","driver":[535,550,575,580]}"#,
        r#"{"format":1,"CUDA version":"12.8","driver":[535,550,570]}"#,
        r#"{"format":1,"CUDA version":"13.0"}"#,
    ] {
        let Some(outcome) = outcome(|world| package(world, DIRECTORY, note)) else { return };
        assert_eq!(outcome, (false, String::new()), "{note}");
    }
    let consumer = outcome(|world| {
        package(world, DIRECTORY, NOTE);
        let information = "Model: \t NVIDIA GeForce RTX 4090\nDevice Minor: \t 1\n";
        world.driver.write("proc/driver/nvidia/gpus/0000:01:00.0/information", information);
    });
    assert_eq!(consumer, Some((false, String::new())));
    let graphics = outcome(|world| {
        package(world, DIRECTORY, NOTE);
        fs::remove_file(world.path("image").join(DIRECTORY).join("libcuda.so.580.65.06")).unwrap();
        world.write(&format!("image/{DIRECTORY}/libcuda.so.580.65.06"), shared_object("libcuda.so.1"));
    });
    assert_eq!(graphics, Some((true, String::new())), "without a note, the newer branch wins");
}

macro_rules! unused {
    ($why:literal) => {
        concat!("the image's libcuda in /usr/local/cuda/compat is not used: ", $why)
    };
}

fn replace(world: &World, content: impl AsRef<[u8]>) {
    package(world, DIRECTORY, NOTE);
    world.write(&format!("image/{DIRECTORY}/libcuda.so.580.65.06"), content);
}

fn instead(world: &World) -> std::path::PathBuf {
    package(world, DIRECTORY, NOTE);
    let path = world.path("image").join(DIRECTORY).join("libcuda.so.580.65.06");
    fs::remove_file(&path).unwrap();
    path
}

/// Images whose directory is not as a package makes it: the driver's libcuda is used, and it is said why.
const BROKEN: &[Case] = &[
    case("two", 0, unused!("there are several"), |world| {
        package(world, DIRECTORY, NOTE);
        world.write(&format!("image/{DIRECTORY}/libcuda.so.575.57.08"), libcuda("libcuda.so.1", NOTE));
    }),
    case("none", 0, unused!("there is no file libcuda.so.VERSION"), |world| drop(instead(world))),
    case("a script", 0, unused!("it is no library for this machine"), |world| replace(world, "#!/bin/sh\n")),
    case("an empty file", 0, unused!("it is no library for this machine"), |world| replace(world, "")),
    case("a note that is no JSON", 0, unused!("its note on forward compatibility cannot be read"), |world| {
        replace(world, libcuda("libcuda.so.1", "{\"format\":1,"));
    }),
    case("a truncated library", 0, unused!("its section table is damaged"), |world| {
        let whole = libcuda("libcuda.so.1", NOTE);
        replace(world, &whole[..whole.len() - 1]);
    }),
    case("sections without end", 0, unused!("its section table is damaged"), |world| {
        let mut huge = libcuda("libcuda.so.1", NOTE);
        huge[60..62].fill(0xff);
        replace(world, huge);
    }),
    case("a link to a file of the host", 0, unused!("there is no file libcuda.so.VERSION"), |world| {
        let path = instead(world);
        std::os::unix::fs::symlink(world.path("outside/kept"), path).unwrap();
    }),
    case("a FIFO", 0, unused!("there is no file libcuda.so.VERSION"), |world| {
        mkfifo(&instead(world), Mode::S_IRWXU).unwrap();
    }),
    case("a device", 0, unused!("there is no file libcuda.so.VERSION"), |world| {
        mknod(&instead(world), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(195, 0)).unwrap();
    }),
    case("no link for the soname", 0, unused!("there is no libcuda.so.1"), |world| {
        package(world, DIRECTORY, NOTE);
        fs::remove_file(world.path("image").join(DIRECTORY).join("libcuda.so.1")).unwrap();
    }),
    case("a soname that leads nowhere", 0, unused!("there is no libcuda.so.1"), |world| {
        package(world, DIRECTORY, NOTE);
        link(world, DIRECTORY, "libcuda.so.1", "/nowhere/libcuda.so.1");
    }),
    case("thousands of files", 0, unused!("there are too many files"), |world| {
        package(world, DIRECTORY, NOTE);
        for number in 0..1000 {
            world.write(&format!("image/{DIRECTORY}/libfiller.so.{number}"), "");
        }
    }),
    case("a directory that leads out", 0, "", |world| {
        let outside = world.path("outside");
        fs::create_dir(outside.join("compat")).unwrap();
        fs::write(outside.join("compat/libcuda.so.580.65.06"), libcuda("libcuda.so.1", NOTE)).unwrap();
        fs::write(outside.join("compat/libcuda.so.1"), "").unwrap();
        world.link("usr/local/cuda", outside);
    }),
    case("a directory that leads nowhere", 0, "", |world| {
        world.link("usr/local/cuda", "/usr/local/cuda-13.0")
    }),
    case("a directory that leads to itself", 0, "", |world| world.link("usr/local/cuda", "cuda")),
    case("a file for the directory", 0, "", |world| world.write("image/usr/local/cuda", "")),
];

#[test]
fn a_directory_that_is_not_as_it_should_be_is_left_alone() {
    check(BROKEN);
    for case in BROKEN {
        let Some((is_image_s, _)) = outcome(case.prepare) else { return };
        assert!(!is_image_s, "{}", case.name);
    }
}

#[test]
fn a_link_that_leads_out_by_dots_stays_inside() {
    let Some(mut world) = world() else { return };
    package(&world, "opt/compat", NOTE);
    world.link("usr/local/cuda", "../../../../../../../opt");
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert!(is_image_s(&world));
    assert!(Path::new("/opt/compat").try_exists().is_ok_and(|there| !there), "or the test shows nothing");
}
