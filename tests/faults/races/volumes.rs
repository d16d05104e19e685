//! A volume on which another container exchanges what the hook looks for.

use super::Disturbance;
use crate::extent;
use crate::listing;
use crate::machine::{libcuda, shared_object};
use crate::quiet;
use crate::world::World;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Library, merge};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What stands on the volume, in the places that the hook looks at.
const PLACES: [&str; 9] = [
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "opt/a",
    "opt/b/libcuda.so.1",
    "opt/b/libnvidia-ml.so.1",
    "local/nvidia",
    "local/cuda/compat",
    "local/cuda/compat/libcuda.so.580.65.06",
];

/// What each place is exchanged for.
const ODD: [&str; 4] = ["link", "fifo", "directory", "file"];

fn world() -> Option<World> {
    let mut world = World::new()?;
    let libc = [Library { soname: b"libc.so.6", path: b"/lib/libc.so.6", abi: Abi::NATIVE? }];
    world.write("plain/etc/ld.so.cache", merge(None, &libc, &[]).unwrap());
    world.write("plain/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
    world.write("plain/etc/ld.so.conf.d/other.conf", "/opt/lib\n");
    for directory in ["opt/a", "opt/b"] {
        world.write(&format!("plain/{directory}/libcuda.so.1"), shared_object("libcuda.so.1"));
        world.write(&format!("plain/{directory}/libnvidia-ml.so.1"), shared_object("libnvidia-ml.so.1"));
    }
    let note = r#"{"format":1,"CUDA version":"13.0","driver":[570]}"#;
    let compat = "plain/local/cuda/compat";
    world.write(&format!("{compat}/libcuda.so.580.65.06"), libcuda("libcuda.so.1", note));
    symlink("libcuda.so.580.65.06", world.path(compat).join("libcuda.so.1")).unwrap();
    fs::create_dir(world.path("plain/local/nvidia")).unwrap();
    for place in PLACES {
        add_odd(&world, place);
    }
    for directory in ["opt", "usr/local"] {
        fs::create_dir_all(world.path("image").join(directory)).unwrap();
    }
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    world.config(&root, r#","process":{"env":["LD_LIBRARY_PATH=/opt/a:/opt/b:/usr/local/nvidia/lib64"]}"#);
    world.mounts.extend([
        "mount --bind $PLAIN/etc $ROOT/etc",
        "mount --bind $PLAIN/opt $ROOT/opt",
        "mount --bind $PLAIN/local $ROOT/usr/local",
    ]);
    Some(world)
}

/// Puts beside a place what it is exchanged for.
fn add_odd(world: &World, place: &str) {
    let aside = |kind: &str| odd(&world.path("plain").join(place), kind);
    symlink(world.path("outside"), aside("link")).unwrap();
    mkfifo(&aside("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(aside("directory")).unwrap();
    symlink(world.path("outside"), aside("directory").join("libcuda.so.1")).unwrap();
    fs::write(aside("file"), "no library\n").unwrap();
}

fn odd(place: &Path, kind: &str) -> PathBuf {
    place.with_file_name(format!("{}.{kind}", place.file_name().unwrap().display()))
}

/// Exchanges one place for something else; the next number brings it back.
fn exchange(volume: &Path, number: usize) {
    let place = volume.join(PLACES[number / 2 % PLACES.len()]);
    let other = odd(&place, ODD[number / 2 / PLACES.len() % ODD.len()]);
    renameat2(AT_FDCWD, &place, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
}

#[test]
fn nothing_leads_out_of_a_volume_whose_files_are_exchanged() {
    let _others = quiet::share();
    let Some(mut world) = world() else { return };
    world.start();
    let before = world.host();
    let (mut starts, mut refusals) = (0, 0);
    let volume = world.path("plain");
    Disturbance::run(
        |number| exchange(&volume, number),
        |_| {
            for _ in 0..extent::times(40, 3000) {
                world.renew();
                world.start();
                let ended = world.hook();
                assert!(matches!(ended.code, Some(0 | 2..=5)), "{ended:?}");
                if ended.code == Some(0) { starts += 1 } else { refusals += 1 }
            }
        },
    );
    assert_eq!(listing::difference(&before, &world.host()), Vec::<String>::new());
    extent::tell(format_args!("an exchanged volume: {starts} starts, {refusals} refusals"));
}
