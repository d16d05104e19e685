//! Kubernetes files that `nvbind kube play` cannot play: what is wrong is told in the terminal, and podman is not
//! called.

use crate::world::{NOT_STARTED, World};

fn pod(annotations: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: kube, annotations: {{{annotations}}}}}\nspec:\n  containers:\n  \
         - {{name: one, image: IMAGE, {container}}}\n"
    )
}

fn asks(limit: &str) -> String {
    pod("", &format!("resources: {{limits: {{{limit}}}}}"))
}

fn refuses(world: &World, text: &str, expected: &str) {
    world.write("pod.yaml", text);
    let file = world.path("pod.yaml").display().to_string();
    world.refuses(&["kube", "play", &file], NOT_STARTED, &[expected]);
}

#[test]
fn what_cannot_be_given_is_told_with_the_pod_and_the_container() {
    let world = World::new();
    for (text, expected) in [
        (
            asks("nvidia.com/gpu: 3"),
            "3 of nvidia.com/gpu are asked for (Pod kube, container one: 3), and there are 2",
        ),
        (
            asks("nvidia.com/gpu: some"),
            "Pod kube, container one: nvidia.com/gpu is \"some\", which is no whole number",
        ),
        (asks("nvidia.com/gpu=7: 1"), "Pod kube, container one: there is no GPU 7; this machine has 0 (GPU-"),
        (asks("nvidia.com/gpu.shared: 1"), "nvidia.com/gpu.shared does not say which GPU"),
        (pod("io.nvbind.gpu: '7'", "tty: false"), "Pod kube: there is no GPU 7"),
        (
            pod("io.nvbind.gpu: all", "env: [{name: NVBIND_DEVICES, value: x}]"),
            "container one: \"x\" is no GPU",
        ),
        ("a: [".to_owned(), "is no YAML that podman could play: line 2, column 1"),
        ("[".repeat(100_000), "recursion limit exceeded"),
    ] {
        refuses(&world, &text, expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let world = World::new();
    let file = world.path("pod.yaml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    world.refuses(&["kube", "play", file.to_str().unwrap()], NOT_STARTED, &["is not UTF-8"]);
    for (words, expected) in [
        ("/nonexistent.yaml", "cannot read /nonexistent.yaml: No such file"),
        ("https://example.com/pod.yaml", "nvbind does not download https://example.com/pod.yaml"),
    ] {
        world.refuses(&["kube", "play", words], NOT_STARTED, &[expected]);
    }
}

#[test]
fn what_this_machine_does_not_give_is_told() {
    let world = World::new();
    world.write("restricted.toml", "[security]\nrestrict_devices = true\nallowed_devices = []\n");
    world.hook(&["--config", world.path("restricted.toml").to_str().unwrap()]);
    refuses(&world, &asks("nvidia.com/gpu: 1"), "no GPU of this machine is allowed");
    let hook = world.path("libexec/nvbind-hook");
    std::fs::remove_file(&hook).unwrap();
    refuses(&world, &asks("nvidia.com/gpu: 1"), hook.to_str().unwrap());
}
