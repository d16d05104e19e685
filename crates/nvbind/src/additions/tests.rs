//! What `nvbind run` makes of configuration files as people write them.

use super::*;
use crate::config::parse;
use crate::podman::invocation::Wanted;

/// A configuration for a machine of one's own, for rootless containers, for games, and all of them in one file.
const DEFAULT: &str = include_str!("../../../../tests/fixtures/config/default.toml");
const ROOTLESS: &str = include_str!("../../../../tests/fixtures/config/rootless.toml");
const GAMING: &str = include_str!("../../../../tests/fixtures/config/gaming.toml");
const TOGETHER: &str = include_str!("../../../../tests/fixtures/config/together.toml");

/// A user's shell on a desktop.
const USER: Caller<'static> = Caller {
    verb: Verb::Run,
    is_root: false,
    has_terminal: true,
    variable: &|name| (name == "DISPLAY").then(|| OsString::from(":0")),
    host: &This,
};

/// root's, as a service has it.
const ROOT: Caller<'static> =
    Caller { verb: Verb::Run, is_root: true, has_terminal: false, variable: &|_name| None, host: &This };

/// A user's file `config.toml` with only this text.
fn configuration(text: &str) -> Configuration {
    let values = parse(text, Path::new("config.toml")).unwrap();
    Configuration { settings: values.settings().unwrap(), values, lost: Vec::new() }
}

/// The command line `nvbind run TYPED` with this configuration, and the notes.
pub(super) fn configured(text: &str, typed: &str, caller: Caller<'_>) -> (CommandLine, Vec<String>) {
    let mut line = CommandLine::parse(typed.split_whitespace().map(OsString::from)).unwrap();
    let notes = add(&mut line, &configuration(text), caller).unwrap();
    (line, notes)
}

/// What podman is told.
pub(super) fn told(line: &CommandLine, verb: Verb) -> String {
    line.invocation(verb, &Wanted::of(line), false, &[])
        .arguments()
        .join(OsStr::new(" "))
        .into_string()
        .unwrap()
}

/// podman's command line after `nvbind run TYPED`, without what nvbind always adds, and the notes.
fn podman(text: &str, typed: &str, caller: Caller<'_>) -> (String, Vec<String>) {
    let (line, notes) = configured(text, typed, caller);
    let text = told(&line, caller.verb);
    let (before, after) = text.split_once(" --env NVIDIA_VISIBLE_DEVICES=all").unwrap();
    let after = after.strip_prefix(" --env CUDA_DEVICE_ORDER=PCI_BUS_ID").unwrap();
    (format!("{before}{after}").replace(" --annotation io.nvbind.gpu=all", ""), notes)
}

#[test]
fn a_users_default_configuration() {
    let (line, notes) = podman(DEFAULT, "I", USER);
    let expected = "run --annotation io.nvbind.isolate=true --rm -it --env NVIDIA_DRIVER_CAPABILITIES=all --security-opt label=type:container_runtime_t I";
    assert_eq!((line.as_str(), notes), (expected, Vec::new()));
    let (line, notes) = podman(DEFAULT, "-d --restart always --isolate=false I", ROOT);
    let expected = "run -i --env NVIDIA_DRIVER_CAPABILITIES=all --security-opt label=type:container_runtime_t -d --restart always I";
    let left_out = [
        "--rm of runtime.default_args (config.toml:3) is left out: podman does not take it with the --restart of the command line",
        "--tty of runtime.default_args (config.toml:3) is left out: stdin is no terminal",
    ];
    assert_eq!((line.as_str(), notes), (expected, left_out.map(str::to_owned).to_vec()));
}

#[test]
fn a_configuration_for_rootless_containers() {
    let (line, notes) = podman(ROOTLESS, "I", USER);
    let rules = "--device-cgroup-rule of runtime.default_args (config.toml:8) is left out: podman has no device rules for rootless containers, whose devices nothing filters";
    assert_eq!(
        (line.as_str(), notes),
        ("run --rm -it --security-opt label=disable I", vec![rules.to_owned()])
    );
    let (line, _) = podman(ROOTLESS, "I", Caller { has_terminal: true, ..ROOT });
    let expected = "run --rm -it --security-opt label=disable --device-cgroup-rule c 195:* rmw --device-cgroup-rule c 510:0 rmw I";
    assert_eq!(line, expected);
}

#[test]
fn a_configuration_for_games() {
    let variables = "--env MESA_GL_VERSION_OVERRIDE=4.6 --env NVIDIA_DLSS_ENABLED=1 --env NVIDIA_DRIVER_CAPABILITIES=all --env NVIDIA_RT_CORES_ENABLED=1 --env PULSE_RUNTIME_PATH=/run/user/1000/pulse --env __GL_SHADER_DISK_CACHE=1 --env __GL_SHADER_DISK_CACHE_PATH=/tmp --env __GL_THREADED_OPTIMIZATIONS=1";
    let (line, notes) = podman(GAMING, "-e DISPLAY=:1 I", USER);
    assert_eq!((line, notes), (format!("run --env DISPLAY=:0 {variables} -e DISPLAY=:1 I"), Vec::new()));
    let (line, notes) = podman(GAMING, "I", ROOT);
    let unset = "runtime.environment.DISPLAY (config.toml:10) is left out: DISPLAY is not set here";
    assert_eq!((line, notes), (format!("run {variables} I"), vec![unset.to_owned()]));
}

#[test]
fn all_three_in_one_file() {
    let (line, notes) = podman(TOGETHER, "I", USER);
    assert!(line.starts_with("run --rm -it --security-opt label=disable --env DISPLAY=:0 "), "{line}");
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn every_key_reaches_podman_before_what_the_user_types() {
    let text = r#"
[runtime]
default_runtime = "crun"
default_args = ["--log-level=debug", "--module", "m", "--capabilities", "compute", "-v", "/a:/b"]
[gpu]
default_selection = "all"
additional_devices = ["/dev/input"]
additional_libraries = ["/etc/passwd", "/nonexistent/lib.so"]
"#;
    let (line, notes) = podman(text, "--name x I c", USER);
    let expected = "--runtime crun --module m run --annotation io.nvbind.capabilities=compute --log-level=debug -v /a:/b --device /dev/input --volume /etc/passwd:/etc/passwd:ro --name x I c";
    assert_eq!(line.replace(" --env CUDA_DEVICE_ORDER=PCI_BUS_ID", ""), expected);
    let missing = "/nonexistent/lib.so of gpu.additional_libraries (config.toml:8) is left out: it is not on this machine";
    assert_eq!(notes, [missing]);
    let (line, _) = podman(text, "--runtime podman --capabilities all --gpu all I", USER);
    assert!(line.starts_with("--module m run --annotation io.nvbind.capabilities=all --log"), "{line}");
}

/// The selection, capabilities and isolation that the hook will read.
fn request(text: &str, typed: &str) -> (String, String, bool) {
    let line = configured(text, typed, USER).0;
    let request = line.request(&Wanted::of(&line)).unwrap().unwrap();
    (request.gpus.to_string(), request.capabilities.to_string(), request.isolate)
}

#[test]
fn the_pre_flight_sees_the_configuration() {
    let text = "[gpu]\ndefault_selection = '0'\nenable_isolation = true\n[runtime.environment]\nNVIDIA_DRIVER_CAPABILITIES = 'compute'\n";
    for (typed, gpus, capabilities, isolate) in [
        ("I", "0", "compute", true),
        ("--gpu 1 I", "1", "compute", true),
        ("--isolate=false -e NVIDIA_DRIVER_CAPABILITIES=video I", "0", "video", false),
        ("--capabilities ngx --annotation io.nvbind.gpu=2 I", "2", "ngx", true),
    ] {
        assert_eq!(request(text, typed), (gpus.into(), capabilities.into(), isolate), "nvbind run {typed}");
    }
}

#[test]
fn the_selection_decides_what_programs_are_told_and_no_variable_of_the_configuration_does() {
    let text = "[runtime]\ndefault_args = ['-e', 'NVIDIA_VISIBLE_DEVICES=5', '--rm']\nenvironment.NVIDIA_VISIBLE_DEVICES = '3'\n";
    let (line, notes) = podman(text, "I", USER);
    assert_eq!(line, "run --rm I");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(request(text, "-e NVIDIA_VISIBLE_DEVICES=7 I").0, "7");
}

#[test]
fn what_is_typed_is_not_widened_by_the_configuration() {
    let selection = "[gpu]\ndefault_selection = 'all'\n";
    let devices = "[gpu]\ndefault_selection = '2'\nadditional_devices = ['nvidia.com/gpu=3', '/dev/x']\n";
    let arguments =
        "[gpu]\ndefault_selection = '2'\n[runtime]\ndefault_args = ['--gpu', '3', '--gpus=device=4']\n";
    let profile = "[runtime]\ndefault_args = ['--gpu=3']\n[profiles.p]\nargs = ['--gpu', '5', '--device=nvbind.io/gpu=6']\n";
    for (text, typed, expected) in [
        (selection, "--device nvidia.com/gpu=1 I", "1"),
        (selection, "-e NVIDIA_VISIBLE_DEVICES=1 I", "1"),
        (selection, "--gpus device=1 I", "1"),
        (selection, "--annotation io.nvbind.gpu=1 I", "1"),
        (devices, "I", "3"),
        (devices, "--gpu 1 I", "1"),
        (arguments, "I", "3,4"),
        (arguments, "--gpu 1 I", "1"),
        (profile, "I", "3"),
        (profile, "--profile p I", "5,6"),
        (profile, "--profile p --gpus all I", "all"),
    ] {
        assert_eq!(request(text, typed).0, expected, "{text} nvbind run {typed}");
    }
    let (line, _) = podman(&devices.replace("=3", "=all"), "I", USER);
    assert_eq!(line, "run --device /dev/x I");
}

#[test]
fn default_arguments_that_podman_would_refuse_are_left_out() {
    let create = Caller { verb: Verb::Create, ..USER };
    for (arguments, typed, caller, expected) in [
        ("'-dit', '--sig-proxy=false', '--detach-keys', 'a'", "I", create, "create -it I"),
        ("'-d', '--rm'", "I", USER, "run -d --rm I"),
        ("'--rm'", "--restart=on-failure I", USER, "run --rm --restart=on-failure I"),
        ("'--rm'", "--restart=always --restart no I", USER, "run --rm --restart=always --restart no I"),
        ("'--restart=always'", "--rm I", USER, "run --rm I"),
        ("'--restart', 'always'", "--rm=false I", USER, "run --restart always --rm=false I"),
        ("'--rmi'", "--restart always I", USER, "run --restart always I"),
        ("'--uts=host', '--shm-size=1g'", "--hostname x I", USER, "run --shm-size=1g --hostname x I"),
        ("'--uts=host', '--shm-size', '1g'", "--ipc host I", USER, "run --uts=host --ipc host I"),
        ("'--tty=false', '-ti'", "I", ROOT, "run --tty=false -i I"),
    ] {
        let text = format!("[runtime]\ndefault_args = [{arguments}]\n");
        assert_eq!(podman(&text, typed, caller).0, expected, "{arguments} {typed}");
    }
}
