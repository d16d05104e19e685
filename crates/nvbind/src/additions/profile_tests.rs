//! The built-in profiles and users' own, on machines that are not there.

use super::tests::{configured, told};
use super::*;
use crate::podman::invocation::Wanted;
use std::path::PathBuf;

/// A simulated machine: files, those that the user may read, the user's own, and hard limits.
#[derive(Default)]
struct Simulated {
    files: &'static [&'static str],
    secret: &'static [&'static str],
    own: &'static [&'static str],
    memlock: Option<u64>,
}

impl Simulated {
    fn below(&self, directory: &Path) -> impl Iterator<Item = PathBuf> {
        let below = |path: &&&str| Path::new(path).parent() == Some(directory);
        self.files.iter().filter(below).map(PathBuf::from).collect::<Vec<_>>().into_iter()
    }
}

impl Host for Simulated {
    fn exists(&self, path: &Path) -> bool {
        self.files.iter().any(|file| Path::new(file).starts_with(path))
    }

    fn is_readable(&self, path: &Path) -> bool {
        self.exists(path) && !self.secret.iter().any(|file| Path::new(file) == path)
    }

    fn is_own(&self, path: &Path) -> bool {
        self.own.iter().any(|file| Path::new(file) == path)
    }

    fn names(&self, directory: &Path) -> Vec<OsString> {
        self.below(directory).filter_map(|path| path.file_name().map(OsString::from)).collect()
    }

    fn limit_below(&self, name: &str, wanted: u64) -> Option<u64> {
        self.memlock.filter(|hard| name == "memlock" && *hard < wanted)
    }
}

const DESKTOP: Simulated = Simulated {
    files: &[
        "/tmp/.X11-unix/X0",
        "/home/u/.Xauthority",
        "/run/user/1000/wayland-0",
        "/run/user/1000/pulse/native",
        "/run/user/1000/pipewire-0",
        "/dev/input/event0",
        "/dev/input/event1",
        "/home/u/games",
    ],
    secret: &["/dev/input/event0"],
    own: &[],
    memlock: Some(8_388_608),
};

const SERVER: Simulated = Simulated {
    files: &["/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0", "/dev/input/event0"],
    secret: &["/dev/input/event0"],
    own: &["/tmp/nvidia-mps"],
    memlock: None,
};

fn variable(name: &str) -> Option<OsString> {
    let value = match name {
        "DISPLAY" => ":0",
        "HOME" => "/home/u",
        "XDG_RUNTIME_DIR" => "/run/user/1000",
        "WAYLAND_DISPLAY" => "wayland-0",
        "TRICKY" => "/a:/b",
        _ => return None,
    };
    Some(value.into())
}

fn user(host: &dyn Host) -> Caller<'_> {
    Caller { verb: Verb::Run, is_root: false, has_terminal: true, variable: &variable, host }
}

fn root(host: &dyn Host) -> Caller<'_> {
    Caller { is_root: true, variable: &|_name| None, ..user(host) }
}

/// Everything after `podman run`, without what nvbind always adds, and the notes.
fn podman(text: &str, typed: &str, caller: Caller<'_>) -> (String, Vec<String>) {
    let (line, notes) = configured(text, typed, caller);
    line.request(&Wanted::of(&line)).unwrap();
    let text = told(&line, caller.verb);
    let always = [
        "run --annotation io.nvbind.gpu=all",
        " --env NVIDIA_VISIBLE_DEVICES=all",
        " --env CUDA_DEVICE_ORDER=PCI_BUS_ID",
    ];
    let line = always.iter().fold(text, |text, options| text.replace(options, ""));
    (line.trim_start().to_owned(), notes)
}

const GAMING_ON_A_DESKTOP: &str = "--uts=host --volume /tmp/.X11-unix:/tmp/.X11-unix:ro --volume /home/u/.Xauthority:/run/session/xauthority:ro --volume /run/user/1000/wayland-0:/run/session/wayland --volume /run/user/1000/pulse/native:/run/session/pulse --volume /run/user/1000/pipewire-0:/run/session/pipewire --volume nvbind-shader-cache:/var/cache/nvbind/shaders --env DISPLAY=:0 --env PIPEWIRE_REMOTE=/run/session/pipewire --env PULSE_SERVER=unix:/run/session/pulse --env WAYLAND_DISPLAY=/run/session/wayland --env XAUTHORITY=/run/session/xauthority --env __GL_SHADER_DISK_CACHE=1 --env __GL_SHADER_DISK_CACHE_PATH=/var/cache/nvbind/shaders --device /dev/input";

#[test]
fn games_get_display_sound_input_and_a_cache_where_they_are() {
    let (line, notes) = podman("", "--profile gaming steam:latest", user(&DESKTOP));
    let expected = format!("--annotation io.nvbind.capabilities=all {GAMING_ON_A_DESKTOP} steam:latest");
    assert_eq!((line, notes), (expected, Vec::new()));
}

#[test]
fn games_on_a_server_get_no_variable_that_leads_nowhere() {
    let (line, notes) = podman("", "--profile=gaming I", root(&SERVER));
    let expected = "--annotation io.nvbind.capabilities=all --uts=host --volume nvbind-shader-cache:/var/cache/nvbind/shaders --env __GL_SHADER_DISK_CACHE=1 --env __GL_SHADER_DISK_CACHE_PATH=/var/cache/nvbind/shaders I";
    assert_eq!(line, expected);
    let left_out = [
        "--volume /tmp/.X11-unix:/tmp/.X11-unix:ro of the profile gaming is left out: /tmp/.X11-unix is not on this machine",
        "--volume $HOME/.Xauthority:/run/session/xauthority:ro of the profile gaming is left out: HOME is not set here; XAUTHORITY with it",
        "--volume $XDG_RUNTIME_DIR/$WAYLAND_DISPLAY:/run/session/wayland of the profile gaming is left out: XDG_RUNTIME_DIR is not set here; WAYLAND_DISPLAY with it",
        "--volume $XDG_RUNTIME_DIR/pulse/native:/run/session/pulse of the profile gaming is left out: XDG_RUNTIME_DIR is not set here; PULSE_SERVER with it",
        "--volume $XDG_RUNTIME_DIR/pipewire-0:/run/session/pipewire of the profile gaming is left out: XDG_RUNTIME_DIR is not set here; PIPEWIRE_REMOTE with it",
        "--env DISPLAY of the profile gaming is left out: DISPLAY is not set here",
        "--device /dev/input of the profile gaming is left out: this user may not read it",
    ];
    assert_eq!(notes, left_out);
}

#[test]
fn a_wayland_display_may_be_a_whole_path() {
    let path = "/run/user/1000/pulse/native";
    let elsewhere = |name: &str| if name == "WAYLAND_DISPLAY" { Some(path.into()) } else { variable(name) };
    let (line, notes) = podman("", "--profile gaming I", Caller { variable: &elsewhere, ..user(&DESKTOP) });
    assert!(line.contains(&format!("--volume {path}:/run/session/wayland ")), "{line}");
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn what_the_user_types_wins_and_nothing_is_there_twice() {
    for (typed, gone) in [
        (
            "-v /tmp/.X11-unix:/tmp/.X11-unix:rw -e DISPLAY=:0 --device /dev/dri I",
            vec!["--volume /tmp/.X11-unix:/tmp/.X11-unix:ro "],
        ),
        ("--device /dev/input I", vec![" --device /dev/input"]),
        (
            "--mount type=tmpfs,dst=/var/cache/nvbind/shaders/ I",
            vec!["--volume nvbind-shader-cache:/var/cache/nvbind/shaders "],
        ),
        ("--hostname=x I", vec!["--uts=host "]),
        (
            "-h x --tmpfs /run/session/pulse I",
            vec!["--uts=host ", "--volume /run/user/1000/pulse/native:/run/session/pulse "],
        ),
    ] {
        let (line, notes) = podman("", &format!("--profile gaming {typed}"), user(&DESKTOP));
        let left = gone.iter().fold(GAMING_ON_A_DESKTOP.to_owned(), |all, gone| all.replace(gone, ""));
        assert_ne!(left, GAMING_ON_A_DESKTOP, "{typed}");
        assert_eq!(line, format!("--annotation io.nvbind.capabilities=all {left} {typed}"));
        assert_eq!(notes.len(), gone.iter().filter(|gone| gone.starts_with("--uts")).count(), "{notes:?}");
    }
    // default_args are the user's as well.
    let text = "[runtime]\ndefault_args = ['--profile', 'ai-ml', '--ulimit=stack=1', '-v', '/x:/var/cache/nvbind/cuda']\n";
    let (line, notes) =
        podman(text, "--ulimit memlock=5 --shm-size 1g --capabilities compute I", user(&SERVER));
    let expected = "--annotation io.nvbind.capabilities=compute --annotation io.nvbind.extras=infiniband --ulimit=stack=1 -v /x:/var/cache/nvbind/cuda --shm-size=0 --env CUDA_CACHE_PATH=/var/cache/nvbind/cuda --env NCCL_DEBUG=WARN --ulimit memlock=5 --shm-size 1g I";
    assert_eq!((line.as_str(), notes), (expected, Vec::new()));
    let (line, _) = podman("", "--profile ai-ml -e NVIDIA_DRIVER_CAPABILITIES=all I", user(&DESKTOP));
    assert!(!line.contains("io.nvbind.capabilities"), "{line}");
}

#[test]
fn computing_gets_shared_and_locked_memory_as_far_as_the_user_may() {
    let rest = "--volume nvbind-cuda-cache:/var/cache/nvbind/cuda --env CUDA_CACHE_PATH=/var/cache/nvbind/cuda --env NCCL_DEBUG=WARN";
    let typed = "-p 8888:8888 jupyter/tensorflow-notebook:latest";
    let (line, notes) = podman("", &format!("--profile ai-ml {typed}"), user(&DESKTOP));
    let expected = format!(
        "--annotation io.nvbind.capabilities=compute+utility+video --shm-size=0 {rest} --ulimit stack=67108864 {typed}"
    );
    assert_eq!(line, expected);
    assert_eq!(
        notes,
        [
            "--extras infiniband of the profile ai-ml is left out: this user has none on this machine",
            "--ulimit memlock=-1 of the profile ai-ml is left out: this user's hard limit is 8388608; see limits.conf(5)",
        ]
    );
    let (line, notes) = podman("", "--profile ai-ml --ipc=host I", root(&SERVER));
    let expected = format!(
        "--annotation io.nvbind.capabilities=compute+utility+video --annotation io.nvbind.extras=infiniband {rest} --ulimit memlock=-1 --ulimit stack=67108864 --ipc=host I"
    );
    assert_eq!(line, expected);
    assert_eq!(
        notes,
        [
            "--shm-size of the profile ai-ml is left out: podman does not take it with the --ipc of the command line"
        ]
    );
}

#[test]
fn an_isolated_container_shares_no_cache_and_no_server() {
    let (line, notes) = podman("", "--profile ai-ml --profile shared --isolate I", user(&SERVER));
    let expected = "--annotation io.nvbind.capabilities=compute+utility --annotation io.nvbind.extras=infiniband --annotation io.nvbind.isolate=true --shm-size=0 --env NCCL_DEBUG=WARN --ulimit memlock=-1 --ulimit stack=67108864 I";
    assert_eq!(line, expected);
    assert_eq!(
        notes,
        [
            "--extras mps of the profile shared is left out: isolation shares nothing",
            "--volume nvbind-cuda-cache:/var/cache/nvbind/cuda of the profile ai-ml is left out: isolation shares no cache of the driver; CUDA_CACHE_PATH with it",
        ]
    );
    let (line, notes) = podman("[gpu]\nenable_isolation = true", "--profile shared I", user(&SERVER));
    let expected = "--annotation io.nvbind.capabilities=compute+utility --annotation io.nvbind.extras=mps I";
    assert_eq!((line.as_str(), notes), (expected, Vec::new()));
    // The server of another user is none of this one's.
    let (_, notes) = podman("", "--profile shared I", user(&DESKTOP));
    assert_eq!(notes, ["--extras mps of the profile shared is left out: this user has none on this machine"]);
}

#[test]
fn an_extra_is_looked_for_where_the_hook_looks() {
    const ELSEWHERE: Simulated = Simulated {
        files: &["/driver/dev/infiniband/uverbs0"],
        secret: &[],
        own: &["/driver/tmp/nvidia-mps"],
        memlock: None,
    };
    let elsewhere = "[driver]\nroot = '/driver'\ndev_root = '/driver'\n";
    for (text, machine, has) in
        [("", SERVER, true), ("", ELSEWHERE, false), (elsewhere, SERVER, false), (elsewhere, ELSEWHERE, true)]
    {
        let (line, notes) = podman(text, "--profile ai-ml --profile shared I", user(&machine));
        assert_eq!(line.contains(" io.nvbind.extras=infiniband+mps "), has, "{text}: {line}");
        assert_eq!(notes.len(), if has { 0 } else { 2 }, "{text}: {notes:?}");
    }
}

#[test]
fn a_profile_of_ones_own_changes_a_built_in_one_key_by_key() {
    let text = "[profiles.ai-ml]\nulimits = []\nenvironment.NCCL_DEBUG = 'INFO'\n[profiles.mine]\nisolate = true\nargs = ['--network=host', '-t']\nvolumes = ['$HOME/games:/games', '$TRICKY:/c', '/home/u/games:/g/$NONE', '/none:/none']\ndevices = ['/dev/input/event1:rw', '/dev/none', '$NONE']\nenvironment = { A = '$HOME', B = '/nonesuch:/cc', C = 'x:/none/y' }\n";
    let (line, notes) = podman(text, "--profile ai-ml I", user(&DESKTOP));
    assert!(line.ends_with("--env CUDA_CACHE_PATH=/var/cache/nvbind/cuda --env NCCL_DEBUG=INFO I"), "{line}");
    assert_eq!(notes.len(), 1, "{notes:?}");
    let no_terminal = Caller { has_terminal: false, ..user(&DESKTOP) };
    let (line, notes) = podman(text, "--profile mine I", no_terminal);
    assert_eq!(
        line,
        "--annotation io.nvbind.isolate=true --network=host --volume /home/u/games:/games --env A=/home/u --env B=/nonesuch:/cc --device /dev/input/event1:rw I"
    );
    assert_eq!(
        notes,
        [
            "--tty of the profile mine is left out: stdin is no terminal",
            "--volume $TRICKY:/c of the profile mine is left out: podman can't mount /a:/b: it has a colon",
            "--volume /home/u/games:/g/$NONE of the profile mine is left out: NONE is not set here",
            "--volume /none:/none of the profile mine is left out: /none is not on this machine; C with it",
            "--device /dev/none of the profile mine is left out: it is not on this machine",
            "--device $NONE of the profile mine is left out: NONE is not set here",
        ]
    );
}

#[test]
fn a_later_profile_is_over_an_earlier_one() {
    let text = "[profiles.a]\nshm_size = '1g'\nvolumes = ['a:/v', 'a:/w']\nulimits = ['core=1', 'stack=1']\n[profiles.b]\nshm_size = '2g'\nvolumes = ['b:/v']\nulimits = ['core=2']\n";
    for (typed, expected) in [
        (
            "--profile a --profile b I",
            "--shm-size=1g --volume a:/w --ulimit stack=1 --shm-size=2g --volume b:/v --ulimit core=2 I",
        ),
        (
            "--profile a --profile b --profile a I",
            "--shm-size=2g --shm-size=1g --volume a:/v --volume a:/w --ulimit core=1 --ulimit stack=1 I",
        ),
    ] {
        assert_eq!(podman(text, typed, user(&DESKTOP)), (expected.to_owned(), Vec::new()), "{typed}");
    }
    // A typed one comes after one of the configuration.
    let text = format!("runtime.default_args = ['--profile', 'a']\n{text}");
    let (line, _) = podman(&text, "--profile b I", user(&DESKTOP));
    assert!(line.ends_with("--shm-size=2g --volume b:/v --ulimit core=2 I"), "{line}");
}

#[test]
fn a_limit_that_this_user_has_is_not_below_itself() {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
    assert_eq!(This.limit_below("core", hard), None);
    assert_eq!(This.limit_below("no limit", u64::MAX), None);
    let after = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
    if let Some(below) = This.limit_below("core", u64::MAX) {
        assert_eq!(below, hard);
    }
    assert_eq!(nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap(), after);
}

#[test]
fn every_built_in_profile_is_whole() {
    let profiles = Profiles::of(&Configuration::default()).unwrap();
    let names: Vec<&str> = profiles.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ai-ml", "gaming", "shared"]);
    for (name, profile) in profiles.iter() {
        assert!(!profile.description.is_empty(), "{name}");
        for verb in [Verb::Run, Verb::Create] {
            let (line, _) = podman("", &format!("--profile {name} I"), user(&DESKTOP));
            assert!(line.len() > 10, "{name} {verb:?}");
        }
    }
}

#[test]
fn a_private_ipc_namespace_has_a_shared_memory_of_its_own() {
    for (ipc, expected) in [("private", true), ("shareable", true), ("host", false), ("container:x", false)] {
        let (line, _) = podman("", &format!("--profile ai-ml --ipc={ipc} I"), user(&DESKTOP));
        assert_eq!(line.contains("--shm-size=0"), expected, "{ipc}");
    }
}

/// The command lines of the documentation that people come from, after `nvbind run`.
#[test]
fn command_lines_with_profiles_keep_what_was_typed() {
    for line in [
        "--runtime podman --gpu all --profile gaming --isolate winehq/wine:stable",
        "--runtime podman --gpu all --profile ai-ml pytorch/pytorch:latest python train.py",
        "--runtime podman --gpu all --profile gaming -v /home/u/.wine:/home/wine/.wine -v /tmp/.X11-unix:/tmp/.X11-unix:rw -e DISPLAY=:0 winehq/wine:stable",
        "--runtime podman --gpu all --profile ai-ml -v /home/u:/workspace:Z -w /workspace pytorch/pytorch:latest python train.py",
        "--runtime podman --gpu all --profile gaming -v /tmp/.X11-unix:/tmp/.X11-unix:rw -v /run/user/1000/pulse:/run/user/1000/pulse -v /home/u/.local/share/Steam:/home/steam/.local/share/Steam -e DISPLAY=:0 -e PULSE_RUNTIME_PATH=/run/user/1000/pulse --device /dev/dri --network host steam:latest",
        "--runtime podman --gpu all --profile gaming -v /home/u/roms:/roms -v /tmp/.X11-unix:/tmp/.X11-unix:rw -e DISPLAY=:0 --device /dev/dri --device /dev/input retroarch/retroarch:latest",
        "--runtime podman --gpu all --profile ai-ml --network host pytorch/pytorch:latest python -m torch.distributed.launch --nproc_per_node=2",
        "--runtime podman --gpu all --profile ai-ml -p 11434:11434 -v ollama-data:/root/.ollama:Z -d --name ollama-server ollama/ollama:latest",
    ] {
        let (_, typed) = line.split_once("--profile ").unwrap();
        let (_, typed) = typed.split_once(' ').unwrap();
        let (made, _) = podman("", line, user(&DESKTOP));
        assert!(made.ends_with(typed.trim_start_matches("--isolate ")), "{line}: {made}");
        let arguments: Vec<&str> = made.split(' ').collect();
        let mut places: Vec<&str> = arguments
            .windows(2)
            .filter(|pair| ["-v", "--volume", "--device"].contains(&pair[0]))
            .map(|pair| pair[1].split(':').nth(1).unwrap_or(pair[1]))
            .collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count, "{made}");
    }
}
