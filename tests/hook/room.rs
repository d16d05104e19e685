//! A disk that is full, or becomes full on the way: nothing is left behind, however far the hook came.

use crate::world::{HOOK, World};
use crate::{case, check};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::process::Command;

/// What the container's upper layer may hold from now on.
fn limit(world: &World, options: &str) {
    let none: Option<&str> = None;
    mount(none, &world.path("scratch"), none, MsFlags::MS_REMOUNT, Some(options)).unwrap();
}

/// Gives the upper layer one more of something after each failure, until the hook succeeds.
fn grow(unit: &str, first: u32, last: u32) {
    for (failures, room) in (first..last).enumerate() {
        let Some(mut world) = World::new() else { return };
        world.write("image/etc/ld.so.conf", "/opt/lib\n");
        world.start();
        limit(&world, &format!("{unit}={room}"));
        let before = world.snapshot();
        let ended = world.hook();
        if ended.code == Some(0) {
            assert!(failures > 1, "{failures} failures, the last with {room} {unit}");
            return;
        }
        assert_eq!(ended.code, Some(5), "{unit}={room}: {}", ended.says);
        assert!(ended.says.starts_with("nvbind-hook: container c0ffee: cannot "), "{}", ended.says);
        assert!(
            ended.says.ends_with(" in the container: No space left on device (os error 28)\n"),
            "{}",
            ended.says
        );
        assert_eq!(ended.says.lines().count(), 1, "{}", ended.says);
        world.assert_same(&before, &format!("{unit}={room}: {}", ended.says));
    }
    panic!("no success with {last} {unit}");
}

#[test]
fn running_out_of_inodes_on_the_way_leaves_nothing_behind() {
    grow("nr_inodes", 7, 40);
}

#[test]
fn a_full_dev_leaves_nothing_behind() {
    check(&[case(
        "room for two nodes",
        5,
        "container c0ffee: cannot create /dev/nvidia-uvm-tools in the container: No space left on device (os error 28)",
        |world| world.mounts.push("mount -o remount,nr_inodes=3 $ROOT/dev"),
    )]);
}

#[test]
fn running_out_of_space_on_the_way_leaves_nothing_behind() {
    grow("nr_blocks", 1, 40);
}

/// One descriptor more after each refusal: somewhere on the way each place that opens something is refused once.
#[test]
fn a_hook_with_too_few_descriptors_refuses_and_is_never_half() {
    for (refused, limit) in (4..256).enumerate() {
        let Some(mut world) = World::new() else { return };
        world.write("image/opt/a/libcuda.so.1", "of the image\n");
        world.write("image/etc/ld.so.conf", "/opt/lib\n");
        world.config(
            &format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display()),
            r#","process":{"env":["LD_LIBRARY_PATH=/opt/a"]}"#,
        );
        world.start();
        let before = world.snapshot();
        let mut command = Command::new("setpriv");
        let line = format!("ulimit -n {limit}; exec {HOOK} {}", world.arguments.join(" "));
        let ended = world.run(command.args(["--bounding-set=-sys_resource", "sh", "-c", &line]));
        if ended.code == Some(0) {
            assert!(world.inside("usr/local/nvidia/lib64/libcuda.so.1").exists());
            assert_ne!(fs::read(world.inside("opt/a/libcuda.so.1")).unwrap(), b"of the image\n");
            assert!(refused > 10, "{refused} refusals, success with {limit}");
            return;
        }
        assert!(matches!(ended.code, Some(2..=4)), "{limit}: {ended:?}");
        let says = ended.says.trim_end();
        assert!(says.contains("Too many open files (os error 24)"), "{limit}: {says}");
        assert_eq!(says.lines().count(), 1, "{limit}: {says}");
        world.assert_same(&before, &format!("{limit} descriptors"));
    }
    panic!("no number of descriptors is enough");
}
