//! The dynamic loaders that an image may have, and what each of them reads of the view.

use crate::listing;
use crate::world::{Ended, LOADER, World};
use crate::{Case, case};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Cache, Library, merge};
use std::fs;
use std::path::PathBuf;

pub(crate) const MUSL: &str =
    if cfg!(target_arch = "aarch64") { "lib/ld-musl-aarch64.so.1" } else { "lib/ld-musl-x86_64.so.1" };
pub(crate) const PATH_FILE: &str =
    if cfg!(target_arch = "aarch64") { "etc/ld-musl-aarch64.path" } else { "etc/ld-musl-x86_64.path" };
const VIEW: &str = "/usr/local/nvidia/lib64";

/// A world whose image has these loaders.
fn world_with(loaders: &[&str]) -> Option<World> {
    let world = World::new()?;
    fs::remove_file(world.path("image").join(LOADER)).unwrap();
    for loader in loaders {
        world.write(&format!("image/{loader}"), "");
    }
    Some(world)
}

/// A start of which there is nothing to say.
fn start(world: &mut World, case: &str) {
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""), "{case}");
    assert!(find(world, "bin/nvidia-smi").exists(), "{case}");
}

/// A path below the view, wherever that stands.
fn find(world: &World, path: &str) -> PathBuf {
    let places = ["usr/local/nvidia", "run/nvbind", "dev/nvbind"];
    let mut paths = places.map(|place| world.inside(place).join(path)).into_iter();
    paths.find(|path| path.exists()).unwrap_or_default()
}

/// What the loader finds by the container's cache, as soname and path.
fn found(world: &World) -> Vec<(String, String)> {
    let file = fs::read(world.inside("etc/ld.so.cache")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let cache = Cache::parse(&file).unwrap();
    cache.entries().iter().map(|entry| (text(entry.soname), text(entry.path))).collect()
}

/// The first path that the cache has for a soname.
fn path_of(world: &World, soname: &str) -> Option<String> {
    found(world).into_iter().find(|(name, _)| name == soname).map(|(_, path)| path)
}

fn cache_of(libraries: &[(&str, &str, Abi)]) -> Vec<u8> {
    let libraries: Vec<Library<'_>> = libraries
        .iter()
        .map(|(soname, path, abi)| Library { soname: soname.as_bytes(), path: path.as_bytes(), abi: *abi })
        .collect();
    merge(None, &libraries, &[]).unwrap()
}

#[test]
fn musl_searches_the_view_first_and_then_what_it_searched_before() {
    for (image, expected) in [
        (None, "/usr/local/nvidia/lib64\n/lib\n/usr/local/lib\n/usr/lib\n"),
        (Some("/lib:/opt/lib"), "/usr/local/nvidia/lib64\n/lib\n/opt/lib\n"),
        (Some("/lib\n/usr/lib\n"), "/usr/local/nvidia/lib64\n/lib\n/usr/lib\n"),
        (Some("/run/nvbind/lib64\n/lib\n"), "/usr/local/nvidia/lib64\n/lib\n"),
        (Some(""), "/usr/local/nvidia/lib64\n"),
    ] {
        let Some(mut world) = world_with(&[MUSL]) else { return };
        if let Some(content) = image {
            world.write(&format!("image/{PATH_FILE}"), content);
        }
        let case = image.unwrap_or("no file");
        start(&mut world, case);
        assert_eq!(fs::read_to_string(world.inside(PATH_FILE)).unwrap(), expected, "{case}");
        assert!(!world.inside("etc/ld.so.cache").exists(), "{case}");
        let upper = listing::of(&world.path("scratch/upper"));
        start(&mut world, case);
        assert_eq!(listing::of(&world.path("scratch/upper")), upper, "{case}");
    }
}

#[test]
fn a_later_start_of_a_musl_image_has_only_the_view_of_that_start() {
    let Some(mut world) = world_with(&[MUSL]) else { return };
    start(&mut world, "first");
    world.stop();
    // A volume in the place of the view.
    world.mounts.push("mkdir -p $ROOT/usr/local/nvidia; mount --bind $OUTSIDE $ROOT/usr/local/nvidia");
    start(&mut world, "second");
    let expected = "/run/nvbind/lib64\n/lib\n/usr/local/lib\n/usr/lib\n";
    assert_eq!(fs::read_to_string(world.inside(PATH_FILE)).unwrap(), expected);
}

#[test]
fn an_image_with_both_loaders_has_both_told() {
    let Some(mut world) = world_with(&[LOADER, MUSL]) else { return };
    start(&mut world, "");
    assert!(fs::read_to_string(world.inside(PATH_FILE)).unwrap().starts_with(VIEW));
    assert_eq!(path_of(&world, "libcuda.so.1"), Some(format!("{VIEW}/libcuda.so.1")));
}

#[test]
fn musl_s_file_on_a_volume_is_covered_in_the_container_alone() {
    let Some(mut world) = world_with(&[MUSL]) else { return };
    let name = PATH_FILE.strip_prefix("etc/").unwrap();
    world.mounts.push("mount --bind $OUTSIDE $ROOT/etc");
    world.start();
    let says = format!(
        "nvbind-hook: no {name} in the container's /etc, and a volume or another mount of the host lies there; programs find the driver by LD_LIBRARY_PATH alone\n"
    );
    let ended = world.hook();
    assert_eq!((ended.code, ended.says), (Some(0), says));
    world.write(&format!("outside/{name}"), "/lib\n");
    let before = listing::of(&world.path("outside"));
    start(&mut world, "with a file");
    assert_eq!(fs::read_to_string(world.inside(PATH_FILE)).unwrap(), format!("{VIEW}\n/lib\n"));
    assert_eq!(listing::of(&world.path("outside")), before);
}

const NO_FILE: &str = "is no ordinary file";

/// What may stand in the place of musl's file, and why it is left.
const ODD: &[Case] = &[
    case("a link", 0, NO_FILE, |world| world.link(PATH_FILE, world.path("outside/kept"))),
    case("a directory", 0, NO_FILE, |world| {
        fs::create_dir(world.path("image").join(PATH_FILE)).unwrap();
    }),
    case("a FIFO", 0, NO_FILE, |world| {
        mkfifo(&world.path("image").join(PATH_FILE), Mode::S_IRWXU).unwrap();
    }),
    case("large", 0, "is larger than 64 KiB", |world| {
        world.write(&format!("image/{PATH_FILE}"), "/lib\n".repeat(20_000));
    }),
];

#[test]
fn what_stands_for_musl_s_file_and_is_none_is_left_and_told() {
    for Case { name, prepare, exit, says } in ODD {
        let Some(mut world) = world_with(&[MUSL]) else { return };
        prepare(&mut world);
        world.start();
        let ended = world.hook();
        let says = format!(
            "nvbind-hook: the container's /{PATH_FILE} {says}, and is left; musl finds the driver by LD_LIBRARY_PATH alone\n"
        );
        assert_eq!((ended.code, ended.says), (Some(*exit), says), "{name}");
        assert!(!world.path("scratch/upper/etc").exists(), "{name}");
        assert_eq!(fs::read_to_string(world.path("outside/kept")).unwrap(), "of the host\n", "{name}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_loader_alone_has_its_cache() {
    let Some(mut world) = world_with(&["lib/ld-linux.so.2"]) else { return };
    start(&mut world, "");
    assert_eq!(path_of(&world, "libcuda.so.1"), Some(format!("{VIEW}/libcuda.so.1")));
}

/// Caches that the image's loader has no use for, or that we do not read, and what is said.
const UNUSABLE: &[Case] = &[
    case(
        "text",
        0,
        "not a library cache: it does not begin with one of glibc's two magic strings",
        |world| {
            world.write("image/etc/ld.so.cache", "text\n");
        },
    ),
    case("cut off", 0, "the library cache is cut off: 1 entries do not fit in 60 bytes", |world| {
        world.write("image/etc/ld.so.cache", &libc()[..60]);
    }),
    case("large", 0, "the library cache has more than 16777216 bytes", |world| {
        world.write("image/etc/ld.so.cache", libc());
        let file = fs::OpenOptions::new().write(true).open(world.path("image/etc/ld.so.cache")).unwrap();
        file.set_len(100 << 20).unwrap();
    }),
    case("other byte order", 0, "a library cache of another byte order (mark 3)", |world| {
        let mut cache = libc();
        cache[28] = 3;
        world.write("image/etc/ld.so.cache", cache);
    }),
    case("old", 0, "a library cache of before glibc 2.2", |world| {
        world.write("image/etc/ld.so.cache", b"ld.so-1.7.0\0\0\0\0\0");
    }),
];

fn libc() -> Vec<u8> {
    cache_of(&[("libc.so.6", "/lib/libc.so.6", Abi::NATIVE.unwrap())])
}

#[test]
fn a_cache_that_cannot_be_read_stays_and_is_covered_at_every_start() {
    for Case { name, prepare, exit, says } in UNUSABLE {
        let Some(mut world) = World::new() else { return };
        prepare(&mut world);
        let before = fs::metadata(world.path("image/etc/ld.so.cache")).unwrap();
        let mut upper = None;
        for _ in 0..2 {
            world.start();
            let Ended { code, says: said } = world.hook();
            let warning = format!(
                "nvbind-hook: the container's /etc/ld.so.cache is covered by one of the driver's libraries alone: {says}"
            );
            assert_eq!(code, Some(*exit), "{name}");
            assert!(said.starts_with(&warning) && said.lines().count() == 1, "{name}: {said}");
            assert_eq!(path_of(&world, "libcuda.so.1"), Some(format!("{VIEW}/libcuda.so.1")), "{name}");
            assert!(path_of(&world, "libc.so.6").is_none(), "{name}");
            let after = listing::of(&world.path("scratch/upper"));
            assert!(!after.iter().any(|line| line.contains("ld.so.cache")), "{name}: {after:?}");
            assert_eq!(*upper.get_or_insert_with(|| after.clone()), after, "{name}");
        }
        assert_eq!(fs::metadata(world.path("image/etc/ld.so.cache")).unwrap().len(), before.len(), "{name}");
    }
}

#[test]
fn an_empty_cache_is_none_and_is_replaced() {
    let Some(mut world) = World::new() else { return };
    world.write("image/etc/ld.so.cache", "");
    start(&mut world, "");
    assert!(path_of(&world, "libcuda.so.1").is_some());
    assert!(world.path("scratch/upper/etc/ld.so.cache").exists());
}

#[test]
fn entries_for_another_machine_are_kept() {
    let Some(mut world) = World::new() else { return };
    let other = if cfg!(target_arch = "aarch64") { Abi::X86_64 } else { Abi::Aarch64 };
    world.write("image/etc/ld.so.cache", cache_of(&[("libz.so.1", "/opt/other/libz.so.1", other)]));
    start(&mut world, "");
    assert_eq!(path_of(&world, "libz.so.1").as_deref(), Some("/opt/other/libz.so.1"));
    assert!(path_of(&world, "libcuda.so.1").is_some());
}

#[test]
fn an_image_s_own_files_in_the_view_s_place_keep_their_entries() {
    let Some(mut world) = World::new() else { return };
    let own = "/usr/local/nvidia/lib64/libown.so.1";
    let native = Abi::NATIVE.unwrap();
    let stale = ("libstale.so.1", "/run/nvbind/lib64/libstale.so.1", native);
    world.write("image/etc/ld.so.cache", cache_of(&[("libown.so.1", own, native), stale]));
    world.write(&format!("image{own}"), "");
    for _ in 0..2 {
        start(&mut world, "");
        assert_eq!(path_of(&world, "libown.so.1").as_deref(), Some(own));
        assert_eq!(path_of(&world, "libstale.so.1"), None);
        assert_eq!(path_of(&world, "libcuda.so.1").as_deref(), Some("/run/nvbind/lib64/libcuda.so.1"));
    }
}

/// What an image may lack. In each the driver is found by the cache, and an `ldconfig` inside would keep it.
const FORMS: &[Case] = &[
    case("no /etc", 0, "", |world| fs::remove_dir_all(world.path("image/etc")).unwrap()),
    case("no ld.so.conf", 0, "", |world| fs::remove_file(world.path("image/etc/ld.so.conf")).unwrap()),
    case("no ld.so.conf.d", 0, "", |world| fs::remove_dir(world.path("image/etc/ld.so.conf.d")).unwrap()),
    case("an ld.so.conf that includes nothing", 0, "", |world| {
        world.write("image/etc/ld.so.conf", "/opt/lib");
    }),
    case("no /usr", 0, "", |world| fs::remove_dir_all(world.path("image/usr")).unwrap()),
    case("a loader and nothing else", 0, "", |world| {
        for name in ["etc", "usr", "run", "proc"] {
            fs::remove_dir_all(world.path("image").join(name)).unwrap();
        }
    }),
    case("a merged /usr", 0, "", |world| {
        let loader = PathBuf::from(LOADER);
        let directory = loader.parent().unwrap().to_str().unwrap();
        world.write(&format!("image/usr/{LOADER}"), "");
        world.link(directory, format!("usr/{directory}"));
    }),
    case("an absolute link for the loader", 0, "", |world| {
        world.write("image/opt/glibc/ld.so", "");
        world.link(LOADER, "/opt/glibc/ld.so");
    }),
];

#[test]
fn an_image_that_lacks_this_or_that_has_the_driver_found() {
    for Case { name, prepare, .. } in FORMS {
        let Some(mut world) = World::new() else { return };
        prepare(&mut world);
        start(&mut world, name);
        assert_eq!(path_of(&world, "libcuda.so.1"), Some(format!("{VIEW}/libcuda.so.1")), "{name}");
        let read = |path: &str| fs::read_to_string(world.inside(path)).unwrap();
        assert_eq!(read("etc/ld.so.conf.d/00-nvbind.conf"), format!("{VIEW}\n"), "{name}");
        let conf = read("etc/ld.so.conf");
        assert!(conf.lines().any(|line| line == "include /etc/ld.so.conf.d/*.conf"), "{name}: {conf}");
        let upper = listing::of(&world.path("scratch/upper"));
        start(&mut world, name);
        assert_eq!(listing::of(&world.path("scratch/upper")), upper, "{name}");
    }
}

#[test]
fn an_image_without_a_loader_has_the_view_and_nothing_in_etc() {
    let Some(mut world) = world_with(&[]) else { return };
    fs::remove_dir_all(world.path("image/etc")).unwrap();
    start(&mut world, "");
    assert!(!world.inside("etc").exists());
}

#[test]
fn a_read_only_image_without_etc_is_told_that_nothing_finds_the_driver() {
    let Some(mut world) = World::new() else { return };
    fs::remove_dir_all(world.path("image/etc")).unwrap();
    world.mounts.push("mount -o remount,ro $ROOT");
    world.start();
    let ended = world.hook();
    let warning = "the container has no usable /etc; programs find the driver by LD_LIBRARY_PATH alone";
    assert_eq!(ended.code, Some(0));
    assert!(ended.says.contains(warning), "{}", ended.says);
    assert!(find(&world, "bin/nvidia-smi").exists());
}
