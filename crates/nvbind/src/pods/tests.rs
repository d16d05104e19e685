use super::*;
use crate::driver::HookOptions;
use crate::fixture;
use std::fs;

/// Two GPUs, or as many as there are to be.
pub(super) fn machine(gpus: u32) -> fixture::Machine {
    let machine = fixture::Machine::new();
    for index in 0..gpus {
        let uuid = format!("GPU-{index:08x}-0000-0000-0000-000000000000");
        machine.gpu(&format!("0000:{:02x}:00.0", 16 * index + 1), gpus - index, &uuid, &[]);
    }
    machine
}

/// The text that podman gets of a file on a machine with so many GPUs.
pub(super) fn played_on(
    machine: &fixture::Machine,
    text: &str,
    more: &str,
    has_nvidias: bool,
) -> Result<String, String> {
    let (config, root) = (machine.path("config.toml"), machine.path("/").display().to_string());
    let keys = ["root", "dev_root", "proc_root", "sys_root"].map(|key| format!("{key} = {root:?}\n"));
    fs::write(&config, format!("[driver]\n{}{more}", keys.concat())).unwrap();
    let told = || {
        let mut documents = Documents::default();
        documents.add("pod.yaml", text)?;
        let mut machine = Machine::open(&HookOptions::of_config(&config))
            .map_err(|source| Error::Driver { owner: "machine".to_owned(), source })?;
        let changes = documents.share(Some(&mut machine), has_nvidias)?;
        documents.requests(&changes)?;
        documents.write(&changes)
    };
    told().map_err(|error: Error| {
        nvbind_core::message::line(&error).replace(&config.display().to_string(), "CONFIG")
    })
}

pub(super) fn played(gpus: u32, text: &str) -> Result<String, String> {
    played_on(&machine(gpus), text, "", false)
}

/// A pod with these containers, each with its limits, and more of it.
pub(super) fn pod(name: &str, annotations: &str, containers: &[(&str, &str)]) -> String {
    let containers =
        containers.iter().map(|(name, more)| format!("  - {{name: {name}, image: i, {more}}}\n"));
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations: {{{annotations}}}\nspec:\n  containers:\n{}",
        containers.collect::<String>()
    )
}

/// `resources: {limits: {…}}`
pub(super) fn limits(limits: &str) -> String {
    format!("resources: {{limits: {{{limits}}}}}")
}

/// The annotation of every pod, and then what NVBIND_DEVICES of each container is.
pub(super) fn said(text: &str) -> String {
    let mut documents = Documents::default();
    documents.add("out", text).unwrap();
    let pods = documents.pods.iter().map(|pod| {
        let variable = |container: &Container| match container.variable(DEVICES_VARIABLE) {
            Some(value) => value.unwrap_or("?").to_owned(),
            None => "-".to_owned(),
        };
        let containers: Vec<String> = pod.containers.iter().map(variable).collect();
        format!("{} | {}", pod.annotation(GPU_ANNOTATION).unwrap_or("-"), containers.join(" "))
    });
    pods.collect::<Vec<_>>().join("; ")
}

#[test]
fn who_asks_for_a_number_has_gpus_of_their_own() {
    let one = limits("nvidia.com/gpu: 1");
    let two = limits("nvidia.com/gpu: '2'");
    let named = limits("nvidia.com/gpu=1: 1");
    let all = limits("nvidia.com/gpu=all: 1");
    let variable = "env: [{name: NVBIND_DEVICES, value: '0'}]";
    let gpu = "io.nvbind.gpu";
    for (pods, expected) in [
        (vec![pod("a", "", &[("x", &one), ("y", &one)])], "0+1 | 0 1"),
        (vec![pod("a", "", &[("x", &one), ("y", "tty: true")])], "0 | 0 void"),
        (vec![pod("a", "", &[("x", &one)]), pod("b", "", &[("x", &two)])], "0 | 0; 1+2 | 1,2"),
        // What is named goes to nobody who asks for a number, and all of them to everybody.
        (vec![pod("a", "", &[("x", &two)]), pod("b", "", &[("x", &named)])], "0+2 | 0,2; 1 | 1"),
        (vec![pod("a", "", &[("x", &one), ("y", &all)])], "all | 0 all"),
        // Of those that the pod has already, before the others choose.
        (
            vec![pod("a", "", &[("x", &one)]), pod("b", &format!("{gpu}: 0+1"), &[("x", &one)])],
            "1 | 1; 0+1 | 0",
        ),
        (
            vec![pod("a", "", &[("x", &one)]), pod("b", &format!("{gpu}: '0'"), &[("x", "tty: true")])],
            "1 | 1; 0 | -",
        ),
        (vec![pod("a", "", &[("x", &format!("{variable}, {one}")), ("y", &one)])], "0+1 | 0 1"),
        (vec![pod("a", "", &[("x", variable), ("y", &one)])], "0+1 | 0 1"),
        (vec![pod("a", "", &[("x", &limits("nvidia.com/gpu: 0")), ("y", &one)])], "0 | void 0"),
        (vec![pod("a", "", &[("x", &limits("nvidia.com/gpu=0: 1, nvidia.com/gpu: 1"))])], "0+1 | 0,1"),
        (vec![pod("a", "", &[("x", "resources: {requests: {nvidia.com/gpu=1: 1}}")])], "1 | 1"),
    ] {
        let text = pods.concat();
        let played = played(3, &text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(said(&played), expected, "{text}");
        assert!(!played.contains("nvidia.com/"), "{played}");
    }
}

#[test]
fn templates_have_their_annotation_where_podman_looks() {
    let template = |metadata: &str, kind: &str| {
        format!(
            "kind: {kind}\nmetadata: {{name: d}}\nspec:\n  template:\n    metadata: {{{metadata}}}\n    spec:\n      initContainers:\n      - name: i\n      containers:\n      - name: c\n        resources: {{limits: {{nvidia.com/gpu: 1}}}}\n"
        )
    };
    for kind in ["Deployment", "DaemonSet", "Job"] {
        let played = played(2, &template("", kind)).unwrap();
        assert_eq!(said(&played), "0 | void 0", "{kind}");
        let mut documents = Documents::default();
        documents.add("out", &played).unwrap();
        assert!(documents.pods[0].lost.is_empty(), "{played}");
    }
    let lifted = played(2, &template("annotations: {io.nvbind.gpu: '1'}", "Deployment")).unwrap();
    assert_eq!(said(&lifted), "1 | void 1");
    let list = format!(
        "kind: List\nitems:\n- {}",
        pod("a", "", &[("x", &limits("nvidia.com/gpu: 1"))]).replace("---\n", "").replace('\n', "\n  ")
    );
    assert_eq!(said(&played(1, &list).unwrap()), "0 | 0");
}

#[test]
fn what_podman_generated_is_understood() {
    let gpu = "io.nvbind.gpu";
    let variable = |value: &str| format!("env: [{{name: NVBIND_DEVICES, value: '{value}'}}]");
    let two = [("x", "tty: true"), ("y", "tty: true")];
    for (text, expected) in [
        (pod("a", &format!("{gpu}/x: '1', {gpu}/y: '0'"), &two), "0+1 | 1 0"),
        (pod("a", &format!("{gpu}/x: '1'"), &two), "1 | 1 void"),
        (pod("a", &format!("{gpu}/x: all"), &two), "all | all void"),
        (pod("a", &format!("{gpu}/x: none"), &two), "none | none void"),
        // Of a pod that was played.
        (
            pod(
                "a",
                &format!("{gpu}/x: 0+1, {gpu}/y: 0+1"),
                &[("x", &variable("0")), ("y", &variable("void"))],
            ),
            "0 | 0 void",
        ),
    ] {
        let played = played(2, &text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(said(&played), expected, "{text}");
        assert!(!played.contains("gpu/"), "{played}");
    }
    let with = |x: &str, y: &str| {
        let own = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!(", io.nvbind.capabilities/{name}: {value}"),
        };
        played(2, &pod("a", &format!("{gpu}/x: '1', {gpu}/y: '0'{}{}", own("x", x), own("y", y)), &two))
    };
    assert!(with("compute", "compute").unwrap().contains("\"io.nvbind.capabilities\": \"compute\""));
    let apart = "the containers of Pod a do not have the same io.nvbind.capabilities, and podman gives all of them one";
    for (x, y) in [("compute", "utility"), ("compute", ""), ("", "compute")] {
        assert_eq!(with(x, y).unwrap_err(), apart, "{x} {y}");
    }
    let wrong = pod("a", &format!("{gpu}/x: '1'"), &[("x", &variable("all"))]);
    assert!(played(2, &wrong).unwrap_err().contains("asks for other GPUs by its resources or annotation"));
}

#[test]
fn programs_are_told_their_gpus_and_nvidias_hook_is_told_nothing() {
    let text = pod("a", "", &[("x", &limits("nvidia.com/gpu: 2")), ("y", "tty: true")]);
    let machine = machine(2);
    let environment = |has_nvidias| {
        let played = played_on(&machine, &text, "", has_nvidias).unwrap();
        let mut documents = Documents::default();
        documents.add("out", &played).unwrap();
        documents.pods[0].containers.iter().map(|container| container.environment.clone()).collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect::<Vec<_>>()
    };
    let void = [("NVBIND_DEVICES", "void"), ("NVIDIA_VISIBLE_DEVICES", "void")];
    let order = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    let gpus = [("NVBIND_DEVICES", "0,1"), ("NVIDIA_VISIBLE_DEVICES", "0,1"), order];
    assert_eq!(environment(false), [pairs(&gpus), pairs(&void)]);
    let gpus = [("NVBIND_DEVICES", "0,1"), ("NVIDIA_VISIBLE_DEVICES", "void"), order];
    assert_eq!(environment(true), [pairs(&gpus), pairs(&void)]);
    let own = text.replace("tty: true", "env: [{name: NVIDIA_VISIBLE_DEVICES, value: all}]");
    assert!(
        !played_on(&machine, &own, "", false)
            .unwrap()
            .contains("NVIDIA_VISIBLE_DEVICES\n      value: \"void\"")
    );
}

#[test]
fn what_cannot_be_given_is_told_with_who_asks() {
    let number = |number: &str| pod("a", "", &[("x", &limits(&format!("nvidia.com/gpu: {number}")))]);
    let with = |annotations: &str, more: &str| pod("a", annotations, &[("x", more)]);
    let variable = |value: &str, asks: &str| {
        with("", &format!("env: [{{name: NVBIND_DEVICES, {value}}}], {}", limits(asks)))
    };
    for (text, expected) in [
        (number("x"), "Pod a, container x: nvidia.com/gpu is \"x\", which is no whole number"),
        (number("1.5"), "Pod a, container x: nvidia.com/gpu is \"1.5\", which is no whole number"),
        (number("-1"), "Pod a, container x: nvidia.com/gpu is \"-1\", which is no whole number"),
        (number("[1]"), "Pod a, container x: nvidia.com/gpu is \"a list or a mapping\", which is no whole number"),
        (number("99999999999999999999"), "Pod a, container x: nvidia.com/gpu is \"99999999999999999999\", which is no whole number"),
        (number("''"), "Pod a, container x: nvidia.com/gpu is \"\", which is no whole number"),
        (number("3"), "3 of nvidia.com/gpu are asked for (Pod a, container x: 3), and there are 2"),
        (
            [number("1"), pod("b", "", &[("y", &limits("nvidia.com/gpu: 2"))])].concat(),
            "3 of nvidia.com/gpu are asked for (Pod a, container x: 1; Pod b, container y: 2), and there are 2",
        ),
        (
            [number("2"), pod("b", "", &[("y", &limits("nvidia.com/gpu=0: 1"))])].concat(),
            "2 of nvidia.com/gpu are asked for (Pod a, container x: 2), and there is 1, without what the file names",
        ),
        (
            with("io.nvbind.gpu: '1'", &limits("nvidia.com/gpu: 2")),
            "2 of nvidia.com/gpu are asked for (Pod a, container x: 2), and there is 1, of io.nvbind.gpu=1",
        ),
        (
            with("", &limits("nvidia.com/gpu=7: 1")),
            "Pod a, container x: there is no GPU 7; this machine has 0 (GPU-00000000-0000-0000-0000-000000000000, 0000:01:00.0), 1 (GPU-00000001-0000-0000-0000-000000000000, 0000:11:00.0)",
        ),
        (
            with("io.nvbind.gpu: '1'", &limits("nvidia.com/gpu=0: 1")),
            "Pod a, container x: GPU 0 is not allowed; io.nvbind.gpu allows 1",
        ),
        (
            with("", &limits("nvidia.com/gpu=first: 1")),
            "Pod a, container x: \"first\" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none",
        ),
        (
            with("io.nvbind.gpu: first", &limits("nvidia.com/gpu: 1")),
            "Pod a: \"first\" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none",
        ),
        (
            with("", &limits("nvidia.com/gpu.shared: 1")),
            "Pod a, container x: nvidia.com/gpu.shared does not say which GPU",
        ),
        (
            with("", &limits("nvidia.com/mig-1g.10gb.me: 1")),
            "1 of nvidia.com/mig-1g.10gb.me are asked for (Pod a, container x: 1), and there are 0",
        ),
        (
            with("", "resources: {limits: {nvidia.com/gpu: 1}, requests: {nvidia.com/gpu: 2}}"),
            "Pod a, container x: nvidia.com/gpu is not the same in limits and requests",
        ),
        (
            variable("value: '0'", "nvidia.com/gpu: 2"),
            "Pod a, container x has NVBIND_DEVICES=\"0\" and asks for other GPUs by its resources or annotation",
        ),
        (
            variable("value: '0'", "nvidia.com/gpu=1: 1"),
            "Pod a, container x has NVBIND_DEVICES=\"0\" and asks for other GPUs by its resources or annotation",
        ),
        (
            variable("value: void", "nvidia.com/gpu: 1"),
            "Pod a, container x has NVBIND_DEVICES=\"void\" and asks for other GPUs by its resources or annotation",
        ),
        (
            variable("valueFrom: {configMapKeyRef: {name: m, key: k}}", "nvidia.com/gpu: 1"),
            "Pod a, container x: which GPUs it has stands elsewhere, as NVBIND_DEVICES has valueFrom",
        ),
        (
            with("", &format!("env: 5, {}", limits("nvidia.com/gpu: 1"))),
            "Pod a, container x: env is not what it has to be",
        ),
        (
            number("1").replace("annotations: {}", "annotations: 5"),
            "Pod a: metadata.annotations is not what it has to be",
        ),
        (
            with("io.nvbind.isolate: 'true'", &format!("securityContext: {{privileged: true}}, {}", limits("nvidia.com/gpu: 1"))),
            "Pod a, container x: an isolated container cannot be privileged: it would see all GPUs",
        ),
        (
            "kind: Deployment\nmetadata: {name: d}\nspec: {replicas: 2, template: {spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1}}}]}}}".to_owned(),
            "Deployment d is to be there 2 times, and podman gives each of them the same GPUs, or starts one alone",
        ),
        (
            "kind: Job\nmetadata: {name: d, annotations: {io.nvbind.gpu: '0'}}\nspec: {template: {metadata: {annotations: {io.nvbind.gpu: '1'}}, spec: {}}}".to_owned(),
            "Job d has the annotation io.nvbind.gpu twice, as \"0\" and, in its template, as \"1\"",
        ),
        ("a: [".to_owned(), "pod.yaml is no YAML that podman could play: line 2, column 1: while parsing a node, did not find expected node content"),
    ] {
        assert_eq!(played(2, &text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn restricted_gpus_count() {
    let text = pod("a", "", &[("x", &limits("nvidia.com/gpu: 1"))]);
    let restricted = "[security]\nrestrict_devices = true\nallowed_devices = [\"1\"]\n";
    assert_eq!(said(&played_on(&machine(2), &text, restricted, false).unwrap()), "1 | 1");
    let error = played_on(&machine(2), &text.replace("gpu: 1", "gpu: 2"), restricted, false).unwrap_err();
    let expected = "2 of nvidia.com/gpu are asked for (Pod a, container x: 2), and there is 1, as security.allowed_devices of CONFIG allows 1";
    assert_eq!(error, expected);
}

#[test]
fn divided_gpus_are_not_counted_and_the_others_are() {
    let machine = machine(2);
    machine.mig(2, &[(1, 0, 12, 13)]);
    let text = |number| pod("a", "", &[("x", &limits(&format!("nvidia.com/gpu: {number}")))]);
    assert_eq!(said(&played_on(&machine, &text(1), "", false).unwrap()), "1 | 1");
    let error = played_on(&machine, &text(2), "", false).unwrap_err();
    assert!(
        error.ends_with("and there is 1, without divided ones, whose parts are nvidia.com/mig-PROFILE"),
        "{error}"
    );
    let named = pod("a", "", &[("x", &limits("nvidia.com/gpu=MIG-GPU-00000000/1/0: 1"))]);
    let error = played_on(&machine, &named, "", false).unwrap_or_else(|error| error);
    assert!(error.contains("MIG-GPU-00000000/1/0"), "{error}");
}

#[test]
fn another_machines_gpus_are_named_and_not_counted() {
    let share = |asks: &str| {
        let mut documents = Documents::default();
        documents.add("pod.yaml", &pod("a", "", &[("x", &limits(asks))])).unwrap();
        let changes = documents.share(None, false)?;
        Ok::<_, Error>(said(&documents.write(&changes)?))
    };
    assert_eq!(share("nvidia.com/gpu=3: 1").unwrap(), "3 | 3");
    let error = share("nvidia.com/gpu: 1").unwrap_err().to_string();
    assert_eq!(
        error,
        "Pod a, container x asks for a number of GPUs, and podman starts it on another machine"
    );
}

#[test]
fn sixteen_gpus_fit_into_the_annotation_of_an_old_podman() {
    let text = pod("a", "", &[("x", &limits("nvidia.com/gpu: 16"))]);
    assert_eq!(
        said(&played(16, &text).unwrap()),
        "0+1+2+3+4+5+6+7+8+9+10+11+12+13+14+15 | 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
    );
    let uuids = [0, 1].map(|index| format!("nvidia.com/gpu=GPU-{index:08x}-0000-0000-0000-000000000000: 1"));
    let text = pod("a", "", &[("x", &limits(&uuids.join(", ")))]);
    assert!(said(&played(2, &text).unwrap()).starts_with("all | GPU-00000000-"));
}
