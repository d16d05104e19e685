//! The executable itself: nothing of the caller or of an image can get into it.

use crate::world::{HOOK, World};
use object::elf::{DT_NEEDED, FileHeader64, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, FileKind};
use std::fs;
use std::process::Command;

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
