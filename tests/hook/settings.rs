//! What can be wrong with config.toml.

use crate::cdi::with_devices;
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
    sound_with(world, "");
}

/// One that says where the driver is, and more.
fn sound_with(world: &mut World, more: &str) {
    let root = world.driver.path("").display().to_string();
    let keys = ["root", "dev_root", "proc_root", "sys_root"].map(|key| format!("{key} = \"{root}\"\n"));
    configure(world, &format!("[driver]\n{}{more}", keys.concat()));
}

/// One that allows GPU 1 alone, for a container that asks for `gpu`.
fn restricted(world: &mut World, gpu: &str) {
    sound_with(world, "[security]\nrestrict_devices = true\nallowed_devices = [\"1\", \"GPU-cc\"]\n");
    world.request(&format!(r#""io.nvbind.gpu":"{gpu}""#));
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
        "in a directory that everyone can write",
        2,
        "container c0ffee: the configuration @/etc has to belong to root, and others must not be able to write it",
        |world| {
            world.write("etc/config.toml", "");
            fs::set_permissions(world.path("etc"), Permissions::from_mode(0o777)).unwrap();
            let named = world.path("etc/config.toml").display().to_string();
            world.arguments.extend(["--config".into(), named]);
        },
    ),
    case(
        "in a user's directory",
        2,
        "container c0ffee: the configuration @/etc has to belong to root, and others must not be able to write it",
        |world| {
            world.write("etc/config.toml", "");
            chown(world.path("etc"), Some(1000), None).unwrap();
            let named = world.path("etc/config.toml").display().to_string();
            world.arguments.extend(["--config".into(), named]);
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

const RESTRICTED: &[Case] = &[
    case(
        "by index",
        4,
        "container c0ffee: GPU 0 is not allowed; security.allowed_devices of @/config.toml allows 1,GPU-cc",
        |world| restricted(world, "0"),
    ),
    case(
        "one of two",
        4,
        "container c0ffee: GPU GPU-aaaa0000 is not allowed; security.allowed_devices of @/config.toml allows 1,GPU-cc",
        |world| restricted(world, "1,GPU-aaaa0000"),
    ),
    case(
        "with a driver root on the command line",
        4,
        "container c0ffee: GPU 0 is not allowed; security.allowed_devices of @/config.toml allows 1,GPU-cc",
        |world| {
            restricted(world, "0");
            let root = world.driver.path("").display().to_string();
            world.arguments.extend(["--driver-root".into(), root]);
        },
    ),
    case(
        "all of none",
        4,
        "container c0ffee: no GPU of this machine is allowed; security.allowed_devices of @/config.toml allows none",
        |world| sound_with(world, "[security]\nrestrict_devices = true\n"),
    ),
    case(
        "a prefix of two",
        2,
        "container c0ffee: GPU-bb means more than one GPU; security.allowed_devices of @/config.toml allows GPU-bb, and this machine has 0 (GPU-aaaa0000-0000-0000-0000-000000000001, 0000:01:00.0), 1 (GPU-bbbb0000-0000-0000-0000-000000000002, 0000:41:00.0), 2 (GPU-bbcc0000-0000-0000-0000-000000000003, 0000:81:00.0)",
        |world| {
            world.driver.gpu("0000:81:00.0", 2, "GPU-bbcc0000-0000-0000-0000-000000000003", &[]);
            sound_with(world, "[security]\nrestrict_devices = true\nallowed_devices = [\"GPU-bb\"]\n");
        },
    ),
    case(
        "no name of a GPU, with a driver root on the command line",
        2,
        "container c0ffee: @/config.toml is not a valid configuration: TOML parse error at line 2, column 19   | 2 | allowed_devices = [\"first\"]   |                   ^^^^^^^^^ security.allowed_devices: \"first\" is no GPU: write an index (0), a range (0-3), a UUID (GPU-…), a PCI address (0000:01:00.0), a MIG device (0:1 or MIG-…), all or none ",
        |world| {
            configure(world, "[security]\nallowed_devices = [\"first\"]\n");
            let root = world.driver.path("").display().to_string();
            world.arguments.extend(["--driver-root".into(), root]);
        },
    ),
];

const ANNOTATIONS: &[Case] = &[
    case(
        "the request",
        4,
        "container c0ffee: annotations ask for no GPU here, since an image may bring its own (security.annotations is false in @/config.toml); ask by --device nvidia.com/gpu=NAME, without io.nvbind annotations",
        |world| sound_with(world, "[security]\nannotations = false\n"),
    ),
    case(
        "what widens another request",
        4,
        "container c0ffee: annotations ask for no GPU here, since an image may bring its own (security.annotations is false in @/config.toml); ask by --device nvidia.com/gpu=NAME, without io.nvbind annotations",
        |world| {
            sound_with(world, "[security]\nannotations = false\n");
            with_devices(world, &["0"]);
            world.request(r#""io.nvbind.extras":"mps""#);
            world.arguments.insert(1, "--cdi".to_owned());
        },
    ),
];

#[test]
fn where_annotations_ask_for_nothing_a_container_with_one_is_refused_and_a_device_is_given() {
    check(ANNOTATIONS);
    let Some(mut world) = World::new() else { return };
    sound_with(&mut world, "[security]\nannotations = false\n");
    with_devices(&mut world, &["0"]);
    world.arguments.insert(1, "--cdi".to_owned());
    world.start();
    let ended = world.hook();
    assert_eq!(ended.code, Some(0), "{}", ended.says);
}

#[test]
fn a_gpu_that_the_configuration_does_not_allow_is_refused() {
    check(RESTRICTED);
}

#[test]
fn of_all_gpus_a_container_gets_the_allowed_ones() {
    for gpu in ["all", "1", "GPU-bb"] {
        let Some(mut world) = World::new() else { return };
        restricted(&mut world, gpu);
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{gpu}");
        let has = ["nvidia0", "nvidia1", "nvidiactl"].map(|name| world.inside("dev").join(name).exists());
        assert_eq!(has, [true, false, true], "{gpu}");
    }
}

#[test]
fn a_sound_configuration_tells_where_the_driver_is() {
    check(&[case("sound", 0, "", sound)]);
}
