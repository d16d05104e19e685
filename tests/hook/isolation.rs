//! Isolated containers: nothing is shared, and what would show another GPU is refused.

use crate::world::World;
use crate::{Case, case, check};
use std::fs;

const MASKED: &str = r#""maskedPaths":["/proc/kcore"]"#;

/// Asks for GPU 0 alone, with these members in config.json's `linux`, and these mounts besides /dev.
fn isolated(world: &mut World, linux: &str, mounts: &str) {
    let root = world.path("scratch/root");
    let text = format!(
        r#"{{"ociVersion":"1.0.2","root":{{"path":"{}"}},"mounts":[{{"destination":"/dev","type":"tmpfs","source":"tmpfs"}}{mounts}],"linux":{{{linux}}}}}"#,
        root.display()
    );
    world.write("userdata/config.json", text);
    world.request(r#""io.nvbind.gpu":"0","io.nvbind.isolate":"true""#);
}

fn with_volume(world: &mut World, source: &str) {
    let source = world.driver.path(source);
    let mount = format!(
        r#",{{"destination":"/data","type":"bind","source":"{}","options":["rbind"]}}"#,
        source.display()
    );
    isolated(world, MASKED, &mount);
}

const REFUSED: &[Case] = &[
    case(
        "an unmasked /proc",
        2,
        "container c0ffee: isolation was asked for, but the container would see all of /proc by --privileged or --security-opt unmask; leave one of them out",
        |world| isolated(world, "", ""),
    ),
    case(
        "another GPU's device",
        2,
        "container c0ffee: isolation was asked for, but the container would see /dev/nvidia0 by --device or --privileged; leave one of them out",
        |world| {
            let device = r#""devices":[{"path":"/dev/mine","type":"c","major":195,"minor":0}]"#;
            isolated(world, &format!("{MASKED},{device}"), "");
        },
    ),
    case(
        "a rule for every device of NVIDIA's",
        2,
        "container c0ffee: isolation was asked for, but the container would see /dev/nvidia0 by --device-cgroup-rule or --privileged; leave one of them out",
        |world| {
            let rules = r#""resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":195,"access":"rwm"}]}"#;
            isolated(world, &format!("{MASKED},{rules}"), "");
        },
    ),
    case(
        "the host's /dev",
        2,
        "container c0ffee: isolation was asked for, but the container would see @driver/dev of the host by --volume or --mount to /data; leave one of them out",
        |world| with_volume(world, "dev"),
    ),
    case(
        "another GPU's node",
        2,
        "container c0ffee: isolation was asked for, but the container would see @driver/dev/nvidia0 of the host by --volume or --mount to /data; leave one of them out",
        |world| with_volume(world, "dev/nvidia0"),
    ),
    case(
        "the directory that the driver's root is in",
        2,
        "container c0ffee: isolation was asked for, but the container would see @driver/.. of the host by --volume or --mount to /data; leave one of them out",
        |world| with_volume(world, ".."),
    ),
    case(
        "the host's /proc",
        2,
        "container c0ffee: isolation was asked for, but the container would see /proc of the host by --volume or --mount to /data; leave one of them out",
        |world| {
            let mount = r#",{"destination":"/data","type":"bind","source":"/proc","options":["rbind"]}"#;
            isolated(world, MASKED, mount);
        },
    ),
    case(
        "what the driver tells in its own /proc",
        2,
        "container c0ffee: isolation was asked for, but the container would see @driver/proc/driver of the host by --volume or --mount to /data; leave one of them out",
        |world| with_volume(world, "proc/driver"),
    ),
    case(
        "a node in its /dev",
        2,
        "container c0ffee: isolation was asked for, but the container would see /dev/nvidia0 by --device, --volume or --privileged; leave one of them out",
        |world| {
            isolated(world, MASKED, "");
            world.mounts.push("mknod $ROOT/dev/nvidia0 c 195 0");
        },
    ),
    case(
        "MPS",
        2,
        "container c0ffee: mps is shared between containers: it cannot be asked for together with isolation",
        |world| {
            isolated(world, MASKED, "");
            world.request(r#""io.nvbind.gpu":"0","io.nvbind.isolate":"true","io.nvbind.extras":"mps""#);
        },
    ),
    case(
        "a word that is neither yes nor no",
        2,
        "container c0ffee: io.nvbind.isolate is \"1\": write true or false",
        |world| {
            world.request(r#""io.nvbind.gpu":"0","io.nvbind.isolate":"1""#);
        },
    ),
];

#[test]
fn what_would_show_another_gpu_is_refused() {
    check(REFUSED);
}

#[test]
fn an_isolated_container_has_its_gpu_and_what_shows_no_other() {
    let Some(mut world) = World::new() else { return };
    let volumes = [world.path("outside"), world.driver.path("usr"), world.driver.path("dev/nvidia1")];
    let mounts: String = volumes
        .iter()
        .map(|source| {
            format!(
                r#",{{"destination":"/data","type":"bind","source":"{}","options":["bind"]}}"#,
                source.display()
            )
        })
        .collect();
    let own = r#""devices":[{"path":"/dev/mine","type":"c","major":195,"minor":1}],"resources":{"devices":[{"allow":false,"access":"rwm"}]}"#;
    isolated(&mut world, &format!("{MASKED},{own}"), &mounts);
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert!(fs::symlink_metadata(world.inside("dev/nvidia1")).is_ok());
    assert!(fs::symlink_metadata(world.inside("dev/nvidia0")).is_err());
}
