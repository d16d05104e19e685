//! Containers of a pod: podman gives all of them the same annotations, and NVBIND_DEVICES takes away from what these
//! say.

use crate::world::World;
use crate::{Case, case, check};

/// A container with this annotation and, in its environment, this variable.
fn asks(world: &mut World, annotation: &str, devices: &str) {
    world.request(&format!(r#""io.nvbind.gpu":"{annotation}""#));
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    world.config(&root, &format!(r#","process":{{"env":["NVBIND_DEVICES={devices}"]}}"#));
}

/// The nodes of the fixture that the container has: of GPU 0, of GPU 1, and the driver's.
fn nodes(world: &World) -> [bool; 3] {
    ["nvidia1", "nvidia0", "nvidiactl"].map(|name| world.inside("dev").join(name).exists())
}

const REFUSED: &[Case] = &[
    case(
        "a GPU that the annotation has not",
        4,
        "container c0ffee: GPU 1 is not allowed; io.nvbind.gpu allows 0",
        |world| asks(world, "0", "1"),
    ),
    case(
        "more than the annotation has",
        4,
        "container c0ffee: GPU 0-1 is not allowed; io.nvbind.gpu allows 0",
        |world| {
            asks(world, "0", "0-1");
        },
    ),
    case(
        "a GPU beside none",
        4,
        "container c0ffee: GPU 0 is not allowed; io.nvbind.gpu allows none",
        |world| {
            asks(world, "none", "0");
        },
    ),
    case(
        "no GPU",
        2,
        "container c0ffee: \"gpu0\" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none",
        |world| asks(world, "all", "gpu0"),
    ),
    case("longer than any list", 2, "container c0ffee: NVBIND_DEVICES is longer than 16384 bytes", |world| {
        asks(world, "all", &"0,".repeat(1 << 20));
    }),
    case(
        "what the annotation has and the configuration does not allow",
        4,
        "container c0ffee: GPU 1 is not allowed; security.allowed_devices of @/config.toml allows 0",
        |world| {
            asks(world, "0+1", "1");
            world.write("config.toml", "[security]\nrestrict_devices = true\nallowed_devices = [\"0\"]\n");
            world.arguments.extend(["--config".into(), world.path("config.toml").display().to_string()]);
        },
    ),
];

#[test]
fn what_would_add_to_the_annotation_is_refused() {
    check(REFUSED);
}

#[test]
fn a_container_has_of_the_annotations_gpus_what_its_environment_names() {
    for (annotation, devices, expected) in [
        ("all", "1", [false, true, true]),
        ("0+1", "GPU-aa", [true, false, true]),
        ("0-1", "0000:41:00.0", [false, true, true]),
        ("0", "all", [true, false, true]),
        ("0", "", [true, false, true]),
        ("all", "none", [false, false, false]),
    ] {
        let Some(mut world) = World::new() else { return };
        asks(&mut world, annotation, devices);
        world.start();
        let ended = world.hook();
        let told = format!("{annotation:?} {devices:?}");
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{told}");
        assert_eq!(nodes(&world), expected, "{told}");
        assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists(), "{told}");
    }
}

#[test]
fn void_leaves_the_container_alone() {
    let Some(mut world) = World::new() else { return };
    asks(&mut world, "all", "void");
    world.start();
    let before = world.snapshot();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    world.assert_same(&before, "void");
}
