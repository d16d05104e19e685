//! What can be wrong with the bundle: its config.json, and where that says the root filesystem is.

use crate::world::World;
use crate::{Case, case, check};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;

fn file(world: &World) -> std::path::PathBuf {
    world.path("userdata/config.json")
}

const CONFIGS: &[Case] = &[
    case(
        "missing",
        2,
        "container c0ffee: cannot read the container's @/userdata/config.json: No such file or directory (os error 2)",
        |world| fs::remove_file(file(world)).unwrap(),
    ),
    case(
        "empty",
        2,
        "container c0ffee: @/userdata/config.json is not usable: EOF while parsing a value at line 1 column 0",
        |world| fs::write(file(world), "").unwrap(),
    ),
    case(
        "truncated",
        2,
        "container c0ffee: @/userdata/config.json is not usable: EOF while parsing a string at line 1 column 10",
        |world| fs::write(file(world), &fs::read(file(world)).unwrap()[..10]).unwrap(),
    ),
    case(
        "no JSON",
        2,
        "container c0ffee: @/userdata/config.json is not usable: expected value at line 1 column 1",
        |world| fs::write(file(world), [0xff; 64]).unwrap(),
    ),
    case(
        "larger than the limit",
        2,
        "container c0ffee: cannot read the container's @/userdata/config.json: it is larger than 16777216 bytes",
        |world| fs::File::options().write(true).open(file(world)).unwrap().set_len((16 << 20) + 1).unwrap(),
    ),
    case(
        "a root of the wrong type",
        2,
        "container c0ffee: @/userdata/config.json is not usable: invalid type: integer `1`, expected struct Root at line 1 column 30",
        |world| world.config("1", ""),
    ),
    case(
        "an environment of the wrong type",
        2,
        "container c0ffee: @/userdata/config.json is not usable: invalid type: integer `1`, expected a string at line 1 column 33",
        |world| world.write("userdata/config.json", r#"{"process":{"env":["PATH=/bin", 1]}}"#),
    ),
    case(
        "a FIFO",
        2,
        "container c0ffee: cannot read the container's @/userdata/config.json: it is no regular file",
        |world| {
            fs::remove_file(file(world)).unwrap();
            mkfifo(&file(world), Mode::S_IRWXU).unwrap();
        },
    ),
    case(
        "a directory",
        2,
        "container c0ffee: cannot read the container's @/userdata/config.json: it is no regular file",
        |world| {
            fs::remove_file(file(world)).unwrap();
            fs::create_dir(file(world)).unwrap();
        },
    ),
    case(
        "a bundle that is the whole machine",
        2,
        "container c0ffee: the container's state names the bundle /, and the runtime's command line names no other",
        |world| {
            world.state =
                br#"{"id":"c0ffee","pid":PID,"bundle":"/","annotations":{"io.nvbind.gpu":"all"}}"#.to_vec();
        },
    ),
];

const ROOTS: &[Case] = &[
    case(
        "none",
        2,
        "container c0ffee: neither the container's state nor its config.json says where the root filesystem is",
        |world| world.config("null", ""),
    ),
    case(
        "an empty one",
        2,
        "container c0ffee: neither the container's state nor its config.json says where the root filesystem is",
        |world| world.config(r#"{"path":""}"#, ""),
    ),
    case(
        "the host's own",
        5,
        r#"container c0ffee: the root filesystem "/" is refused: it is the host's own"#,
        |world| {
            world.config(r#"{"path":"/"}"#, "");
        },
    ),
    case(
        "the host's own by another name",
        5,
        r#"container c0ffee: the root filesystem "/usr/.." is refused: it is the host's own"#,
        |world| world.config(r#"{"path":"/usr/.."}"#, ""),
    ),
    case(
        "one that is not there",
        5,
        r#"container c0ffee: the root filesystem "@/nowhere" cannot be opened: No such file or directory (os error 2)"#,
        |world| {
            let path = world.path("nowhere");
            world.config(&format!(r#"{{"path":"{}"}}"#, path.display()), "");
        },
    ),
    case(
        "a file",
        5,
        r#"container c0ffee: the root filesystem "@/outside/kept" cannot be opened: Not a directory (os error 20)"#,
        |world| {
            let path = world.path("outside/kept");
            world.config(&format!(r#"{{"path":"{}"}}"#, path.display()), "");
        },
    ),
    case(
        "a relative one in the state",
        5,
        r#"container c0ffee: the root filesystem "rootfs" is refused: it is not an absolute path"#,
        |world| state_root(world, "rootfs"),
    ),
    case(
        "an empty one in the state",
        2,
        "container c0ffee: neither the container's state nor its config.json says where the root filesystem is",
        |world| {
            world.config("null", "");
            state_root(world, "");
        },
    ),
];

fn state_root(world: &mut World, root: &str) {
    let text = String::from_utf8(world.state.clone()).unwrap();
    world.state = text.replacen('{', &format!(r#"{{"root":"{root}","#), 1).into_bytes();
}

#[test]
fn a_config_json_that_is_none_is_refused() {
    check(CONFIGS);
}

#[test]
fn a_root_filesystem_that_is_no_container_s_is_refused() {
    check(ROOTS);
}

#[test]
fn a_relative_root_is_the_bundle_s() {
    let Some(mut world) = World::new() else { return };
    world.config(r#"{"path":"../scratch/root"}"#, "");
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists());
}
