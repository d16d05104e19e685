//! Pods as people write them for Kubernetes and NVIDIA's runtime: each means what it means there, or is refused.

use super::tests::{limits, machine, played, played_on, pod, said};
use super::*;

/// A pod with init containers, each with what more it has, before its one other container.
fn with_inits(inits: &[(&str, &str)], app: &str) -> String {
    let inits = inits.iter().map(|(name, more)| format!("  - {{name: {name}, image: i, {more}}}\n"));
    format!("{}  initContainers:\n{}", pod("a", "", &[("x", app)]), inits.collect::<String>())
}

#[test]
fn an_init_container_has_what_the_others_will_have_and_sidecars_keep_theirs() {
    let number = |number: u32| limits(&format!("nvidia.com/gpu: {number}"));
    let (one, two, three, none) = (number(1), number(2), number(3), "tty: true".to_owned());
    let sidecar = |limits: &str| format!("restartPolicy: Always, {limits}");
    let side = sidecar(&one);
    for (inits, app, expected) in [
        // The most of each init container and of all others together.
        (vec![("i", &one)], &one, "0 | 0 0"),
        (vec![("i", &one), ("j", &one)], &two, "0+1 | 0 0 0,1"),
        (vec![("i", &three)], &two, "0+1+2 | 0,1,2 0,1"),
        (vec![("i", &two)], &none, "0+1 | 0,1 void"),
        // A sidecar runs beside all that follow it.
        (vec![("s", &side)], &one, "0+1 | 0 1"),
        (vec![("s", &side), ("i", &two)], &one, "0+1+2 | 0 1,2 1"),
        (vec![("i", &two), ("s", &side)], &one, "0+1 | 0,1 0 1"),
        (vec![("i", &three), ("s", &side)], &one, "0+1+2 | 0,1,2 0 1"),
    ] {
        let inits: Vec<(&str, &str)> = inits.iter().map(|(name, more)| (*name, more.as_str())).collect();
        let text = with_inits(&inits, app);
        let told = played(3, &text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(said(&told), expected, "{text}");
    }
    let error = |inits: &[(&str, &str)], app: &str| played(2, &with_inits(inits, app)).unwrap_err();
    assert_eq!(
        error(&[("i", &three)], &one),
        "3 of nvidia.com/gpu are asked for (Pod a, init container i: 3; Pod a, container x: 1), and there are 2"
    );
    assert_eq!(
        error(&[("s", &side), ("i", &two)], &none),
        "3 of nvidia.com/gpu are asked for (Pod a, init container s: 1; Pod a, init container i: 2), and there are 2"
    );
    // Another pod has GPUs of its own.
    let text = [with_inits(&[("i", &one)], &one), pod("b", "", &[("y", &one)])].concat();
    assert_eq!(said(&played(2, &text).unwrap()), "0 | 0 0; 1 | 1");
}

#[test]
fn a_quantity_is_a_whole_number_in_every_spelling() {
    for number in ["1", "'1'", "1.0", "1000m", "'1000m'", "1e0", "\"1.0\""] {
        let text = pod("a", "", &[("x", &limits(&format!("nvidia.com/gpu: {number}")))]);
        assert_eq!(said(&played(2, &text).unwrap()), "0 | 0", "{number}");
    }
    for number in ["0.5", "500m", "1500m", "1e-1", "-1", "one"] {
        let text = pod("a", "", &[("x", &limits(&format!("nvidia.com/gpu: {number}")))]);
        let error = played(2, &text).unwrap_err();
        let expected = format!("Pod a, container x: nvidia.com/gpu is {number:?}, which is no whole number");
        assert_eq!(error, expected);
    }
    let same = "resources: {limits: {nvidia.com/gpu: 1}, requests: {nvidia.com/gpu: 1000m}}";
    assert_eq!(said(&played(2, &pod("a", "", &[("x", same)])).unwrap()), "0 | 0");
}

fn variable(value: &str) -> String {
    format!("env: [{{name: A, value: b}}, {{name: NVIDIA_VISIBLE_DEVICES, value: '{value}'}}]")
}

/// What programs of each container are told.
fn shown(text: &str) -> String {
    let mut documents = Documents::default();
    documents.add("out", text).unwrap();
    let containers = documents.pods.iter().flat_map(|pod| &pod.containers);
    let told = containers
        .map(|container| container.variable("NVIDIA_VISIBLE_DEVICES").flatten().unwrap_or("-").to_owned());
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_variable_asks_for_exactly_what_it_says() {
    let class = |text: String| format!("{text}  runtimeClassName: nvidia\n");
    let one = limits("nvidia.com/gpu: 1");
    for (text, expected, told) in [
        (pod("a", "", &[("x", &variable("1"))]), "1 | 1", "1"),
        (class(pod("a", "", &[("x", &variable("1"))])), "1 | 1", "1"),
        (class(pod("a", "", &[("x", &variable("all")), ("y", "tty: true")])), "all | all void", "all void"),
        (pod("a", "", &[("x", &variable("0,1"))]), "0+1 | 0,1", "0,1"),
        (pod("a", "", &[("x", &variable("none"))]), "none | none", "none"),
        (pod("a", "", &[("x", &variable("0")), ("y", &variable("1"))]), "0+1 | 0 1", "0 1"),
        // What is named goes to nobody who asks for a number.
        (pod("a", "", &[("x", &variable("0")), ("y", &one)]), "0+1 | 0 1", "0 1"),
        (pod("a", "", &[("x", &variable("void")), ("y", &one)]), "0 | void 0", "void 0"),
        // Nothing is asked of NVIDIA's hook, and of nvbind's by the resources.
        (pod("a", "", &[("x", &format!("{}, {one}", variable("void")))]), "0 | 0", "0"),
        (pod("a", "", &[("x", &variable("nvidia.com/gpu=1"))]), "1 | 1", "1"),
        // Of the pod's own.
        (pod("a", "io.nvbind.gpu: 0+1", &[("x", &variable("1"))]), "0+1 | 1", "1"),
        // As `podman kube generate` has a container of `nvbind run`.
        (pod("a", "io.nvbind.gpu/x: '1'", &[("x", &variable("1"))]), "1 | 1", "1"),
    ] {
        let given = played(2, &text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(said(&given), expected, "{text}");
        assert_eq!(shown(&given), told, "{text}");
        assert_eq!(given.matches("NVIDIA_VISIBLE_DEVICES").count(), told.split(' ').count(), "{given}");
        // What is printed means the same when it is played.
        let again = played(2, &given).unwrap();
        assert_eq!((said(&again), shown(&again)), (said(&given), shown(&given)), "{text}");
    }
    // NVIDIA's own hook must not act as well.
    let text = pod("a", "", &[("x", &variable("1"))]);
    let with_hook = played_on(&machine(2), &text, "", true).unwrap();
    assert_eq!((said(&with_hook).as_str(), shown(&with_hook).as_str()), ("1 | 1", "void"));
}

#[test]
fn a_file_without_gpus_stays_as_it_is() {
    for text in [
        pod("a", "", &[("x", &variable("void"))]),
        pod("a", "", &[("x", "command: [sh, -c, 'echo nvbind run']")]),
        pod("a", "", &[("x", "tty: true")]).replace("annotations: {}", "labels: {app: io.nvbind.gpu}"),
        format!("{}  runtimeClassName: kata\n", pod("a", "", &[("x", "tty: true")])),
        format!("{}  runtimeClassName: nvidia\n", pod("a", "", &[("x", &variable("void"))])),
    ] {
        let mut documents = Documents::default();
        documents.add("pod.yaml", &text).unwrap();
        assert!(!documents.is_to_change() && !documents.has_annotation(), "{text}");
    }
}

#[test]
fn what_kubernetes_or_nobody_would_do_is_refused_with_what_to_write() {
    let one = limits("nvidia.com/gpu: 1");
    let nested =
        |rest: &str| format!("command: [nvbind, run, --runtime, podman, --gpu, all, i, nvidia-smi], {rest}");
    let class = format!("{}  runtimeClassName: nvidia\n", pod("a", "", &[("x", "tty: true")]));
    for (text, expected) in [
        (
            pod("a", "", &[("x", "resources: {requests: {nvidia.com/gpu: 1}}")]),
            "Pod a, container x: nvidia.com/gpu is in requests, and not in limits | write `nvidia.com/gpu` below `limits:`",
        ),
        (
            pod("a", "", &[("x", "resources: {requests: {nvidia.com/mig-1g.10gb: 1}}")]),
            "Pod a, container x: nvidia.com/mig-1g.10gb is in requests, and not in limits | write `nvidia.com/mig-1g.10gb` below `limits:`",
        ),
        (
            pod("a", "", &[("x", &format!("{}, {one}", variable("all")))]),
            "Pod a, container x has NVIDIA_VISIBLE_DEVICES=all, and asks for GPUs by its resources | leave the variable out: nvbind sets it",
        ),
        (
            pod("a", "", &[("x", &variable("gpu0"))]),
            "Pod a, container x: NVIDIA_VISIBLE_DEVICES=gpu0: \"gpu0\" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none | ",
        ),
        (
            pod("a", "", &[("x", "env: [{name: NVIDIA_VISIBLE_DEVICES, valueFrom: {configMapKeyRef: {name: m, key: k}}}]")]),
            "Pod a, container x: which GPUs it has stands elsewhere, as NVIDIA_VISIBLE_DEVICES has valueFrom | write its value here, or ask by `nvidia.com/gpu` alone",
        ),
        (
            class,
            "Pod a has the runtime class nvidia, and no container of it says which GPUs it is to have | write `nvidia.com/gpu: 1` below `resources.limits` of the container",
        ),
        (
            pod("a", "", &[("x", &nested(&one))]),
            "Pod a, container x: its command is `nvbind run` itself, which is not in the image | write `command: [\"nvidia-smi\"]` alone",
        ),
        (
            pod("a", "", &[("x", "args: [nvbind, run, --gpu, all, i]")]),
            "Pod a, container x: its command is `nvbind run` itself, which is not in the image | leave `command` and `args` out, and `nvidia.com/gpu: 1` below `resources.limits`",
        ),
        (
            pod("a", "io.nvbind.gpus: '0'", &[("x", "tty: true")]),
            "Pod a: nvbind has no annotation io.nvbind.gpus | did you mean io.nvbind.gpu?",
        ),
        (
            pod("a", "", &[("x", "tty: true")]).replace("annotations: {}", "labels: {io.nvbind.gpu: '0'}"),
            "Pod a: io.nvbind.gpu is a label, and nvbind reads annotations | write the annotation io.nvbind.gpu",
        ),
        (
            "kind: Job\nmetadata: {name: d}\nspec: {template: {metadata: {annotations: {io.nvbind.capability: x}}, spec: {}}}".to_owned(),
            "Job d: nvbind has no annotation io.nvbind.capability | did you mean io.nvbind.capabilities?",
        ),
    ] {
        let error = Documents::default().add("pod.yaml", &text).unwrap_err();
        let told = format!("{} | {}", nvbind_core::message::line(&error), error.hint().unwrap_or_default());
        assert_eq!(told, expected, "{text}");
    }
    let error = Documents::default().annotate("io.nvbind.gpus", "0").unwrap_err();
    assert_eq!(
        nvbind_core::message::line(&error),
        "--annotation io.nvbind.gpus: nvbind has no annotation io.nvbind.gpus"
    );
}
