//! What can be wrong with config.toml.

use crate::world::World;
use crate::{Case, case, check};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

/// Has the hook read `text` instead of being told the driver's root.
fn configure(world: &mut World, text: &str) {
    world.write("config.toml", text);
    world.arguments =
        vec!["prestart".into(), "--config".into(), world.path("config.toml").display().to_string()];
}

fn sound(world: &mut World) {
    let root = world.driver.path("").display().to_string();
    let keys = ["root", "dev_root", "proc_root", "sys_root"].map(|key| format!("{key} = \"{root}\"\n"));
    configure(world, &format!("[driver]\n{}", keys.concat()));
}

const FILES: &[Case] = &[
    case(
        "missing",
        2,
        "container c0ffee: cannot read the configuration @/config.toml: No such file or directory (os error 2)",
        |world| {
            sound(world);
            fs::remove_file(world.path("config.toml")).unwrap();
        },
    ),
    case(
        "a user's",
        2,
        "container c0ffee: the configuration @/config.toml has to belong to root, and others must not be able to write it",
        |world| {
            sound(world);
            chown(world.path("config.toml"), Some(1000), None).unwrap();
        },
    ),
    case(
        "writable by everyone",
        2,
        "container c0ffee: the configuration @/config.toml has to belong to root, and others must not be able to write it",
        |world| {
            sound(world);
            fs::set_permissions(world.path("config.toml"), Permissions::from_mode(0o646)).unwrap();
        },
    ),
    case(
        "writable by a group",
        2,
        "container c0ffee: the configuration @/config.toml has to belong to root, and others must not be able to write it",
        |world| {
            sound(world);
            fs::set_permissions(world.path("config.toml"), Permissions::from_mode(0o664)).unwrap();
        },
    ),
    case(
        "a FIFO",
        2,
        "container c0ffee: cannot read the configuration @/config.toml: it is no regular file",
        |world| {
            sound(world);
            fs::remove_file(world.path("config.toml")).unwrap();
            mkfifo(&world.path("config.toml"), Mode::S_IRUSR).unwrap();
        },
    ),
    case(
        "a directory",
        2,
        "container c0ffee: cannot read the configuration @/config.toml: it is no regular file",
        |world| {
            sound(world);
            fs::remove_file(world.path("config.toml")).unwrap();
            fs::create_dir(world.path("config.toml")).unwrap();
        },
    ),
    case(
        "larger than the limit",
        2,
        "container c0ffee: cannot read the configuration @/config.toml: it is larger than 1048576 bytes",
        |world| configure(world, &"#\n".repeat(1 << 20)),
    ),
];

const TEXTS: &[Case] = &[
    case(
        "an unknown key",
        2,
        "container c0ffee: @/config.toml is not a valid configuration: TOML parse error at line 2, column 1   | 2 | rot = \"/\"   | ^^^ unknown field `rot`, expected one of `root`, `dev_root`, `proc_root`, `sys_root` ",
        |world| configure(world, "[driver]\nrot = \"/\"\n"),
    ),
    case(
        "a broken value that only nvbind run uses",
        2,
        "container c0ffee: @/config.toml is not a valid configuration: TOML parse error at line 2, column 16   | 2 | default_args = \"--rm\"   |                ^^^^^^ invalid type: string \"--rm\", expected a sequence ",
        |world| configure(world, "[runtime]\ndefault_args = \"--rm\"\n"),
    ),
    case(
        "a relative path",
        2,
        r#"container c0ffee: @/config.toml: driver.root has to be an absolute path, not "driver""#,
        |world| configure(world, "[driver]\nroot = \"driver\"\n"),
    ),
    case(
        "no text",
        2,
        "container c0ffee: cannot read the configuration @/config.toml: invalid utf-8 sequence of 1 bytes from index 0",
        |world| {
            configure(world, "");
            world.write("config.toml", [0xff, 0xfe]);
        },
    ),
];

#[test]
fn a_configuration_that_others_could_have_written_or_that_is_no_file_is_refused() {
    check(FILES);
}

#[test]
fn a_configuration_that_says_nothing_known_is_refused() {
    check(TEXTS);
}

#[test]
fn a_sound_configuration_tells_where_the_driver_is() {
    check(&[case("sound", 0, "", sound)]);
}
