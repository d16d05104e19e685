//! Files as people write them.

use super::*;
use std::fs;
use tempfile::TempDir;

/// A user's file `config.toml` of this text alone.
fn configuration(text: &str) -> Result<Configuration, Error> {
    Configuration::new(parse(text, Path::new("config.toml"))?, &Values::default())
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
            "[runtime]\ndefault_args = ['--isolate=maybe']",
            "config.toml:2:1: runtime.default_args cannot be used: --isolate takes no value but true or false",
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
        assert_eq!(nvbind_core::message::line(&error), expected);
    }
}

#[test]
fn the_defaults_are_what_the_parser_has() {
    for key in keys::KEYS {
        let path = [key.table.to_owned(), key.name.to_owned()];
        assert!(effective(&Values::default(), &path).is_some(), "{path:?}");
    }
}
