//! The world that rows begin with: a driver with all that goes to well-known places, and an outside that has the same
//! names as an image, so that a link that is followed finds something there.

use crate::machine::{VERSION, libcuda, shared_object};
use crate::row::Row;
use crate::world::{self, LOADER, World};
use nix::sys::stat::makedev;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Library, merge};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What NVIDIA's libcuda of CUDA 13.0 says: it works on the driver of the tests.
const NOTE: &str = r#"{"format":1,"CUDA version":"13.0","driver":[570]}"#;

/// The outside's files. Some stand in it for `/usr`, some for `/usr/local`, some for `/etc`, and so on.
const OUTSIDE: &[&str] = &[
    "bin/nvidia-smi",
    "local/nvidia/lib64/libcuda.so.1",
    "share/vulkan/icd.d/nvidia_icd.json",
    "vulkan/icd.d/nvidia_icd.json",
    "icd.d/nvidia_icd.json",
    "glvnd/egl_vendor.d/10_nvidia.json",
    "OpenCL/vendors/nvidia.icd",
    "vendors/nvidia.icd",
    "gbm/nvidia-drm_gbm.so",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d/00-nvbind.conf",
    ".ld.so.cache.nvbind",
    ".ld.so.conf.nvbind",
    "ld-musl-x86_64.path",
    "nvidia-smi",
    "nvidia_icd.json",
    "libcuda.so.1",
    "lib64/libcuda.so.1",
    "compat/libcuda.so.1",
];

/// Makes a world a row's.
pub(crate) fn furnish(world: &mut World, row: &Row) {
    for path in OUTSIDE {
        world.write(&format!("outside/{path}"), "of the host\n");
    }
    for directory in ["outside/empty", "scratch/volume"] {
        fs::create_dir(world.path(directory)).unwrap();
    }
    add_driver(world);
    add_parts(world);
    if row.is_musl {
        fs::remove_file(world.path("image").join(LOADER)).unwrap();
        world.write(&format!("image/{}", crate::places::MUSL), "");
    }
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    world.config(&root, &row.configuration());
    world.request(r#""io.nvbind.gpu":"all","io.nvbind.extras":"mps""#);
    row.build(world);
}

fn add_driver(world: &World) {
    let driver = &world.driver;
    driver.add_graphics();
    driver.gpu("0000:01:00.0", 1, "GPU-aaaa0000-0000-0000-0000-000000000001", &["card0", "renderD128"]);
    fs::create_dir(driver.path("dev/dri")).unwrap();
    for (name, minor) in [("card0", 0), ("renderD128", 128)] {
        world::node(&driver.path("dev/dri").join(name), 0o666, makedev(226, minor)).unwrap();
    }
    for (stem, soname) in
        [("libnvoptix", "libnvoptix.so.1"), ("libnvidia-vksc-core", "libnvidia-vksc-core.so.1")]
    {
        driver.library("/usr/lib64", &format!("{stem}.so.{VERSION}"), soname);
    }
    driver.library("/usr/lib64", "libnvidia-egl-gbm.so.1.1.2", "libnvidia-egl-gbm.so.1");
    let manifest = r#"{"ICD":{"library_path":"libnvidia-vksc-core.so.1"}}"#;
    driver.write("usr/share/vulkansc/icd.d/nvidia_icd_vksc.json", manifest);
    let manifest = r#"{"layers":[{"name":"VK_LAYER_NV_optimus","library_path":"libGLX_nvidia.so.0"}]}"#;
    driver.write("usr/share/vulkan/implicit_layer.d/nvidia_layers.json", manifest);
    for path in [
        "usr/share/nvidia/nvoptix.bin",
        "usr/lib/xorg/modules/extensions/libglxserver_nvidia.so",
        "usr/share/nvidia/nvidia-application-profiles-rc",
        "usr/lib/xorg/modules/drivers/nvidia_drv.so",
        "usr/share/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
    ] {
        driver.write(path, "");
    }
    driver.write(&format!("lib/firmware/nvidia/{VERSION}/gsp_ga10x.bin"), "");
    fs::create_dir_all(driver.path("run/nvidia-persistenced")).unwrap();
    drop(UnixListener::bind(driver.path("run/nvidia-persistenced/socket")).unwrap());
    fs::create_dir_all(driver.path("tmp/nvidia-mps")).unwrap();
    fs::set_permissions(driver.path("tmp"), Permissions::from_mode(0o1777)).unwrap();
}

/// What a row's shell cannot make, in `$IMAGE/../parts`.
fn add_parts(world: &World) {
    let libc = [Library { soname: b"libc.so.6", path: b"/lib/libc.so.6", abi: Abi::NATIVE.unwrap() }];
    world.write("parts/cache", merge(None, &libc, &[]).unwrap());
    world.write("parts/library", shared_object(crate::judge::SONAME));
    for path in ["parts/newer", "outside/compat/libcuda.so.580.65.06"] {
        world.write(path, libcuda(crate::judge::SONAME, NOTE));
    }
    drop(UnixListener::bind(world.path("parts/socket")).unwrap());
    let outside = world.path("outside/empty");
    for (name, links, end) in
        [("39", 38, Path::new("/var/here")), ("39-out", 38, &outside), ("60", 60, Path::new("/var/here"))]
    {
        add_chain(world, name, links, end);
    }
}

/// A chain of links as it is in an image's `/var`: each leads to the next, and the last to `end`.
fn add_chain(world: &World, name: &str, links: u32, end: &Path) {
    let directory = world.path("parts/chains").join(name);
    fs::create_dir_all(&directory).unwrap();
    for number in 1..=links {
        let next = PathBuf::from(format!("/var/{name}/{}", number + 1));
        symlink(if number == links { end } else { &next }, directory.join(number.to_string())).unwrap();
    }
}
