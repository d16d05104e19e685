//! Docker's `--gpus`: the hook under the name that Docker looks for, and a variable behind all others.

use crate::cdi::gpus;
use crate::machine::VERSION;
use crate::world::{HOOK, World};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;

/// The name that Docker looks for.
const NAME: &str = "nvidia-container-runtime-hook";

/// A container as Docker runs it: with the hook under that name, these variables, and markers of these devices.
fn docker(world: &mut World, environment: &[&str], devices: &[&str]) {
    for directory in ["bin", "moby"] {
        std::fs::create_dir(world.path(directory)).unwrap();
    }
    symlink(HOOK, world.path(&format!("bin/{NAME}"))).unwrap();
    // Below a directory with the name of Docker's namespace.
    symlink(world.path("userdata"), world.path("moby/container")).unwrap();
    let marker = |name: &&str| {
        format!(r#"{{"path":"/usr/libexec/nvbind/nvbind-hook","args":["nvbind-hook","gpu","{name}"]}}"#)
    };
    let markers: Vec<String> = devices.iter().map(marker).collect();
    let program = world.path(&format!("bin/{NAME}")).display().to_string();
    let variables: Vec<String> = environment.iter().map(|variable| format!("{variable:?}")).collect();
    let more = format!(
        r#","process":{{"env":[{}]}},"hooks":{{"prestart":[{{"path":"{program}"}}],"poststop":[{}]}}"#,
        variables.join(","),
        markers.join(",")
    );
    world.config(&format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display()), &more);
    world.request("");
    let text = String::from_utf8(world.state.clone()).unwrap();
    let [bundle, dockers] = ["userdata", "moby/container"].map(|path| world.path(path).display().to_string());
    world.state = text.replace(&bundle, &dockers).into_bytes();
}

/// Runs the hook under that name.
fn hook(world: &World) -> (Option<i32>, String) {
    let ended = world.run(world.command().arg0(NAME));
    (ended.code, ended.says)
}

#[test]
fn the_variable_that_docker_puts_last_is_the_request() {
    for (environment, devices, expected) in [
        (&["NVIDIA_VISIBLE_DEVICES=0"][..], &[][..], &["0"][..]),
        (&["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=1"], &[], &["1"]),
        (&["NVIDIA_VISIBLE_DEVICES=all"], &[], &["0", "1"]),
        (&["NVIDIA_VISIBLE_DEVICES=GPU-bbbb0000-0000-0000-0000-000000000002"], &[], &["1"]),
        (&["NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=void"], &["1"], &["0", "1"]),
    ] {
        let Some(mut world) = World::new() else { return };
        world.driver.library(
            "/usr/lib64",
            &format!("libnvidia-encode.so.{VERSION}"),
            "libnvidia-encode.so.1",
        );
        docker(&mut world, environment, devices);
        world.start();
        let (code, says) = hook(&world);
        assert_eq!(code, Some(0), "{environment:?}: {says}");
        assert_eq!(gpus(&world), expected, "{environment:?}");
        // The default of NVIDIA's own hook, unless a device of CDI asks as well.
        let view = world.inside("dev/nvbind");
        let has_video = crate::listing::of(&view).iter().any(|line| line.contains("libnvidia-encode.so.1"));
        assert_eq!(has_video, !devices.is_empty(), "{environment:?}");
    }
}

#[test]
fn a_hook_of_cdi_serves_what_docker_asks_for_and_the_other_leaves() {
    let Some(mut world) = World::new() else { return };
    docker(&mut world, &["NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=void"], &["1"]);
    world.start();
    world.arguments.insert(1, "--cdi".to_owned());
    let ended = world.hook();
    assert_eq!(ended.code, Some(0), "{}", ended.says);
    assert_eq!(gpus(&world), ["0", "1"]);
    world.arguments.remove(1);
    assert_eq!(hook(&world), (Some(0), String::new()));
}

/// podman runs the same name where NVIDIA's JSON was left, and there the variable may be an image's.
#[test]
fn outside_of_docker_the_name_gives_nothing_to_an_image() {
    let Some(mut world) = World::new() else { return };
    docker(&mut world, &["NVIDIA_VISIBLE_DEVICES=all"], &[]);
    world.request("");
    world.start();
    let before = world.snapshot();
    let (code, says) = hook(&world);
    assert_eq!(code, Some(4), "{says}");
    assert!(says.contains("NVIDIA_VISIBLE_DEVICES=all may be the image's word"), "{says}");
    world.assert_same(&before, "podman");
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    let Some(mut world) = World::new() else { return };
    docker(&mut world, &["NVIDIA_VISIBLE_DEVICES=0,7"], &[]);
    world.start();
    let (code, says) = hook(&world);
    assert!(code == Some(3) && says.contains("there is no GPU 7"), "{says}");
}
