//! A container that was given devices of nvbind's CDI specification: names in its config.json, and a hook that acts.

use crate::world::{HOOK, World};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Puts into config.json what a CDI library makes of these devices: the acting hook, and a marker for each.
pub(crate) fn with_devices(world: &mut World, names: &[&str]) {
    let marker = |name: &&str| {
        format!(r#"{{"path":"/usr/libexec/nvbind/nvbind-hook","args":["nvbind-hook","gpu","{name}"]}}"#)
    };
    let markers: Vec<String> = names.iter().map(marker).collect();
    let acting = r#"{"path":"/usr/libexec/nvbind/nvbind-hook","args":["nvbind-hook","prestart","--cdi"]}"#;
    let hooks = format!(r#","hooks":{{"prestart":[{acting}],"poststop":[{}]}}"#, markers.join(","));
    let root = world.path("scratch/root");
    world.config(&format!(r#"{{"path":"{}"}}"#, root.display()), &hooks);
    world.request("");
}

/// Runs the hook of the specification.
fn hook(world: &mut World) -> (Option<i32>, String) {
    world.arguments.insert(1, "--cdi".to_owned());
    let ended = world.hook();
    world.arguments.remove(1);
    (ended.code, ended.says)
}

/// Which of the two GPUs' nodes the container has, by index.
pub(crate) fn gpus(world: &World) -> Vec<&'static str> {
    let nodes = [("0", "dev/nvidia1"), ("1", "dev/nvidia0")];
    nodes.into_iter().filter(|(_, node)| world.inside(node).exists()).map(|(index, _)| index).collect()
}

fn has_view(world: &World, place: &str) -> bool {
    world.inside(place).join("bin/nvidia-smi").exists()
}

#[test]
fn devices_are_the_union_of_their_names() {
    for (names, expected) in [
        (&["0"][..], &["0"][..]),
        (&["1", "1"], &["1"]),
        (&["0", "1"], &["0", "1"]),
        (&["1", "all"], &["0", "1"]),
        (&["none"], &[]),
        (&["none", "0"], &["0"]),
        (&["GPU-bbbb0000", "1"], &["1"]),
    ] {
        let Some(mut world) = World::new() else { return };
        with_devices(&mut world, names);
        world.start();
        assert_eq!(hook(&mut world), (Some(0), String::new()), "{names:?}");
        assert_eq!(gpus(&world), expected, "{names:?}");
        assert!(has_view(&world, "usr/local/nvidia"), "{names:?}");
    }
}

#[test]
fn a_container_without_a_device_is_left_alone() {
    let Some(mut world) = World::new() else { return };
    with_devices(&mut world, &[]);
    world.start();
    let before = world.snapshot();
    assert_eq!(hook(&mut world), (Some(0), String::new()));
    world.assert_same(&before, "no device");
}

#[test]
fn a_device_that_is_not_there_is_refused_by_its_name() {
    let Some(mut world) = World::new() else { return };
    with_devices(&mut world, &["0", "7"]);
    world.start();
    let before = world.snapshot();
    let (code, says) = hook(&mut world);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("there is no GPU 7"), "{says}");
    world.assert_same(&before, "GPU 7");
}

/// Podman 5.4 adds a default device twice; and a container can have the annotation as well.
#[test]
fn whichever_hook_comes_first_serves_all_requests_and_the_others_leave() {
    for is_annotation_first in [true, false] {
        let Some(mut world) = World::new() else { return };
        with_devices(&mut world, &["1"]);
        world.request(r#""io.nvbind.gpu":"0""#);
        world.start();
        let of_annotation = |world: &mut World| {
            let ended = world.hook();
            (ended.code, ended.says)
        };
        let done = (Some(0), String::new());
        if is_annotation_first {
            assert_eq!(of_annotation(&mut world), done);
            assert_eq!(gpus(&world), ["0", "1"]);
            assert_eq!(hook(&mut world), done);
        } else {
            assert_eq!(hook(&mut world), done);
            assert_eq!(gpus(&world), ["0", "1"]);
            assert_eq!(of_annotation(&mut world), done);
        }
        assert_eq!(hook(&mut world), done, "a third time");
        assert_eq!(gpus(&world), ["0", "1"]);
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
        assert_eq!(mounts.matches(" - tmpfs nvbind ").count(), 1, "{mounts}");
        assert!(!has_view(&world, "run/nvbind"));
    }
}

/// A marker in itself does nothing, whatever it is given. It reads all of the state: crun, which writes it, would be
/// ended by SIGPIPE.
#[test]
fn a_marker_reads_the_state_and_does_nothing() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = world.snapshot();
    world.arguments = ["gpu", "0"].map(str::to_owned).to_vec();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    world.assert_same(&before, "a marker");
    // More than a pipe holds: it is written to the end only if somebody reads it.
    let mut marker = Command::new(HOOK).args(["gpu", "0"]).stdin(Stdio::piped()).spawn().unwrap();
    marker.stdin.take().unwrap().write_all(&[b' '; 1 << 20]).unwrap();
    assert!(marker.wait().unwrap().success());
}
