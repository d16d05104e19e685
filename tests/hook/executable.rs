//! The executable itself: nothing of the caller or of an image can get into it.

use crate::world::{HOOK, World};
use object::elf::{DT_NEEDED, FileHeader64, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, FileKind};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn it_names_no_dynamic_loader_and_no_library() {
    let data = fs::read(HOOK).unwrap();
    assert_eq!(FileKind::parse(&*data).unwrap(), FileKind::Elf64);
    let header = FileHeader64::<Endianness>::parse(&*data).unwrap();
    let endian = header.endian().unwrap();
    let segments = header.program_headers(endian, &*data).unwrap();
    assert!(segments.iter().all(|segment| segment.p_type(endian) != PT_INTERP));
    let dynamic = segments.iter().find(|segment| segment.p_type(endian) == PT_DYNAMIC).unwrap();
    let entries = dynamic.dynamic(endian, &*data).unwrap().unwrap();
    assert!(entries.iter().all(|entry| entry.tag(endian) != DT_NEEDED));
}

#[test]
fn its_environment_changes_nothing() {
    let Some(mut world) = World::new() else { return };
    world.state = b"hello".to_vec();
    world.start();
    let mut command = Command::new(HOOK);
    command.args(&world.arguments).env_clear();
    let alone = world.run(&mut command);
    // A dynamic executable would say that it cannot preload the first.
    for name in ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GCONV_PATH", "LOCPATH"] {
        command.env(name, world.path("outside/kept"));
    }
    command.envs([
        ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
        ("RUST_BACKTRACE", "full"),
        ("LD_DEBUG", "all"),
    ]);
    let ended = world.run(&mut command);
    assert_eq!((ended.code, ended.says), (Some(2), alone.says));
}

/// What can be seen of a process from outside.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The group of its files in procfs: root's where it is not dumpable (proc(5)).
    group: u32,
    umask: String,
    directory: PathBuf,
    /// The soft and the hard limit of descriptors.
    descriptors: [String; 2],
}

impl Seen {
    fn of(pid: u32) -> Seen {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| fs::read_to_string(proc.join(name)).unwrap();
        let word = |name: &str, line: &str, at: usize| {
            let text = read(name);
            let line = text.lines().find_map(|other| other.strip_prefix(line)).unwrap();
            line.split_whitespace().nth(at).unwrap().to_owned()
        };
        Seen {
            group: fs::metadata(proc.join("status")).unwrap().gid(),
            umask: word("status", "Umask:", 0),
            directory: fs::read_link(proc.join("cwd")).unwrap(),
            descriptors: [0, 1].map(|at| word("limits", "Max open files", at)),
        }
    }
}

#[test]
fn nothing_of_its_caller_s_state_is_left() {
    let Some(_world) = World::new() else { return };
    let line = format!("ulimit -Sn 64; ulimit -Hn 512; umask 0; exec {HOOK} prestart");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir("/proc").gid(65534).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut hook = command.spawn().unwrap();
    let descriptors = ["512", "512"].map(str::to_owned);
    let expected = Seen { group: 0, umask: "0022".to_owned(), directory: "/".into(), descriptors };
    // It waits for the state on its stdin.
    let end = Instant::now() + Duration::from_secs(10);
    while Seen::of(hook.id()) != expected && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let seen = Seen::of(hook.id());
    drop(hook.stdin.take());
    assert_eq!(hook.wait().unwrap().code(), Some(2));
    assert_eq!(seen, expected);
}

#[test]
fn a_kernel_that_is_too_old_is_told_where_a_gpu_is_asked_for() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = world.snapshot();
    let mut command = Command::new("setarch");
    // The kernel calls itself 2.6 then (personality(2), UNAME26).
    command.args(["--uname-2.6", HOOK]).args(&world.arguments);
    let ended = world.run(&mut command);
    let says = "nvbind-hook: container c0ffee: Linux 5.12 or newer is needed; this is 2.6.";
    assert!(ended.code == Some(4) && ended.says.starts_with(says), "{ended:?}");
    world.assert_same(&before, "a refusal");
}
