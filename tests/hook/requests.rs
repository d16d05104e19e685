//! The hook's arguments, the state on stdin, and what the annotations ask for.

use crate::world::{HOOK, World};
use crate::{Case, case, check, records};
use nix::mount::{MsFlags, mount};
use nvbind_core::oci::STATE_LIMIT;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// The GPUs of the fixture, as a refusal lists them.
macro_rules! there_is {
    () => {
        "this machine has 0 (GPU-aaaa0000-0000-0000-0000-000000000001, 0000:01:00.0), 1 (GPU-bbbb0000-0000-0000-0000-000000000002, 0000:41:00.0)"
    };
}

fn state(world: &mut World, text: &str) {
    world.state = text.into();
}

const STATES: &[Case] = &[
    case(
        "empty",
        2,
        "the container state on stdin is empty; nvbind-hook is started by an OCI runtime, not by hand",
        |world| state(world, ""),
    ),
    case(
        "white space",
        2,
        "the container state on stdin is empty; nvbind-hook is started by an OCI runtime, not by hand",
        |world| state(world, " \n\t "),
    ),
    case(
        "truncated",
        2,
        "the container state on stdin is not usable: EOF while parsing a string at line 1 column 20",
        |world| world.state.truncate(20),
    ),
    case(
        "no JSON",
        2,
        "the container state on stdin is not usable: expected value at line 1 column 1",
        |world| state(world, "hello"),
    ),
    case(
        "no text",
        2,
        "the container state on stdin is not usable: expected value at line 1 column 1",
        |world| world.state = vec![0xff; 4096],
    ),
    case(
        "an array",
        2,
        "the container state on stdin is not usable: invalid length 0, expected struct State with 5 elements at line 1 column 2",
        |world| state(world, "[]"),
    ),
    case(
        "nested deeper than a stack",
        2,
        "the container state on stdin is not usable: EOF while parsing a list at line 1 column 100005",
        |world| state(world, &format!(r#"{{"x":{}"#, "[".repeat(100_000))),
    ),
    case("larger than the limit", 2, "the container state on stdin is larger than 4194304 bytes", |world| {
        let room = usize::try_from(STATE_LIMIT).unwrap() + 1 - world.state.len();
        world.state.extend(" ".repeat(room).bytes());
    }),
    case(
        "an id that is a path",
        2,
        r#"the container state names the container "../x", which is no container id"#,
        |world| state(world, r#"{"id":"../x","pid":PID,"bundle":"/"}"#),
    ),
    case(
        "an id that speaks to the terminal",
        2,
        r#"the container state names the container "a\u{1b}[31m\nb", which is no container id"#,
        |world| state(world, "{\"id\":\"a\\u001b[31m\\nb\",\"bundle\":\"/\"}"),
    ),
    case(
        "no bundle",
        2,
        "the container state on stdin is not usable: missing field `bundle` at line 1 column 10",
        |world| state(world, r#"{"id":"a"}"#),
    ),
    case(
        "a pid that is no pid",
        2,
        "the container state on stdin is not usable: invalid value: integer `99999999999`, expected i32 at line 1 column 27",
        |world| state(world, r#"{"id":"a","pid":99999999999, "bundle":"/"}"#),
    ),
];

const PIDS: &[Case] = &[
    case(
        "zero",
        2,
        "container c0ffee: the container state has no usable pid (0); hooks of stage prestart need one",
        |world| pid(world, "0"),
    ),
    case(
        "init",
        2,
        "container c0ffee: the container state has no usable pid (1); hooks of stage prestart need one",
        |world| pid(world, "1"),
    ),
    case(
        "negative",
        2,
        "container c0ffee: the container state has no usable pid (-1); hooks of stage prestart need one",
        |world| pid(world, "-1"),
    ),
    case(
        "above every pid",
        2,
        "container c0ffee: the container's process 2147483647 is gone; was the container killed while it started?",
        |world| pid(world, "2147483647"),
    ),
];

fn pid(world: &mut World, pid: &str) {
    let text = String::from_utf8(world.state.clone()).unwrap();
    world.state = text.replace("PID", pid).into_bytes();
}

const REQUESTS: &[Case] = &[
    case(
        "an index that is not there",
        3,
        concat!("container c0ffee: there is no GPU 7; ", there_is!()),
        |world| world.request(r#""io.nvbind.gpu":"0,7""#),
    ),
    case(
        "a UUID that is not there",
        3,
        concat!("container c0ffee: there is no GPU GPU-cc; ", there_is!()),
        |world| world.request(r#""io.nvbind.gpu":"GPU-cc""#),
    ),
    case(
        "an ambiguous UUID",
        3,
        "container c0ffee: GPU-a means more than one GPU; this machine has 0 (GPU-aaaa0000-0000-0000-0000-000000000001, 0000:01:00.0), 1 (GPU-ab, 0000:41:00.0)",
        |world| {
            world.driver.gpu("0000:41:00.0", 0, "GPU-ab", &[]);
            world.request(r#""io.nvbind.gpu":"GPU-a""#);
        },
    ),
    case(
        "a path",
        2,
        r#"container c0ffee: "../../dev/sda" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none"#,
        |world| world.request(r#""io.nvbind.gpu":"../../dev/sda""#),
    ),
    case(
        "an empty entry",
        2,
        r#"container c0ffee: the GPU selection "0,,1" has an empty entry; write all, none, or a list such as 0,1"#,
        |world| world.request(r#""io.nvbind.gpu":"0,,1""#),
    ),
    case(
        "a capability that is none",
        2,
        r#"container c0ffee: "cuda" is no driver capability: there are compute, utility, graphics, video, display, ngx, compat32, all"#,
        |world| world.request(r#""io.nvbind.gpu":"all","io.nvbind.capabilities":"compute,cuda""#),
    ),
    case(
        "an extra that is none",
        2,
        r#"container c0ffee: "../imex" is no extra: there are mps, imex, imex:N (a channel below 1048576), nvswitch, gds, gdrcopy, infiniband"#,
        |world| world.request(r#""io.nvbind.gpu":"all","io.nvbind.extras":"mps,../imex""#),
    ),
    case(
        "a mistyped annotation",
        2,
        "container c0ffee: there is no annotation io.nvbind.gpus: there are io.nvbind.gpu, io.nvbind.capabilities, io.nvbind.extras, io.nvbind.isolate",
        |world| world.request(r#""io.nvbind.gpus":"0""#),
    ),
    case(
        "a mistyped annotation beside another",
        2,
        "container c0ffee: there is no annotation io.nvbind.capability: there are io.nvbind.gpu, io.nvbind.capabilities, io.nvbind.extras, io.nvbind.isolate",
        |world| world.request(r#""io.nvbind.gpu":"0","io.nvbind.capability":"utility""#),
    ),
    case(
        "capabilities of no GPU",
        2,
        "container c0ffee: io.nvbind.capabilities asks for no GPU by itself: add io.nvbind.gpu=all, or the GPUs that are meant",
        |world| world.request(r#""io.nvbind.capabilities":"compute""#),
    ),
];

#[test]
fn in_a_pod_an_annotation_of_no_gpu_is_anothers() {
    for (annotations, code) in [
        (r#""io.nvbind.capabilities":"compute","io.kubernetes.cri-o.SandboxID":"ab""#, 0),
        (r#""io.nvbind.isolate":"true","io.kubernetes.cri.sandbox-id":"ab""#, 0),
        (r#""io.nvbind.gpus":"0","io.kubernetes.cri-o.SandboxID":"ab""#, 2),
    ] {
        let Some(mut world) = World::new() else { return };
        world.request(annotations);
        world.start();
        let before = world.snapshot();
        let ended = world.hook();
        assert_eq!(ended.code, Some(code), "{annotations}: {}", ended.says);
        world.assert_same(&before, annotations);
    }
}

const ARGUMENTS: &[(&[&str], i32, &str)] = &[
    (
        &[],
        2,
        "usage: nvbind-hook prestart|createContainer [--cdi|--visible-devices] [--driver-root DIR] [--config FILE] < STATE",
    ),
    (
        &["poststop"],
        2,
        "usage: nvbind-hook prestart|createContainer [--cdi|--visible-devices] [--driver-root DIR] [--config FILE] < STATE",
    ),
    (
        &["prestart", "--root", "/"],
        2,
        r#""--root" is no option of nvbind-hook; there are --cdi, --visible-devices, --driver-root DIR and --config FILE"#,
    ),
    (&["prestart", "--config"], 2, "--config needs an absolute path"),
    (&["prestart", "--driver-root", "driver"], 2, "--driver-root needs an absolute path"),
    (
        &["prestart", "--driver-root", "/nvbind-is-not-here"],
        3,
        "container c0ffee: cannot read /nvbind-is-not-here: No such file or directory (os error 2)",
    ),
];

#[test]
fn a_state_that_is_none_is_refused() {
    check(STATES);
}

#[test]
fn a_process_that_is_no_container_s_is_refused() {
    check(PIDS);
}

#[test]
fn a_request_that_cannot_be_met_is_refused() {
    check(REQUESTS);
}

#[test]
fn arguments_that_are_none_are_refused() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = world.snapshot();
    for (arguments, exit, says) in ARGUMENTS {
        world.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let ended = world.hook();
        assert_eq!(
            (ended.code, ended.says),
            (Some(*exit), format!("nvbind-hook: {says}\n")),
            "{arguments:?}"
        );
    }
    world.assert_same(&before, "");
}

#[test]
fn a_process_in_the_host_s_own_mount_namespace_is_no_container() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    pid(&mut world, &bystander.id().to_string());
    let before = world.snapshot();
    let ended = world.hook();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    let says = "nvbind-hook: container c0ffee: the container has no mount namespace of its own; nothing was injected\n";
    assert_eq!((ended.code, ended.says.as_str()), (Some(5), says));
    world.assert_same(&before, "");
}

#[test]
fn without_the_annotation_nothing_is_read() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = world.snapshot();
    for annotations in ["{}", r#"{"io.nvbindx.gpu":"all","nvbind.gpu":"all"}"#] {
        state(&mut world, &format!(r#"{{"id":"a","bundle":"/not/here","annotations":{annotations}}}"#));
        world.arguments = ["prestart", "--driver-root", "/not/here"].map(str::to_owned).to_vec();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{annotations}");
    }
    world.assert_same(&before, "");
}

#[test]
fn closed_or_odd_standard_streams_end_in_a_documented_code() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = world.snapshot();
    let empty = "nvbind-hook: the container state on stdin is empty; nvbind-hook is started by an OCI runtime, not by hand\n";
    for (redirection, exit, says) in [
        ("<&-", 2, empty),
        ("</dev/null", 2, empty),
        ("<&- 2>&-", 2, ""),
        ("<&- 2>/dev/full", 2, ""),
        ("<&- >&- 2>&-", 2, ""),
        ("</", 2, "nvbind-hook: cannot read the container state from stdin: Is a directory (os error 21)\n"),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {HOOK} prestart {redirection}")]);
        let ended = world.run(&mut command);
        assert_eq!((ended.code, ended.says.as_str()), (Some(exit), says), "{redirection}");
    }
    world.assert_same(&before, "");
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_a_container_from_starting() {
    let Some(mut world) = World::new() else { return };
    // The machine's own /dev may have no socket to mount one on.
    for name in ["dev-upper", "dev-work"] {
        std::fs::create_dir(world.path("scratch").join(name)).unwrap();
    }
    let scratch = world.path("scratch").display().to_string();
    let options = format!("lowerdir=/dev,upperdir={scratch}/dev-upper,workdir={scratch}/dev-work");
    mount(Some("overlay"), "/dev", Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
    let _ = std::fs::remove_file("/dev/log");
    let log = UnixDatagram::bind("/dev/log").unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"full", "/dev/log").is_ok() {}
    world.request(r#""io.nvbind.gpu":"0""#);
    world.start();
    let ended = records::hook_in_time(&world);
    assert_eq!(ended.code, Some(0), "{}", ended.says);
    drop(log);
}

#[test]
fn a_message_repeats_no_more_of_an_annotation_than_anybody_reads() {
    let Some(mut world) = World::new() else { return };
    world.request(&format!(r#""io.nvbind.gpu":"{}""#, "x".repeat(1 << 20)));
    world.start();
    let ended = world.hook();
    assert_eq!(ended.code, Some(2));
    let [record] = records::all("/run/nvbind/failures").try_into().unwrap();
    for text in [ended.says, record.reason] {
        assert!((4 << 10..5 << 10).contains(&text.len()), "{} bytes", text.len());
    }
}

#[test]
fn nvidia_s_own_hook_and_this_one_do_not_both_inject() {
    let hooks = r#","hooks":{"prestart":[{"path":"/usr/bin/nvidia-container-runtime-hook"}]}"#;
    for (value, code) in [("all", 2), ("void", 0), ("", 0)] {
        let Some(mut world) = World::new() else { return };
        let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
        let process = format!(r#","process":{{"env":["NVIDIA_VISIBLE_DEVICES={value}"]}}"#);
        world.config(&root, &format!("{hooks}{process}"));
        world.start();
        let ended = world.hook();
        assert_eq!(ended.code, Some(code), "{}", ended.says);
        let told = ended.says.contains("NVIDIA's own hook /usr/bin/nvidia-container-runtime-hook would give");
        assert_eq!(told, code != 0, "{}", ended.says);
    }
}
