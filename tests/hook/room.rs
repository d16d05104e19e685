//! A disk that is full, or becomes full on the way: nothing is left behind, however far the hook came.

use crate::world::World;
use crate::{case, check};
use nix::mount::{MsFlags, mount};

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
