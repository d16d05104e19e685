//! A hook that takes NVIDIA_VISIBLE_DEVICES for a request.

use crate::world::World;
use crate::{Case, case, check};
use std::fs;

const PRIVILEGED: &str = r#"["CAP_CHOWN","CAP_SYS_ADMIN"]"#;
const ORDINARY: &str = r#"["CAP_CHOWN"]"#;

/// A container without the annotation, with these capabilities and this environment, as JSON.
fn asks(world: &mut World, capabilities: &str, environment: &str) {
    world.request("");
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    let sets = format!(r#""capabilities":{{"bounding":{capabilities}}}"#);
    world.config(&root, &format!(r#","process":{{"env":[{environment}],{sets}}}"#));
    world.arguments.push("--visible-devices".into());
}

/// Adds `[security]` to the configuration; where the driver is, the command line says.
fn configured(world: &mut World, security: &str) {
    world.write("config.toml", format!("[security]\n{security}\n"));
    world.arguments.extend(["--config".into(), world.path("config.toml").display().to_string()]);
}

/// The nodes of the fixture that the container has: of GPU 0, of GPU 1, and the driver's.
fn nodes(world: &World) -> [bool; 3] {
    ["nvidia1", "nvidia0", "nvidiactl"].map(|name| world.inside("dev").join(name).exists())
}

const REFUSED: &[Case] = &[
    case(
        "an ordinary container",
        4,
        "container c0ffee: NVIDIA_VISIBLE_DEVICES=0,1 may be the image's word, and gives no GPU to a container without CAP_SYS_ADMIN; ask by --annotation io.nvbind.gpu=0+1, start with --env NVIDIA_VISIBLE_DEVICES=void, or set security.visible_devices_when_unprivileged in @/config.toml",
        |world| {
            asks(world, ORDINARY, r#""NVIDIA_VISIBLE_DEVICES=0,1""#);
            configured(world, "");
        },
    ),
    case(
        "an ordinary container without a GPU",
        4,
        "container c0ffee: NVIDIA_VISIBLE_DEVICES=none may be the image's word, and gives no GPU to a container without CAP_SYS_ADMIN; ask by --annotation io.nvbind.gpu=none, start with --env NVIDIA_VISIBLE_DEVICES=void, or set security.visible_devices_when_unprivileged in @/config.toml",
        |world| {
            asks(world, "null", r#""NVIDIA_VISIBLE_DEVICES=none""#);
            configured(world, "visible_devices_when_unprivileged = false");
        },
    ),
    case(
        "an old image of CUDA",
        4,
        "container c0ffee: NVIDIA_VISIBLE_DEVICES=all may be the image's word, and gives no GPU to a container without CAP_SYS_ADMIN; ask by --annotation io.nvbind.gpu=all, start with --env NVIDIA_VISIBLE_DEVICES=void, or set security.visible_devices_when_unprivileged in @/config.toml",
        |world| {
            asks(world, ORDINARY, r#""CUDA_VERSION=8.0.61""#);
            configured(world, "");
        },
    ),
    case(
        "a name of CDI",
        2,
        "container c0ffee: NVIDIA_VISIBLE_DEVICES has \"nvidia.com/gpu=0\", a name of CDI; give that to podman as --device, or name the GPU by its index or UUID",
        |world| asks(world, PRIVILEGED, r#""NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=0""#),
    ),
    case(
        "no list of GPUs",
        2,
        "container c0ffee: NVIDIA_VISIBLE_DEVICES is no list of GPUs: \"every one\" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none",
        |world| asks(world, PRIVILEGED, r#""NVIDIA_VISIBLE_DEVICES=every one""#),
    ),
    case(
        "longer than any list",
        2,
        "container c0ffee: NVIDIA_VISIBLE_DEVICES is longer than 16384 bytes",
        |world| {
            let list = "0,".repeat(1 << 20);
            asks(world, PRIVILEGED, &format!(r#""NVIDIA_VISIBLE_DEVICES={list}""#));
        },
    ),
    case(
        "a GPU that is not allowed",
        4,
        "container c0ffee: GPU 1 is not allowed; security.allowed_devices of @/config.toml allows 0",
        |world| {
            asks(world, PRIVILEGED, r#""NVIDIA_VISIBLE_DEVICES=1""#);
            configured(world, "restrict_devices = true\nallowed_devices = [\"0\"]");
        },
    ),
    case(
        "an extra that the annotation beside it has",
        2,
        "container c0ffee: \"everything\" is no extra: there are mps, imex, imex:N (a channel below 1048576), nvswitch, gds, gdrcopy, infiniband",
        |world| {
            asks(world, PRIVILEGED, r#""NVIDIA_VISIBLE_DEVICES=0""#);
            world.request(r#""io.nvbind.extras":"everything""#);
        },
    ),
];

#[test]
fn what_an_image_could_have_asked_for_is_refused() {
    check(REFUSED);
}

#[test]
fn a_trusted_container_gets_the_gpus_of_its_environment() {
    let configure = "visible_devices_when_unprivileged = true";
    for (value, expected) in [
        ("0", [true, false, true]),
        ("GPU-bbbb0000-0000-0000-0000-000000000002", [false, true, true]),
        ("all", [true, true, true]),
        ("none", [false, false, false]),
    ] {
        for (capabilities, security) in [(PRIVILEGED, ""), (ORDINARY, configure)] {
            let Some(mut world) = World::new() else { return };
            asks(&mut world, capabilities, &format!(r#""NVIDIA_VISIBLE_DEVICES={value}""#));
            configured(&mut world, security);
            world.start();
            let ended = world.hook();
            assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{value}");
            assert_eq!(nodes(&world), expected, "{value}");
            assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists(), "{value}");
        }
    }
}

#[test]
fn of_all_gpus_it_gets_the_allowed_ones() {
    let Some(mut world) = World::new() else { return };
    asks(&mut world, PRIVILEGED, r#""NVIDIA_VISIBLE_DEVICES=all""#);
    configured(&mut world, "restrict_devices = true\nallowed_devices = [\"GPU-bb\"]");
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert_eq!(nodes(&world), [false, true, true]);
}

#[test]
fn capabilities_are_utility_and_compute_unless_the_environment_or_an_annotation_says() {
    for (environment, annotations, has_modeset) in [
        (r#""NVIDIA_VISIBLE_DEVICES=0""#, "", false),
        (r#""NVIDIA_VISIBLE_DEVICES=0","NVIDIA_DRIVER_CAPABILITIES=graphics""#, "", true),
        (r#""NVIDIA_VISIBLE_DEVICES=0""#, r#""io.nvbind.capabilities":"all""#, true),
        (r#""CUDA_VERSION=8.0""#, "", true),
    ] {
        let Some(mut world) = World::new() else { return };
        asks(&mut world, PRIVILEGED, environment);
        world.request(annotations);
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{environment}");
        assert_eq!(world.inside("dev/nvidia-modeset").exists(), has_modeset, "{environment} {annotations}");
    }
}

/// Nothing of the driver, of the configuration or of the root filesystem is looked at for a container that asks for
/// nothing.
#[test]
fn a_container_that_asks_for_nothing_or_by_the_annotation_is_left_alone() {
    for (environment, annotations) in [
        ("", ""),
        (r#""NVIDIA_VISIBLE_DEVICES=""#, ""),
        (r#""NVIDIA_VISIBLE_DEVICES=void""#, ""),
        (r#""CUDA_VERSION=12.8","NVIDIA_REQUIRE_CUDA=cuda>=99""#, ""),
        (r#""NVIDIA_VISIBLE_DEVICES=all""#, r#""io.nvbind.gpu":"0""#),
        (r#""NVIDIA_VISIBLE_DEVICES=gpu0""#, r#""io.nvbind.gpu":"none""#),
    ] {
        let Some(mut world) = World::new() else { return };
        asks(&mut world, PRIVILEGED, environment);
        world.request(annotations);
        configured(&mut world, "no_such_key = 1");
        fs::remove_dir_all(world.driver.path("proc")).unwrap();
        world.start();
        let before = world.snapshot();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{environment}");
        world.assert_same(&before, environment);
    }
}

#[test]
fn without_the_option_no_variable_asks_for_anything() {
    let Some(mut world) = World::new() else { return };
    asks(&mut world, PRIVILEGED, r#""NVIDIA_VISIBLE_DEVICES=all""#);
    world.arguments.pop();
    world.start();
    let before = world.snapshot();
    assert_eq!(world.hook().code, Some(0));
    world.assert_same(&before, "");
}

#[test]
fn nvidia_s_own_hook_and_this_one_do_not_both_inject() {
    for environment in [r#""NVIDIA_VISIBLE_DEVICES=all""#, r#""CUDA_VERSION=8.0""#] {
        let Some(mut world) = World::new() else { return };
        asks(&mut world, PRIVILEGED, environment);
        let hooks = r#""hooks":{"prestart":[{"path":"/usr/bin/nvidia-container-runtime-hook"}]},"mounts""#;
        let config = fs::read_to_string(world.path("userdata/config.json")).unwrap();
        world.write("userdata/config.json", config.replace("\"mounts\"", hooks));
        world.start();
        let ended = world.hook();
        let says = "container c0ffee: NVIDIA's own hook /usr/bin/nvidia-container-runtime-hook would give";
        assert!(ended.code == Some(2) && ended.says.contains(says), "{ended:?}");
    }
}
