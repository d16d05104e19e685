//! A Windows host as WSL2 shows it, simulated: it has never been tried on one.

use crate::machine::Machine;
use crate::world::{self, World};
use nix::sys::stat::makedev;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const STORE: &str = "usr/lib/wsl/drivers/nv_dispi.inf_amd64_5bf4a1";

/// A world with this number for the node.
fn wsl(major: u64, minor: u64) -> Option<World> {
    let mut world = World::new()?;
    world.driver = Machine::wsl();
    let node = world.driver.path("dev/dxg");
    fs::remove_file(&node).unwrap();
    world::node(&node, 0o666, makedev(major, minor)).unwrap();
    world.arguments =
        ["prestart", "--driver-root", world.driver.path("").to_str().unwrap()].map(str::to_owned).to_vec();
    Some(world)
}

#[test]
fn the_driver_of_windows_is_found_where_its_libraries_look() {
    let Some(mut world) = wsl(10, 125) else { return };
    for _start in ["first", "again"] {
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        let node = fs::metadata(world.inside("dev/dxg")).unwrap();
        assert_eq!((node.rdev(), node.mode() & 0o777), (makedev(10, 125), 0o666));
        let link = fs::read_link(world.inside("usr/lib/wsl")).unwrap();
        assert_eq!(link, Path::new("/usr/local/nvidia/wsl"));
        let view = world.inside("usr/local/nvidia");
        let store = world.driver.path(STORE);
        for name in ["libcuda.so.1.1", "libnvidia-ml.so.1", "nvcubins.bin"] {
            let inside = view.join(STORE.strip_prefix("usr/lib/").unwrap()).join(name);
            assert_eq!(fs::read(inside).unwrap(), fs::read(store.join(name)).unwrap(), "{name}");
        }
        assert!(view.join("wsl/lib/libdxcore.so").exists() && view.join("bin/nvidia-smi").exists());
        let cache = fs::read(world.inside("etc/ld.so.cache")).unwrap();
        let has = |name: &[u8]| cache.windows(name.len()).any(|window| window == name);
        assert!(has(b"/usr/local/nvidia/lib64/libcuda.so.1\0") && !has(b"libother"));
    }
}

#[test]
fn a_node_that_is_not_windows_own_and_a_gpu_by_name_are_refused() {
    let Some(mut world) = wsl(1, 3) else { return };
    world.start();
    let before = world.snapshot();
    let refused = |world: &World, says: &str| {
        let ended = world.hook();
        assert_eq!((ended.code, ended.says), (Some(3), format!("nvbind-hook: container c0ffee: {says}\n")));
        world.assert_same(&before, says);
    };
    refused(
        &world,
        "@driver/dev/dxg is not the character device 10:125; remove it, and run `wsl --update` in Windows",
    );
    world.request(r#""io.nvbind.gpu":"1""#);
    refused(
        &world,
        "WSL2 has one device node for all GPUs, so that 1 cannot be chosen; ask for all, 0 or none",
    );
}
