//! Command lines as people type them.

use super::*;
use crate::podman::invocation::Wanted;
use crate::podman::own::Runtime;
use clap::ColorChoice;
use nvbind_core::request;
use std::os::unix::ffi::OsStringExt;

fn split(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn scan(line: &str) -> CommandLine {
    CommandLine::parse(split(line)).unwrap()
}

fn request(line: &str) -> Result<request::Request, request::Error> {
    let line = scan(line);
    line.request(&Wanted::of(&line)).map(Option::unwrap)
}

fn podman_arguments(
    line: &CommandLine,
    verb: Verb,
    has_nvidias_hook: bool,
    rules: &[String],
) -> Vec<OsString> {
    line.invocation(verb, &Wanted::of(line), has_nvidias_hook, rules).arguments()
}

/// podman's arguments, without the variables that the container gets: those are the same after every selection.
fn podman(line: &str) -> String {
    let arguments =
        podman_arguments(&scan(line), Verb::Run, false, &[]).join(OsStr::new(" ")).into_string().unwrap();
    let (before, after) = arguments.split_once(" --env NVIDIA_VISIBLE_DEVICES=").unwrap();
    format!("{before} {}", after.split_once(" --env CUDA_DEVICE_ORDER=PCI_BUS_ID ").unwrap().1)
}

#[test]
fn programs_are_told_what_the_container_has_and_how_it_is_counted() {
    for (typed, has_nvidias, told) in [
        ("I", false, "all"),
        ("--gpu 0,1 I", false, "0,1"),
        ("--gpu 0 --annotation io.nvbind.gpu=1+2 I", false, "0,1,2"),
        ("--gpu 0-2,7+GPU-ab I", false, "0,1,2,7,GPU-ab"),
        ("--gpu 0-9999,1:0 I", false, "0-9999,1:0"),
        ("--gpu none I", false, "none"),
        ("--gpu 0 I", true, "void"),
    ] {
        let arguments = podman_arguments(&scan(typed), Verb::Run, has_nvidias, &[]);
        let variables: Vec<&str> = arguments
            .windows(2)
            .filter(|pair| pair[0] == "--env")
            .map(|pair| pair[1].to_str().unwrap())
            .collect();
        let visible = format!("NVIDIA_VISIBLE_DEVICES={told}");
        assert_eq!(variables, [visible.as_str(), "CUDA_DEVICE_ORDER=PCI_BUS_ID"], "nvbind run {typed}");
    }
    // The user's own of the other one comes later, and wins.
    let arguments = podman_arguments(&scan("-e CUDA_DEVICE_ORDER=x I"), Verb::Run, false, &[]);
    assert_eq!(arguments[arguments.len() - 3..], ["-e", "CUDA_DEVICE_ORDER=x", "I"].map(OsString::from));
}

#[test]
fn what_podman_gets() {
    let table = [
        ("IMAGE", "run --annotation io.nvbind.gpu=all IMAGE"),
        ("--gpu 0 IMAGE", "run --annotation io.nvbind.gpu=0 IMAGE"),
        ("--gpu=0 IMAGE", "run --annotation io.nvbind.gpu=0 IMAGE"),
        ("--gpus all IMAGE", "run --annotation io.nvbind.gpu=all IMAGE"),
        ("--gpu 0 --gpu 1 IMAGE", "run --annotation io.nvbind.gpu=0+1 IMAGE"),
        ("--gpu 0,1 IMAGE", "run --annotation io.nvbind.gpu=0+1 IMAGE"),
        (
            "--capabilities compute,utility IMAGE",
            "run --annotation io.nvbind.gpu=all --annotation io.nvbind.capabilities=compute+utility IMAGE",
        ),
        (
            "--extras mps,imex:0 --capabilities compute IMAGE",
            "run --annotation io.nvbind.gpu=all --annotation io.nvbind.capabilities=compute --annotation io.nvbind.extras=mps+imex:0 IMAGE",
        ),
        (
            "-it --gpu 1 -v a:b --name x IMAGE --gpu is-the-commands",
            "run --annotation io.nvbind.gpu=1 -it -v a:b --name x IMAGE --gpu is-the-commands",
        ),
        ("--rm IMAGE --help", "run --annotation io.nvbind.gpu=all --rm IMAGE --help"),
        // values that look like options or images are values
        ("--name --gpu --gpu 1 I", "run --annotation io.nvbind.gpu=1 --name --gpu I"),
        ("-v --gpu I --gpu 1", "run --annotation io.nvbind.gpu=all -v --gpu I --gpu 1"),
        // clusters
        ("-itv a:b --gpu 1 I", "run --annotation io.nvbind.gpu=1 -itv a:b I"),
        ("-itva:b I --gpu 1", "run --annotation io.nvbind.gpu=all -itva:b I --gpu 1"),
        ("-eFOO --gpu 1 I", "run --annotation io.nvbind.gpu=1 -eFOO I"),
        ("-e=FOO --gpu 1 I", "run --annotation io.nvbind.gpu=1 -e=FOO I"),
        ("-t=false --gpu 1 I", "run --annotation io.nvbind.gpu=1 -t=false I"),
        ("-e= --gpu 1 I", "run --annotation io.nvbind.gpu=1 -e= I"),
        ("-it= --gpu 1 I", "run --annotation io.nvbind.gpu=1 -it= I"),
        ("-dPh host --gpu 1 I", "run --annotation io.nvbind.gpu=1 -dPh host I"),
        // the end of options
        ("-it -- IMAGE --gpu 1", "run --annotation io.nvbind.gpu=all -it -- IMAGE --gpu 1"),
        ("--gpu 1 -- --gpu 2", "run --annotation io.nvbind.gpu=1 -- --gpu 2"),
        ("- --gpu 1", "run --annotation io.nvbind.gpu=all - --gpu 1"),
        // what no table knows goes on, without a separate value
        ("--new-in-6 I --gpu 1", "run --annotation io.nvbind.gpu=all --new-in-6 I --gpu 1"),
        ("--new-in-6=x --gpu 1 I", "run --annotation io.nvbind.gpu=1 --new-in-6=x I"),
        ("-Z --gpu 1 I", "run --annotation io.nvbind.gpu=1 -Z I"),
        // podman's global options
        ("--root /r --gpu 1 I", "run --annotation io.nvbind.gpu=1 --root /r I"),
        ("--log-level=debug --gpu 1 I", "run --annotation io.nvbind.gpu=1 --log-level=debug I"),
        ("-it -r --gpu 1 I", "-r run --annotation io.nvbind.gpu=1 -it I"),
        ("-it --url ssh://h --rm I", "--url ssh://h run --annotation io.nvbind.gpu=all -it --rm I"),
        ("--rm --connection=c I", "--connection=c run --annotation io.nvbind.gpu=all --rm I"),
        (
            "--module m -H tcp://h -c 512 I",
            "--module m -H tcp://h run --annotation io.nvbind.gpu=all -c 512 I",
        ),
        ("-rit I", "run --annotation io.nvbind.gpu=all -rit I"),
        // the OCI runtime
        ("--runtime podman I", "run --annotation io.nvbind.gpu=all I"),
        ("--rm --runtime crun I", "--runtime crun run --annotation io.nvbind.gpu=all --rm I"),
        ("--runtime=/opt/runc I", "--runtime /opt/runc run --annotation io.nvbind.gpu=all I"),
        ("--runtime crun --runtime podman I", "run --annotation io.nvbind.gpu=all I"),
    ];
    for (typed, expected) in table {
        assert_eq!(podman(typed), expected, "nvbind run {typed}");
    }
}

#[test]
fn what_the_pre_flight_learns() {
    let line = scan(
        "--annotation a=b --hooks-dir /x --hooks-dir=/y --module m --dry-run --remote=false --url u I --help",
    );
    assert!(line.options.own.dry_run);
    for (option, values) in [("annotation", &["a=b"][..]), ("hooks-dir", &["/x", "/y"]), ("module", &["m"])] {
        assert!(line.options.values(option).eq(values.iter().copied()), "{option}");
    }
    let arguments = podman_arguments(&line, Verb::Run, false, &[]);
    assert!(arguments.starts_with(&split("--module m --remote=false --url u run")), "{arguments:?}");
    assert!(arguments.ends_with(&split("--annotation a=b --hooks-dir /x --hooks-dir=/y I --help")));
}

#[test]
fn the_last_privileged_counts() {
    for (typed, expected) in [
        ("--privileged I", true),
        ("--privileged=false I", false),
        ("--privileged --privileged=0 I", false),
        ("I --privileged", false),
    ] {
        assert_eq!(scan(typed).options.is_on("privileged"), expected, "nvbind run {typed}");
    }
}

#[test]
fn isolation_can_be_switched_off_again_and_is_never_misunderstood() {
    assert_eq!(podman("--isolate --isolate=false I"), "run --annotation io.nvbind.gpu=all I");
    let isolated = "run --annotation io.nvbind.gpu=all --annotation io.nvbind.isolate=true I";
    assert_eq!(podman("--isolate=true I"), isolated);
    for option in ["--isolate", "--dry-run", "--rootless", "--verbose", "--device-rules"] {
        let wrong = CommandLine::parse(split(&format!("{option}=yes I")));
        assert_eq!(wrong, Err(Error::Switch { option: option.to_owned() }));
    }
    let own = scan("--dry-run=true --rootless=1 --verbose=false I").options.own;
    assert_eq!((own.dry_run, own.rootless, own.verbose), (true, Some(true), false));
}

#[test]
fn only_podman_and_what_it_can_start_is_a_runtime() {
    for (name, expected) in [("podman", Ok(None)), ("runc", Ok(Some("runc"))), ("./crun", Ok(Some("./crun")))]
    {
        assert_eq!(Runtime::parse(name.into()), expected.map(|name| Runtime(name.map(OsString::from))));
    }
    for name in ["docker", "", "kata"] {
        assert_eq!(Runtime::parse(name.into()), Err(Error::Runtime { name: name.to_owned() }));
    }
}

#[test]
fn nvbind_create_is_podman_create() {
    assert_eq!(Verb::find(OsStr::new("create")), Some(Verb::Create));
    assert_eq!(Verb::find(OsStr::new("plan")), None);
    let arguments = podman_arguments(&scan("--init-ctr always --gpu 1 I --gpu 2"), Verb::Create, true, &[]);
    let line = arguments.join(OsStr::new(" ")).into_string().unwrap();
    assert!(line.starts_with("create --annotation io.nvbind.gpu=1 --env "), "{line}");
    assert!(line.ends_with(" --init-ctr always I --gpu 2"), "{line}");
}

#[test]
fn each_option_that_the_help_tells_is_nvbinds_own() {
    for option in crate::args::run_options() {
        let name = format!("--{}", option.get_id());
        let value = match option.get_id().as_str() {
            "color" => Some("always"),
            "gpu" | "gpus" => Some("all"),
            _ => option.get_action().takes_values().then_some("crun"),
        };
        let line = CommandLine::parse([name.as_str()].into_iter().chain(value).map(OsString::from)).unwrap();
        assert_ne!(line.options.own, Default::default(), "{name}");
        assert_eq!(line.options.for_podman().next(), None, "{name}");
    }
}

#[test]
fn help_is_nvbinds_only_before_the_image() {
    assert!(scan("-it --help IMAGE").options.own.help);
    assert!(!scan("-it IMAGE --help").options.own.help);
    assert!(!scan("-h IMAGE").options.own.help, "-h is podman's --hostname");
}

#[test]
fn messages_have_options_and_a_v_is_podmans_volume() {
    let own = scan("--verbose --color never -v /a:/b IMAGE --color always").options.own;
    assert_eq!((own.verbose, own.color), (true, Some(ColorChoice::Never)));
    assert_eq!(podman("--verbose -v /a:/b IMAGE"), "run --annotation io.nvbind.gpu=all -v /a:/b IMAGE");
    assert_eq!(CommandLine::parse(split("--color blue IMAGE")), Err(Error::Color));
}

#[test]
fn an_option_of_nvbind_without_a_value_is_refused() {
    for option in ["--gpu", "--gpus", "--capabilities", "--extras", "--runtime", "--config", "--color"] {
        assert_eq!(
            CommandLine::parse(split(&format!("-it {option}"))),
            Err(Error::NoValue { option: option.into() })
        );
    }
    // podman has its own message
    assert_eq!(podman("--name"), "run --annotation io.nvbind.gpu=all --name");
}

#[test]
fn bytes_that_are_not_text_reach_podman_and_are_no_selection() {
    let raw = OsString::from_vec(b"-v/\xff:/x".to_vec());
    let line = CommandLine::parse([raw.clone(), OsString::from("I")]).unwrap();
    assert!(podman_arguments(&line, Verb::Run, false, &[]).ends_with(&[raw, OsString::from("I")]));
    let gpu = OsString::from_vec(b"--gpu=\xff".to_vec());
    assert_eq!(CommandLine::parse([gpu]), Err(Error::NotText { option: "--gpu".into() }));
}

#[test]
fn extras_are_read_from_the_annotation_before_the_option() {
    for (typed, extras) in [
        ("I", ""),
        ("--extras mps,imex:0 I", "mps,imex:0"),
        ("--annotation io.nvbind.extras=gds --extras mps I", "gds"),
        ("--env io.nvbind.extras=gds I", ""),
    ] {
        assert_eq!(request(typed).unwrap().extras.to_string(), extras, "nvbind run {typed}");
    }
    let error = request("--extras nvlink I").unwrap_err();
    assert_eq!(error, request::Error::Extra("nvlink".to_owned()));
}

#[test]
fn the_request_is_what_the_hook_will_read() {
    let table = [
        ("I", ("all", "all")),
        ("--gpu 0,1 --capabilities compute,utility I", ("0,1", "compute,utility")),
        ("--annotation io.nvbind.gpu=1 --gpu 0 I", ("1,0", "all")),
        ("--annotation=io.nvbind.capabilities=video --capabilities compute I", ("all", "video")),
        ("--env NVIDIA_DRIVER_CAPABILITIES=utility I", ("all", "utility")),
        ("-iteNVIDIA_DRIVER_CAPABILITIES=video I", ("all", "video")),
        ("-e=NVIDIA_DRIVER_CAPABILITIES=video -ite NVIDIA_DRIVER_CAPABILITIES=compute I", ("all", "compute")),
        ("-e NVIDIA_DRIVER_CAPABILITIES=video --capabilities ngx I", ("all", "ngx")),
        ("-v NVIDIA_DRIVER_CAPABILITIES=video -e NVIDIA_DRIVER_CAPABILITIES I", ("all", "all")),
    ];
    for (typed, (gpus, capabilities)) in table {
        let request = request(typed).unwrap();
        let found = (request.gpus.to_string(), request.capabilities.to_string());
        assert_eq!(found, (gpus.into(), capabilities.into()), "nvbind run {typed}");
    }
}

#[test]
fn device_rules_are_podmans_before_the_users_own() {
    let line = scan("--device-rules --device-cgroup-rule x I");
    assert_eq!(line.options.own.device_rules, Some(true));
    let arguments = podman_arguments(&line, Verb::Run, false, &["c 195:0 rw".to_owned()]);
    let (_, rules) = arguments.split_at(arguments.len() - 5);
    assert_eq!(rules, ["--device-cgroup-rule", "c 195:0 rw", "--device-cgroup-rule", "x", "I"]);
}
