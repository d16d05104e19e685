//! What an image has in the directories of its LD_LIBRARY_PATH: the driver's own libraries win over the image's.

use crate::listing;
use crate::machine::{VERSION, libcuda, shared_object, shared_object_32};
use crate::world::World;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use std::fs;
use std::path::Path;

/// A world whose container has this LD_LIBRARY_PATH.
fn world(value: &str) -> Option<World> {
    let world = World::new()?;
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    let environment = format!(r#"["LD_LIBRARY_PATH=/overridden","A=1","LD_LIBRARY_PATH={value}"]"#);
    world.config(&root, &format!(r#","process":{{"env":{environment}}}"#));
    Some(world)
}

fn start(world: &mut World) {
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
}

/// What something is bound over below a directory of the container.
fn covered(world: &World, below: &str) -> Vec<String> {
    let mountinfo = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    let root = format!("{}/", world.path("scratch/root").display());
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)?.strip_prefix(&root));
    let mut points: Vec<String> = points.filter(|path| path.starts_with(below)).map(str::to_owned).collect();
    points.sort();
    points
}

fn is_the_driver_s(world: &World, path: &str) -> bool {
    let library = if path.contains("libnvidia-ml") { "libnvidia-ml" } else { "libcuda" };
    let driver = fs::read(world.driver.path(&format!("usr/lib64/{library}.so.{VERSION}"))).unwrap();
    fs::read(world.inside(path)).unwrap() == driver
}

#[test]
fn files_of_the_driver_s_names_are_covered_once_and_nothing_is_made() {
    let Some(mut world) = world("relative:/opt/a:/opt/b;/opt/a::/opt/$LIB:/opt/none:/opt/file") else {
        return;
    };
    // An old libcuda with its links, as an image that had a driver installed has them.
    world.write("image/opt/a/libcuda.so.535.1", shared_object("libcuda.so.1"));
    world.link("opt/a/libcuda.so.1", "libcuda.so.535.1");
    world.link("opt/a/libcuda.so", "libcuda.so.1");
    world.write("image/opt/a/libother.so.1", "the image's");
    // The same file by a link to a directory, and by an absolute one.
    world.link("opt/b", "a");
    world.write("image/opt/$LIB/libcuda.so.1", "");
    world.write("image/opt/file", "");
    world.write("image/relative/libcuda.so.1", "");
    world.write("image/overridden/libcuda.so.1", "");
    world.write("image/opt/a/libnvidia-ml.so.1", "not a library");
    // Two names of the driver that lead to one file.
    world.link("opt/a/libnvidia-ml.so", "libcuda.so.535.1");
    let before = listing::of(&world.path("image"));
    let expected = ["opt/a/libcuda.so.535.1", "opt/a/libnvidia-ml.so.1"];
    for _ in 0..2 {
        start(&mut world);
        assert_eq!(covered(&world, "opt/"), expected);
        for path in ["opt/a/libcuda.so.1", "opt/b/libcuda.so", "opt/a/libnvidia-ml.so.1"] {
            assert!(is_the_driver_s(&world, path), "{path}");
        }
        assert_eq!(fs::read(world.inside("opt/a/libother.so.1")).unwrap(), b"the image's");
        assert!(!world.path("scratch/upper/opt").exists());
        // A second hook of the same container finds its work done.
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        assert_eq!(covered(&world, "opt/"), expected);
    }
    assert_eq!(listing::of(&world.path("image")), before);
}

#[test]
fn files_of_the_image_in_the_view_s_usual_place_are_covered() {
    let Some(mut world) = world("/usr/local/nvidia/lib:/usr/local/nvidia/lib64") else { return };
    world.write("image/usr/local/nvidia/lib64/libcuda.so.1", shared_object("libcuda.so.1"));
    start(&mut world);
    assert!(world.inside("run/nvbind/bin/nvidia-smi").exists());
    assert_eq!(covered(&world, "usr/"), ["usr/local/nvidia/lib64/libcuda.so.1"]);
    assert!(is_the_driver_s(&world, "usr/local/nvidia/lib64/libcuda.so.1"));
}

#[test]
fn the_view_itself_is_not_covered() {
    let Some(mut world) = world("/usr/local/nvidia/lib:/usr/local/nvidia/lib64:/opt/driver") else { return };
    world.link("opt", "usr/local");
    fs::create_dir_all(world.path("image/usr/local")).unwrap();
    world.link("usr/local/driver", "nvidia/lib64");
    start(&mut world);
    let mountinfo = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    let count = mountinfo.lines().filter(|line| line.contains("libcuda")).count();
    assert_eq!(count, 1, "{mountinfo}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_library_is_covered_by_the_one_of_its_width_or_not_at_all() {
    let Some(mut world) = world("/opt/a/lib32:/opt/a/lib64:/opt/other") else { return };
    let mut foreign = shared_object("libcuda.so.1");
    foreign[18] = 21;
    world.write("image/opt/a/lib32/libcuda.so.1", shared_object_32("libcuda.so.1"));
    world.write("image/opt/a/lib64/libcuda.so.1", shared_object("libcuda.so.1"));
    world.write("image/opt/other/libcuda.so.1", &foreign);
    start(&mut world);
    // A driver without a 32-bit half has nothing for 32-bit programs.
    assert_eq!(covered(&world, "opt/"), ["opt/a/lib64/libcuda.so.1"]);
    world.driver.library_32("/usr/lib", &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
    world.request(r#""io.nvbind.gpu":"none","io.nvbind.capabilities":"compute,compat32""#);
    start(&mut world);
    assert_eq!(covered(&world, "opt/"), ["opt/a/lib32/libcuda.so.1", "opt/a/lib64/libcuda.so.1"]);
    let driver = fs::read(world.driver.path(&format!("usr/lib/libcuda.so.{VERSION}"))).unwrap();
    assert_eq!(fs::read(world.inside("opt/a/lib32/libcuda.so.1")).unwrap(), driver);
    assert!(is_the_driver_s(&world, "opt/a/lib64/libcuda.so.1"));
    assert_eq!(fs::read(world.inside("opt/other/libcuda.so.1")).unwrap(), foreign);
}

#[test]
fn the_libraries_of_forward_compatibility_are_left() {
    let Some(mut world) = world("/usr/local/cuda/compat:/usr/local/cuda-12.4/compat:/opt/links") else {
        return;
    };
    world.write("image/usr/local/cuda-12.4/compat/libcuda.so.550.1", shared_object("libcuda.so.1"));
    world.link("usr/local/cuda-12.4/compat/libcuda.so.1", "libcuda.so.550.1");
    world.link("usr/local/cuda", "cuda-12.4");
    fs::create_dir_all(world.path("image/opt/links")).unwrap();
    world.link("opt/links/libcuda.so.1", "/usr/local/cuda/compat/libcuda.so.1");
    start(&mut world);
    assert_eq!(covered(&world, "usr/local/cuda"), Vec::<String>::new());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn where_forward_compatibility_wins_the_image_s_files_of_its_names_are_left() {
    let Some(mut world) = world("/opt/a") else { return };
    let note = r#"{"format":1,"CUDA version":"13.0","driver":[570]}"#;
    world.write("image/usr/local/cuda/compat/libcuda.so.580.65.06", libcuda("libcuda.so.1", note));
    world.link("usr/local/cuda/compat/libcuda.so.1", "libcuda.so.580.65.06");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        world.write(&format!("image/opt/a/{name}"), shared_object(name));
    }
    // For 32-bit programs the name is the driver's still.
    world.driver.library_32("/usr/lib", &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
    world.write("image/opt/a/libcuda.so", shared_object_32("libcuda.so.1"));
    start(&mut world);
    let link = fs::read_link(world.inside("usr/local/nvidia/lib64/libcuda.so.1")).unwrap();
    assert_eq!(link, Path::new("/usr/local/cuda/compat/libcuda.so.1"));
    assert_eq!(covered(&world, "opt/"), ["opt/a/libcuda.so", "opt/a/libnvidia-ml.so.1"]);
}

#[test]
fn nothing_odd_is_opened_followed_or_covered() {
    let Some(mut world) = world("/opt/a:/opt/out:/proc/self/root/opt:/opt/a/libcuda.so.1\\u0000:/opt/loop")
    else {
        return;
    };
    let path = |name: &str| world.path("image/opt/a").join(name);
    fs::create_dir_all(path("")).unwrap();
    mkfifo(&path("libcuda.so.1"), Mode::S_IRWXU).unwrap();
    mknod(&path("libcuda.so"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(195, 0)).unwrap();
    fs::create_dir(path("libnvidia-ml.so.1")).unwrap();
    world.link("opt/a/libnvidia-ml.so", world.path("outside/kept"));
    world.link("opt/out", world.path("outside"));
    world.link("opt/loop", "loop");
    world.write("outside/libcuda.so.1", "of the host\n");
    start(&mut world);
    assert_eq!(covered(&world, "opt/"), Vec::<String>::new());
    assert_eq!(fs::read_to_string(world.seen(&world.path("outside/libcuda.so.1"))).unwrap(), "of the host\n");
}

#[test]
fn a_directory_of_very_many_names_is_searched_too() {
    let Some(mut world) = world("/opt/many") else { return };
    // In whatever order they are listed, the driver's are not all among the first of 20 000.
    let names = ["libcuda.so", "libcuda.so.1", "libnvidia-ml.so", "libnvidia-ml.so.1"];
    for name in names {
        world.write(&format!("image/opt/many/{name}"), "");
    }
    for number in 0..20_000 {
        fs::File::create(world.path(&format!("image/opt/many/{number}"))).unwrap();
    }
    start(&mut world);
    assert_eq!(covered(&world, "opt/"), names.map(|name| format!("opt/many/{name}")));
}

#[test]
fn on_a_volume_the_container_alone_sees_the_driver_s() {
    let Some(mut world) = world("/mnt") else { return };
    fs::create_dir(world.path("image/mnt")).unwrap();
    world.write("outside/libcuda.so.1", "of the host\n");
    world.mounts.push("mount --bind $OUTSIDE $ROOT/mnt");
    start(&mut world);
    assert!(is_the_driver_s(&world, "mnt/libcuda.so.1"));
    assert_eq!(fs::read_to_string(world.path("outside/libcuda.so.1")).unwrap(), "of the host\n");
}

#[test]
fn a_volume_whose_mounts_are_shared_with_the_host_is_left_and_told() {
    let Some(mut world) = world("/mnt") else { return };
    let outside = world.path("outside");
    let none: Option<&Path> = None;
    mount(Some(&outside), &outside, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &outside, none, MsFlags::MS_SHARED, none).unwrap();
    world.write("outside/libcuda.so.1", "of the host\n");
    fs::create_dir(world.path("image/mnt")).unwrap();
    world.namespaces = &["--mount", "--propagation=unchanged"];
    world.mounts.push("mount --bind $OUTSIDE $ROOT/mnt");
    world.start();
    let ended = world.hook();
    let says = "nvbind-hook: /mnt/libcuda.so.1 in the container is left as it is: its volume's mounts are shared with the host\n";
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), says));
    assert_eq!(fs::read_to_string(outside.join("libcuda.so.1")).unwrap(), "of the host\n");
}

#[test]
fn files_of_the_kernel_are_neither_read_nor_covered() {
    let Some(mut world) = world("/opt/a") else { return };
    world.mounts.push("mount -t proc proc $ROOT/proc");
    world.write("image/opt/a/libother.so.1", "the image's");
    world.link("opt/a/libcuda.so.1", "/proc/sys/kernel/core_pattern");
    world.link("opt/a/libnvidia-ml.so.1", "/proc/self/status");
    world.start();
    let before = fs::read_to_string(world.inside("proc/sys/kernel/core_pattern")).unwrap();
    assert_eq!(world.hook().code, Some(0));
    let points = covered(&world, "proc/");
    assert!(points.iter().all(|point| point == "proc/driver"), "{points:?}");
    assert_eq!(fs::read_to_string(world.inside("proc/sys/kernel/core_pattern")).unwrap(), before);
}
