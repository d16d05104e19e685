//! Files as people write them, and what `nvbind run` makes of them.

use super::*;
use crate::podman::command_line::{CommandLine, Verb};
use crate::profiles::This;
use std::ffi::OsString;
use std::fs;
use tempfile::TempDir;

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

/// A user's file `config.toml` of this text alone.
fn configuration(text: &str) -> Result<Configuration, Error> {
    Configuration::new(parse(text, Path::new("config.toml"))?, &Values::default())
}

/// podman's command line after `nvbind run TYPED`, without what nvbind always adds, and the notes.
fn podman(text: &str, typed: &str, caller: Caller<'_>) -> (String, Vec<String>) {
    let typed: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
    let words = configuration(text).unwrap().words(&typed, caller).unwrap();
    let line = CommandLine::parse(words.words).unwrap();
    let arguments = line.podman_arguments(caller.verb, false, &[]);
    let text = arguments.join(OsStr::new(" ")).into_string().unwrap();
    let (before, after) = text.split_once(" --env NVIDIA_VISIBLE_DEVICES=all").unwrap();
    let after = after.strip_prefix(" --env CUDA_DEVICE_ORDER=PCI_BUS_ID").unwrap();
    (format!("{before}{after}").replace(" --annotation io.nvbind.gpu=all", ""), words.notes)
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
    let typed: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
    let words = configuration(text).unwrap().words(&typed, USER).unwrap().words;
    let request = CommandLine::parse(words).unwrap().request().unwrap();
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
fn the_selection_decides_what_programs_are_told_and_only_the_user_changes_that() {
    let text = "[runtime]\ndefault_args = ['-e', 'NVIDIA_VISIBLE_DEVICES=5', '--rm']\nenvironment.NVIDIA_VISIBLE_DEVICES = '3'\n";
    let (line, notes) = podman(text, "-e NVIDIA_VISIBLE_DEVICES=7 I", USER);
    assert_eq!(line, "run --rm -e NVIDIA_VISIBLE_DEVICES=7 I");
    assert_eq!(notes.len(), 2, "{notes:?}");
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

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, error, hint) in [
        (
            "[runtime]\n  defualt_args = []",
            "config.toml:2:3: there is no runtime.defualt_args in the configuration",
            "did you mean runtime.default_args?",
        ),
        ("[runtme]\n", "config.toml:1:2: there is no runtme in the configuration", "did you mean [runtime]?"),
        (
            "x = 1",
            "config.toml:1:1: there is no x in the configuration",
            "there are driver, runtime, gpu, security, profiles",
        ),
        (
            "[gpu]\nenable_isolation = 'yes'",
            "config.toml:2:20: invalid type: string \"yes\", expected a boolean",
            "",
        ),
        ("[runtime.environment]\nA = 1", "config.toml:2:5: invalid type: integer `1`, expected a string", ""),
        ("driver = 1", "config.toml:1:10: invalid type: integer `1`, expected struct Driver", ""),
        ("[runtime]\n[runtime]", "config.toml:2:2: duplicate key", ""),
        ("[runtime", "config.toml:1:9: unclosed table, expected `]`", ""),
        ("[driver]\nroot = 'x'", "config.toml: driver.root has to be an absolute path, not \"x\"", ""),
        (
            "[runtime]\ndefault_runtime = 'docker'",
            "config.toml:2:1: runtime.default_runtime cannot be used: \"docker\" is no runtime that nvbind can use: write podman, crun, runc or the path of an OCI runtime",
            "",
        ),
        (
            "[gpu]\ndefault_selection = '0,,1'",
            "config.toml:2:1: gpu.default_selection cannot be used: the GPU selection \"0,,1\" has an empty entry; write all, none, or a list such as 0,1",
            "",
        ),
        (
            "[runtime]\ndefault_args = ['--rm', 'ubuntu']",
            "config.toml:2:1: runtime.default_args cannot be used: ubuntu is no option, and would be the image; a value of an option that nvbind does not know is written --option=value",
            "",
        ),
        (
            "[runtime]\ndefault_args = ['-v']",
            "config.toml:2:1: runtime.default_args cannot be used: --volume needs a value",
            "",
        ),
        (
            "[runtime]\ndefault_args = ['--dry-run']",
            "config.toml:2:1: runtime.default_args cannot be used: --dry-run is for the command line",
            "",
        ),
        (
            "[runtime.environment]\nA = 'a $ b'",
            "config.toml:2:1: runtime.environment.A cannot be used: $ has to be followed by a name; a dollar is written $$",
            "",
        ),
        (
            "[runtime.environment]\n'A=B' = ''",
            "config.toml:2:1: runtime.environment.A=B cannot be used: this is no name of a variable",
            "",
        ),
        (
            "[profiles.x]\nargs = []\nvolume = []",
            "config.toml:3:1: there is no profiles.x.volume in the configuration",
            "did you mean profiles.x.volumes?",
        ),
        ("[profiles]\nx = 1", "config.toml:2:5: invalid type: integer `1`, expected struct Profile", ""),
        (
            "[profiles.x]",
            "config.toml:1:11: profiles.x cannot be used: it says nothing; `nvbind config init` writes a file with all keys",
            "",
        ),
        (
            "profiles.x.args = ['--profile', 'gaming']",
            "config.toml:1:12: profiles.x.args cannot be used: --profile is for the command line",
            "",
        ),
        (
            "profiles.x.args = ['-v']",
            "config.toml:1:12: profiles.x.args cannot be used: --volume needs a value",
            "",
        ),
        (
            "profiles.x.capabilities = 'compute,grafics'",
            "config.toml:1:12: profiles.x.capabilities cannot be used: \"grafics\" is no driver capability: there are compute, utility, graphics, video, display, ngx, compat32, all",
            "",
        ),
        (
            "profiles.x.extras = ['mps', 'sockets']",
            "config.toml:1:12: profiles.x.extras cannot be used: \"sockets\" is no extra: there are mps, imex, imex:N (a channel below 1048576), nvswitch, gds, gdrcopy, infiniband",
            "",
        ),
        (
            "profiles.x.environment.NVIDIA_VISIBLE_DEVICES = '0'",
            "config.toml:1:24: profiles.x.environment.NVIDIA_VISIBLE_DEVICES cannot be used: --gpu names the GPUs",
            "",
        ),
        (
            "profiles.x.volumes = ['/a']",
            "config.toml:1:12: profiles.x.volumes cannot be used: /a is no volume: write HOST:CONTAINER or HOST:CONTAINER:OPTIONS",
            "",
        ),
        (
            "profiles.x.devices = ['$']",
            "config.toml:1:12: profiles.x.devices cannot be used: $ has to be followed by a name; a dollar is written $$",
            "",
        ),
        (
            "profiles.x.ulimits = ['memlock']",
            "config.toml:1:12: profiles.x.ulimits cannot be used: memlock is no limit: write NAME=SOFT or NAME=SOFT:HARD",
            "",
        ),
        (
            "[gpu]\nadditional_libraries = ['lib.so']",
            "config.toml:2:1: gpu.additional_libraries cannot be used: lib.so is no absolute path",
            "",
        ),
        (
            "[gpu]\nadditional_libraries = ['/a:b']",
            "config.toml:2:1: gpu.additional_libraries cannot be used: podman can't mount /a:b: it has a colon",
            "",
        ),
    ] {
        let found = configuration(text).unwrap_err();
        let hints = (!hint.is_empty()).then(|| hint.to_owned());
        assert_eq!((found.to_string(), found.hint()), (error.to_owned(), hints), "{text}");
    }
}

#[test]
fn a_later_file_overrides_key_by_key() {
    let dir = TempDir::new().unwrap();
    let layer = |name: &str, kind, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Layer { path, kind }
    };
    let layers = [
        layer(
            "system",
            Kind::System,
            "[driver]\nroot = '/d'\n[runtime]\ndefault_args = ['--rm', '-it']\nenvironment = {A = '1', B = '2'}\n[gpu]\ndefault_selection = '0'\n",
        ),
        Layer { path: dir.path().join("not-there"), kind: Kind::User },
        layer(
            "named",
            Kind::Named,
            "[driver]\nroot = '/mine'\nsys_root = '/'\n[runtime]\ndefault_args = ['-q']\n[runtime.environment]\nB = '3'\nC = '4'\n",
        ),
    ];
    let configuration = Configuration::load(&layers).unwrap();
    let Settings { driver, runtime, gpu, .. } = &configuration.settings;
    assert_eq!(runtime.default_args, ["-q"]);
    let environment: Vec<String> =
        runtime.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(environment, ["A=1", "B=3", "C=4"]);
    assert_eq!(gpu.default_selection, "0");
    // What the hook does not read changes nothing, and is told where it would change something.
    assert_eq!(driver.root, Path::new("/d"));
    let lost = format!(
        "driver.root of {}:2 does not reach the hook, which reads {SYSTEM_FILE} alone",
        layers[2].path.display()
    );
    assert_eq!(configuration.lost, [lost]);
    let origin = configuration.values.origin(&["runtime", "environment", "B"]).unwrap();
    assert_eq!((&origin.file, origin.line), (&layers[2].path, 7));
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let missing = |kind| Layer { path: "/nonexistent/nvbind.toml".into(), kind }.read();
    assert_eq!(missing(Kind::User).unwrap(), None);
    let error = missing(Kind::Named).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration /nonexistent/nvbind.toml");
}

#[test]
fn what_no_file_can_be_is_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.toml");
    for (bytes, why) in [
        (vec![b'#'; (1 << 20) + 1], "it is larger than 1048576 bytes"),
        (vec![0xff], "invalid utf-8 sequence of 1 bytes from index 0"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = Layer { path: path.clone(), kind: Kind::Named }.read().unwrap_err();
        let expected = format!("cannot read the configuration {}: {why}", path.display());
        assert_eq!(crate::failure::line(&error), expected);
    }
}

#[test]
fn the_defaults_are_what_the_parser_has() {
    for key in keys::KEYS {
        let path = [key.table.to_owned(), key.name.to_owned()];
        assert!(effective(&Values::default(), &path).is_some(), "{path:?}");
    }
}
