//! Volumes of the host in the container, and root filesystems that are not the container's alone: nothing is written
//! through them.

use crate::listing;
use crate::world::World;
use nix::mount::{MsFlags, mount};
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Library, merge};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where a directory of the host lies over the container's, what is said, and where the view is then.
const VOLUMES: &[(&str, &str, &str)] = &[
    (
        "mount --bind $OUTSIDE $ROOT/etc",
        "no drop-in in the container's /etc/ld.so.conf.d: an ldconfig inside will forget the driver's libraries\n\
         no ld.so.cache in the container's /etc, and a volume or another mount of the host lies there; programs find the driver by LD_LIBRARY_PATH alone",
        "usr/local/nvidia",
    ),
    ("mkdir $ROOT/usr/local/nvidia; mount --bind $OUTSIDE $ROOT/usr/local/nvidia", "", "run/nvbind"),
    ("mkdir $OUTSIDE/nvidia; mount --bind $OUTSIDE $ROOT/usr/local", "", "run/nvbind"),
    (
        "mount --bind $OUTSIDE $ROOT/usr/bin",
        "no link /usr/bin/nvidia-smi in the container, since a volume or another mount of the host lies there; the driver's is /usr/local/nvidia/bin/nvidia-smi",
        "usr/local/nvidia",
    ),
    (
        "mount --bind $OUTSIDE $ROOT/etc/ld.so.conf.d",
        "no drop-in in the container's /etc/ld.so.conf.d: an ldconfig inside will forget the driver's libraries",
        "usr/local/nvidia",
    ),
];

/// The tmpfs of /dev, where that is; the tests' own link of it leads nowhere on the host.
const DEV_OR_DATA: &str =
    "if test -L $ROOT/dev; then mount -t tmpfs tmpfs $ROOT/data; else mount -t tmpfs tmpfs $ROOT/dev; fi";

fn says(lines: &str) -> String {
    lines.lines().map(|line| format!("nvbind-hook: {line}\n")).collect()
}

#[test]
fn nothing_is_written_through_a_volume() {
    for (mount, warning, view) in VOLUMES {
        let Some(mut world) = World::new() else { return };
        world.mounts.push(mount);
        world.start();
        let before = listing::of(&world.path("outside"));
        let ended = world.hook();
        assert_eq!((ended.code, ended.says), (Some(0), says(warning)), "{mount}");
        assert!(world.inside(view).join("bin/nvidia-smi").exists(), "{mount}");
        assert_eq!(listing::of(&world.path("outside")), before, "{mount}");
    }
}

/// The place of a tmpfs in config.json is led to the volume by a link of the image, and so is the view's or the
/// cache's.
#[test]
fn a_volume_is_not_taken_for_a_tmpfs_whose_place_leads_to_it() {
    for (place, target) in [("usr/local", "/v"), ("etc", "v")] {
        let Some(mut world) = World::new() else { return };
        let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
        let tmpfs = |path: &str| format!(r#"{{"destination":"{path}","type":"tmpfs","source":"tmpfs"}}"#);
        let text = format!(r#"{{"root":{root},"mounts":[{},{}]}}"#, tmpfs("/dev"), tmpfs("/t"));
        world.write("userdata/config.json", text);
        world.link(place, target);
        world.link("t", "q/r");
        world.write("image/q/kept", "");
        world.write("image/v/kept", "");
        std::os::unix::fs::symlink("/v", world.path("plain").join("r")).unwrap();
        world.mounts.extend(["mount --bind $OUTSIDE $ROOT/v", "mount --bind $PLAIN $ROOT/q"]);
        world.start();
        let before = listing::of(&world.path("outside"));
        let ended = world.hook();
        assert_eq!(ended.code, Some(0), "{place}: {}", ended.says);
        assert_eq!(listing::of(&world.path("outside")), before, "{place}");
    }
}

/// A tmpfs of the host that is a volume is no tmpfs of the container's own.
#[test]
fn a_tmpfs_of_the_host_is_a_volume() {
    let Some(mut world) = World::new() else { return };
    let shared = world.path("scratch/shared");
    fs::create_dir(&shared).unwrap();
    mount(Some("tmpfs"), &shared, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    let source = shared.display().to_string();
    let bind: &'static str = format!("mount --bind {source} $ROOT/usr/local").leak();
    world.mounts.push(bind);
    world.start();
    let ended = world.hook();
    assert_eq!(ended.code, Some(0), "{}", ended.says);
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
    assert!(world.inside("run/nvbind/bin/nvidia-smi").exists());
}

#[test]
fn a_volume_s_own_files_are_covered_in_the_container_alone() {
    let Some(mut world) = World::new() else { return };
    let libc = [Library { soname: b"libc.so.6", path: b"/lib/libc.so.6", abi: Abi::NATIVE.unwrap() }];
    let cache = merge(None, &libc, &[]).unwrap();
    world.write("outside/ld.so.cache", &cache);
    world.mounts.push("mount --bind $OUTSIDE $ROOT/etc");
    world.start();
    let before = listing::of(&world.path("outside"));
    assert_eq!(world.hook().code, Some(0));
    assert_ne!(fs::read(world.inside("etc/ld.so.cache")).unwrap(), cache);
    assert_eq!(fs::read(world.path("outside/ld.so.cache")).unwrap(), cache);
    assert_eq!(listing::of(&world.path("outside")), before);
}

#[test]
fn nothing_appears_on_the_host_over_a_volume_whose_mounts_are_shared_with_it() {
    let Some(mut world) = World::new() else { return };
    let outside = world.path("outside");
    let none: Option<&Path> = None;
    mount(Some(&outside), &outside, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &outside, none, MsFlags::MS_SHARED, none).unwrap();
    world.write("outside/ld.so.cache", merge(None, &[], &[]).unwrap());
    world.namespaces = &["--mount", "--propagation=unchanged"];
    world.mounts.push("mount --bind $OUTSIDE $ROOT/etc");
    world.start();
    let before = listing::of(&outside);
    let ended = world.hook();
    let warnings = format!(
        "{OUTLIVES}ld.so.cache in the container is left as it is: its volume's mounts are shared with the host"
    );
    assert_eq!((ended.code, ended.says), (Some(0), says(&warnings)));
    assert_eq!(listing::of(&outside), before);
    let below = format!("{}/", outside.display());
    assert!(!fs::read_to_string("/proc/thread-self/mountinfo").unwrap().contains(&below));
    assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists());
}

#[test]
fn a_file_that_is_a_volume_itself_is_covered_and_not_renamed_over() {
    let Some(mut world) = World::new() else { return };
    let cache = merge(None, &[], &[]).unwrap();
    world.write("outside/cache", &cache);
    world.write("image/etc/ld.so.cache", "");
    world.mounts.push("mount --bind $OUTSIDE/cache $ROOT/etc/ld.so.cache");
    world.start();
    assert_eq!((world.hook().code, world.hook().code), (Some(0), Some(0)));
    assert_ne!(fs::read(world.inside("etc/ld.so.cache")).unwrap(), cache);
    assert_eq!(fs::read(world.path("outside/cache")).unwrap(), cache);
}

#[test]
fn a_container_with_the_host_s_dev_gets_no_node_made_there() {
    let Some(mut world) = World::new() else { return };
    world.mounts.push("mount --bind $OUTSIDE $ROOT/dev");
    let root = world.path("scratch/root");
    world.write(
        "userdata/config.json",
        format!(
            r#"{{"root":{{"path":"{}"}},"mounts":[{{"destination":"/dev","type":"bind","source":"/dev"}}]}}"#,
            root.display()
        ),
    );
    world.start();
    let before = world.snapshot();
    let ended = world.hook();
    let why = "container c0ffee: no place in the container for /dev/nvidia-modeset: a volume or another mount of the host lies there";
    assert_eq!((ended.code, ended.says), (Some(5), says(why)));
    world.assert_same(&before, "");
}

#[test]
fn a_volume_that_reaches_dev_by_a_link_of_the_image_gets_no_node_made_there() {
    for (link, target, mount) in [
        ("data", "/dev", "mount --bind $OUTSIDE $ROOT/dev"),
        ("dev", "/data", "mount --bind $OUTSIDE $ROOT/data"),
    ] {
        let Some(mut world) = World::new() else { return };
        fs::create_dir(world.path("image/data")).unwrap();
        world.link(link, target);
        world.mounts.pop();
        world.mounts.extend([DEV_OR_DATA, mount]);
        let root = world.path("scratch/root");
        world.write(
            "userdata/config.json",
            format!(
                r#"{{"root":{{"path":"{}"}},"mounts":[{{"destination":"/dev","type":"tmpfs","source":"tmpfs"}},
                    {{"destination":"/data","type":"bind","source":"/outside"}}]}}"#,
                root.display()
            ),
        );
        world.start();
        let before = world.snapshot();
        let ended = world.hook();
        let why = "container c0ffee: no place in the container for /dev/nvidia-modeset: a volume or another mount of the host lies there";
        assert_eq!((ended.code, ended.says), (Some(5), says(why)), "{link}");
        world.assert_same(&before, link);
    }
}

/// A directory of the host as the root filesystem, without an overlay.
fn plain(world: &mut World) {
    let (image, plain) = (world.path("image"), world.path("plain"));
    assert!(Command::new("cp").arg("-a").arg(image.join(".")).arg(&plain).status().unwrap().success());
    world.mounts = vec!["mount --bind $PLAIN $ROOT", "mount -t tmpfs tmpfs $ROOT/dev"];
}

const OUTLIVES: &str = "no drop-in in the container's /etc/ld.so.conf.d: an ldconfig inside will forget the driver's libraries\n";

/// The hook equips the container by mounts alone, says why, and leaves `kept` as it is.
fn assert_only_mounted(world: &World, kept: &str, why: &str) {
    let before = listing::of(&world.path(kept));
    let ended = world.hook();
    let warnings = format!(
        "no link /usr/bin/nvidia-smi in the container, since {why}; the driver's is /dev/nvbind/bin/nvidia-smi\n\
         {OUTLIVES}no ld.so.cache in the container's /etc, and {why}; programs find the driver by LD_LIBRARY_PATH alone"
    );
    assert_eq!((ended.code, ended.says), (Some(0), says(&warnings)));
    assert!(world.inside("dev/nvbind/bin/nvidia-smi").exists());
    assert_eq!(listing::of(&world.path(kept)), before);
}

#[test]
fn a_root_filesystem_that_outlives_the_container_gets_nothing_that_lasts() {
    let Some(mut world) = World::new() else { return };
    plain(&mut world);
    world.start();
    let why = "the root filesystem is a directory of the host that outlives the container";
    assert_only_mounted(&world, "plain", why);
}

/// For a volume that is to be shared, Podman has the runtime share the mounts of the whole root filesystem.
#[test]
fn the_view_does_not_appear_on_the_host_where_the_root_filesystem_s_mounts_are_shared_with_it() {
    let Some(mut world) = World::new() else { return };
    let none: Option<&Path> = None;
    mount(none, &world.path("scratch"), none, MsFlags::MS_SHARED, none).unwrap();
    let root = world.path("scratch/root");
    world.config(
        &format!(r#"{{"path":"{}"}}"#, root.display()),
        r#","linux":{"rootfsPropagation":"rshared"}"#,
    );
    world.namespaces = &["--mount", "--propagation=unchanged"];
    world.start();
    let mounts = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let before = mounts();
    assert!(before.contains(&format!(" {} ", root.display())), "{before}");
    assert_eq!(world.hook().code, Some(0));
    assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists());
    assert_eq!(mounts(), before);
}

#[test]
fn a_read_only_root_filesystem_gets_the_driver_all_the_same() {
    let Some(mut world) = World::new() else { return };
    world.mounts.push("mount -o remount,ro $ROOT");
    world.start();
    assert_only_mounted(&world, "scratch/upper", "the root filesystem is read-only");
}

#[test]
fn a_container_that_can_take_nothing_is_refused() {
    let Some(mut world) = World::new() else { return };
    world.mounts = vec![world.mounts[0], "mount -o remount,ro $ROOT"];
    world.start();
    let before = world.snapshot();
    let ended = world.hook();
    let why = "container c0ffee: no place in the container for the driver's files: /usr/local/nvidia, /run/nvbind and /dev/nvbind are all taken by the image or by volumes";
    assert_eq!((ended.code, ended.says), (Some(5), says(why)));
    world.assert_same(&before, "");
}
