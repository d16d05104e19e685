//! How a GPU is asked for in the words of other tools: what podman is given then, and what is refused.

use crate::world::{NOT_STARTED, World};

const FIRST: &str = "GPU-aaaa0000-0000-0000-0000-000000000001";
const SECOND: &str = "GPU-bbbb0000-0000-0000-0000-000000000002";

/// What podman would be told: the annotation of the GPUs and the variable, and the other options.
fn told(world: &World, options: &str, variables: &[(&str, &str)]) -> (String, String, String) {
    let mut words = vec!["run", "--dry-run"];
    words.extend(options.split(' '));
    words.push("IMAGE");
    let said = world.nvbind_with(&words, variables);
    assert_eq!(said.code, 0, "{options}: {}", said.err);
    let words = shlex_split(&said.out);
    let (mut annotation, mut variable, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        if let Some(value) = word.strip_prefix("io.nvbind.gpu=") {
            annotation.push(value.to_owned());
        } else if let Some(value) = word.strip_prefix("NVIDIA_VISIBLE_DEVICES=") {
            variable.push(value.to_owned());
        } else {
            rest.push(word);
        }
    }
    (annotation.join(" "), variable.join(" "), rest.join(" "))
}

/// The words of a printed line, which has quotes only around whole words.
fn shlex_split(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[test]
fn each_spelling_is_one_annotation_and_a_variable_that_says_the_same() {
    let world = World::new();
    world.write("home/gpus.env", "NVIDIA_VISIBLE_DEVICES=1\n");
    let both = format!("{FIRST}+{SECOND}");
    for (options, expected) in [
        ("--gpus all", "all"),
        ("--gpus 1", FIRST),
        ("--gpus 2", both.as_str()),
        ("--gpus count=2", both.as_str()),
        ("--gpus=-1", "all"),
        ("--gpu any:2", both.as_str()),
        ("--gpus device=0,1", "0+1"),
        ("--gpus \"device=1\"", "1"),
        ("--gpu 0 --gpu 1", "0+1"),
        ("--device nvidia.com/gpu=1", "1"),
        ("--device=nvbind.io/gpu=0 --gpu 1", "0+1"),
        ("-e NVIDIA_VISIBLE_DEVICES=1", "1"),
        ("--env=NVIDIA_VISIBLE_DEVICES=0,1", "0+1"),
        ("--env NVIDIA_VISIBLE_DEVICES=1 --runtime=nvidia", "1"),
        ("--env-file gpus.env", "1"),
        ("--annotation io.nvbind.gpu=1", "1"),
    ] {
        let (annotation, variable, rest) = told(&world, options, &[]);
        assert_eq!(annotation, expected, "{options}");
        assert_eq!(variable, expected.replace('+', ","), "{options}");
        for gone in ["nvidia.com", "nvbind.io", "--runtime", "--gpus"] {
            assert!(!rest.contains(gone), "{options}: {rest}");
        }
    }
}

#[test]
fn no_gpu_by_the_variable_is_a_container_that_nvbind_has_nothing_to_do_with() {
    let world = World::new();
    for value in ["void", ""] {
        let (annotation, variable, rest) = told(&world, &format!("-e NVIDIA_VISIBLE_DEVICES={value}"), &[]);
        assert_eq!((annotation.as_str(), variable.as_str()), ("", "void"), "{value:?}");
        assert!(!rest.contains("io.nvbind") && !rest.contains("CUDA_DEVICE_ORDER"), "{rest}");
    }
    let (annotation, variable, _) = told(&world, "-e NVIDIA_VISIBLE_DEVICES=none", &[]);
    assert_eq!((annotation.as_str(), variable.as_str()), ("none", "none"));
    // It needs neither driver nor hook.
    std::fs::remove_file(world.path("libexec/nvbind-hook")).unwrap();
    let said = world.nvbind(&["run", "-e", "NVIDIA_VISIBLE_DEVICES=void", "IMAGE"]);
    assert!(said.code == 0 && said.podman.is_some(), "{said:?}");
}

#[test]
fn the_callers_variable_is_what_the_container_has_where_it_is_handed_on() {
    let world = World::new();
    let caller = [("NVIDIA_VISIBLE_DEVICES", "1")];
    assert_eq!(told(&world, "-e NVIDIA_VISIBLE_DEVICES", &caller).0, "1");
    assert_eq!(told(&world, "-e NVIDIA_VISIBLE_DEVICES", &[]).0, "all");
    assert_eq!(told(&world, "--rm", &caller).0, "all");
    // podman would set it by the pattern: the last one counts.
    let (annotation, variable, rest) = told(&world, "--env NVIDIA_*", &caller);
    assert_eq!((annotation.as_str(), variable.as_str()), ("1", "1 1"));
    assert!(rest.contains("--env NVIDIA_* --env IMAGE"), "{rest}");
}

#[test]
fn one_note_tells_what_is_left_out_or_chosen() {
    let world = World::new();
    for (options, expected) in [
        (
            &["--runtime=nvidia"][..],
            "--runtime nvidia is left out: podman's own runtime starts the container",
        ),
        (
            &["--runtime", "/usr/bin/nvidia-container-runtime"],
            "--runtime /usr/bin/nvidia-container-runtime is left out",
        ),
        (&["--gpus", "all,options=a=b"], "options= of --gpus is left out"),
        (&["--gpus", "1"], "of 2 GPUs the container has 0 (GPU-aaaa0000-0000-0000-0000-000000000001)"),
    ] {
        let said = world.nvbind(&[&["run", "--dry-run"], options, &["IMAGE"]].concat());
        assert_eq!(said.code, 0, "{options:?}: {}", said.err);
        assert!(said.err.lines().count() == 1 && said.err.contains(expected), "{options:?}: {}", said.err);
    }
}

#[test]
fn what_could_be_two_things_starts_nothing_and_says_what_to_write() {
    let world = World::new();
    for (options, texts) in [
        (&["--gpus", "0"][..], &["--gpus 0: 0 is no number of GPUs", "`--gpu 0` is the first GPU"][..]),
        (&["--gpus", ""], &["the value is empty", "`--gpu 0,1`"]),
        (&["--gpus", "device="], &["device= names no GPU"]),
        (
            &["--gpus", "99"],
            &["99 GPUs are asked for, and this machine has 2 that can be given whole", "nvbind info"],
        ),
        (&["--gpu", "7"], &["there is no GPU 7"]),
        (&["--gpu="], &["has an empty entry"]),
        (&["--device=nvidia.com/gpu=7"], &["there is no GPU 7"]),
        (&["--device=nvidia.com/gpu=gpu0"], &["--device nvidia.com/gpu=gpu0: \"gpu0\" is no GPU"]),
        (&["--gpu=none", "--device=nvidia.com/gpu=all"], &["do not agree"]),
        (&["--gpu=1", "-e", "NVIDIA_VISIBLE_DEVICES=0"], &["do not agree"]),
        (
            &["--annotation", "io.nvbind.gpus=0"],
            &["nvbind has no annotation io.nvbind.gpus", "did you mean io.nvbind.gpu?"],
        ),
        (&["-e", "NVBIND_DEVICES=0"], &["NVBIND_DEVICES is for the containers of a pod"]),
        (&["--gpu=1", "--device=/dev/nvidia0"], &["--device /dev/nvidia0 gives the container a GPU"]),
    ] {
        for verb in ["run", "create"] {
            let words = [&[verb], options, &["IMAGE"]].concat();
            world.refuses(&words, NOT_STARTED, texts);
        }
    }
    let words =
        ["run", "--gpu", "all", "IMAGE", "nvbind", "run", "--gpu", "all", "IMAGE", "nvidia-smi", "-L"];
    world.refuses(
        &words,
        NOT_STARTED,
        &["`nvbind run` itself", "after the image write `nvidia-smi -L` alone"],
    );
}

#[test]
fn a_number_is_in_no_file_that_nvbind_does_not_read_at_the_start() {
    let world = World::new();
    for kind in ["quadlet", "kube"] {
        let words = ["generate", kind, "--", "--gpus", "2", "--name", "x", "IMAGE"];
        world.refuses(&words, 2, &["a number of GPUs cannot stand in this file", "nvbind generate systemd"]);
    }
    let said =
        world.nvbind(&["generate", "systemd", "--", "--gpus", "2", "--device=nvidia.com/gpu=all", "IMAGE"]);
    assert_eq!(said.code, 2, "{}", said.err);
    let said = world.nvbind(&["generate", "systemd", "--", "--gpus", "2", "IMAGE"]);
    assert!(said.code == 0 && said.out.contains(" --gpus 2 IMAGE"), "{said:?}");
    let said =
        world.nvbind(&["generate", "quadlet", "--", "--device", "nvidia.com/gpu=1", "-e", "A=b", "IMAGE"]);
    assert!(
        said.out.contains("\nAnnotation=io.nvbind.gpu=1\n") && !said.out.contains("AddDevice"),
        "{said:?}"
    );
    for kind in ["quadlet", "systemd", "kube"] {
        let words = ["generate", kind, "--", "-e", "NVIDIA_VISIBLE_DEVICES", "IMAGE"];
        world.refuses(&words, 2, &["is this shell's", "`--gpu 0`"]);
    }
}

#[test]
fn a_plan_is_asked_for_in_the_same_words() {
    let world = World::new();
    let root = world.path("").display().to_string();
    let plan = |words: &[&str]| world.nvbind(&[&["plan", "--json", "--driver-root", &root], words].concat());
    for (words, expected) in [
        (&["--gpus", "1"][..], vec![0]),
        (&["--gpus", "device=1"], vec![1]),
        (&["--gpu", "any:2"], vec![0, 1]),
        (&["--gpu", "nvidia.com/gpu=1"], vec![1]),
        (&[], vec![0, 1]),
    ] {
        let said = plan(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let indexes: Vec<u64> =
            document["gpus"].as_array().unwrap().iter().map(|gpu| gpu["index"].as_u64().unwrap()).collect();
        assert_eq!(indexes, expected, "{words:?}");
    }
    assert_eq!(plan(&["--gpus", "0"]).code, 2);
    assert_eq!(plan(&["--gpus", "3"]).code, 3);
}
