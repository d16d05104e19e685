//! What nvbind refuses before podman is called: a message of its own, podman's exit code for that, and no container.

use crate::world::{NOT_STARTED, World};
use std::fs;

#[test]
fn podman_is_called_where_nothing_is_refused() {
    let world = World::new();
    // Another machine's hook is not this one's to look for.
    let said = world.nvbind_with(&["run", "--gpu", "0", "IMAGE", "true"], &[("CONTAINER_HOST", "tcp://x")]);
    assert_eq!(said.code, 0, "{}", said.err);
    let podman = said.podman.unwrap();
    assert!(podman.starts_with("run\n") && podman.ends_with("\nIMAGE\ntrue\n"), "{podman}");
    assert!(podman.contains("io.nvbind.gpu=0"), "{podman}");
}

#[test]
fn a_gpu_that_is_not_there_is_told_with_those_that_are() {
    let world = World::new();
    let words = ["run", "--gpu", "7", "IMAGE"];
    world.refuses(&words, NOT_STARTED, &["there is no GPU 7; this machine has 0 (GPU-", "1 (GPU-"]);
}

#[test]
fn a_node_that_is_not_there_is_told_as_the_hook_would_refuse_it() {
    let world = World::new();
    let node = world.path("dev/nvidia-uvm");
    let says = format!("the device node {} is not there", node.display());
    world.refuses(&["run", "--gpu", "0", "IMAGE"], NOT_STARTED, &[&says, "nvbind devices"]);
}

#[test]
fn a_hook_that_is_gone_is_told_as_podman_would_skip_it() {
    let world = World::new();
    let hook = world.path("libexec/nvbind-hook");
    fs::remove_file(&hook).unwrap();
    let words = ["run", "--gpu", "0", "IMAGE"];
    world.refuses(&words, NOT_STARTED, &[hook.to_str().unwrap(), "nvbind setup"]);
}

#[test]
fn a_profile_that_is_none_is_told_with_the_one_that_was_meant() {
    let world = World::new();
    let texts = ["there is no profile gamin", "did you mean gaming?"];
    world.refuses(&["run", "--profile=gamin", "IMAGE"], NOT_STARTED, &texts);
    world.refuses(&["profile", "show", "gamin"], 2, &texts);
}

#[test]
fn an_unusable_runtime_or_configuration_starts_nothing() {
    let world = World::new();
    for (configuration, option, texts) in [
        ("", "--runtime=docker", &["\"docker\" is no runtime that nvbind can use"][..]),
        ("", "--config=/nonexistent", &["cannot read the configuration /nonexistent"]),
        (
            "[runtime]\ndefault_arg = []\n",
            "--rm",
            &["config.toml:2:1: there is no runtime.default_arg", "hint: did you mean runtime.default_args?"],
        ),
        (
            "[security]\nallow_rootless = false\n",
            "--rm",
            &["only root starts containers here: security.allow_rootless is false (/"],
        ),
    ] {
        world.configure(configuration);
        world.refuses(&["run", option, "--gpu=0", "IMAGE"], NOT_STARTED, texts);
    }
}

#[test]
fn a_users_container_is_none_that_root_starts() {
    let world = World::new();
    let words = ["run", "--rootless", "--dry-run", "--gpu=0", "IMAGE"];
    let users = world.nvbind(&words);
    assert!(users.code == 0 && users.out.contains("io.nvbind.gpu=0"), "{users:?}");
    // Only root can try what root is refused.
    if let Some(roots) = world.nvbind_as_root(&words) {
        assert_eq!(roots.code, NOT_STARTED, "{}", roots.err);
        assert!(
            roots.err.contains("--rootless is for containers of a user, and this is root"),
            "{}",
            roots.err
        );
    }
}
