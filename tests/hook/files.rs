//! The driver's data files and 32-bit libraries, and where programs of the image find them.

use crate::listing;
use crate::machine::VERSION;
use crate::world::World;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::Cache;
use std::fs;
use std::path::{Path, PathBuf};

const ICD: &str = "usr/share/vulkan/icd.d/nvidia_icd.json";

/// A world whose driver has what graphics needs, asked for with these capabilities.
fn graphics(capabilities: &str) -> Option<World> {
    let mut world = World::new()?;
    world.driver.add_graphics();
    ask(&mut world, capabilities);
    Some(world)
}

fn ask(world: &mut World, capabilities: &str) {
    world.request(&format!(r#""io.nvbind.gpu":"none","io.nvbind.capabilities":"{capabilities}""#));
}

fn start(world: &mut World) {
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
}

/// The links that are in the container's upper layer, with their targets.
fn links(world: &World) -> Vec<String> {
    let upper = world.path("scratch/upper");
    let lines = listing::of(&upper);
    let paths = lines.iter().map(|line| PathBuf::from(line.split(' ').next().unwrap()));
    let links = paths.filter(|path| path.is_symlink());
    let line = |path: PathBuf| {
        let target = fs::read_link(&path).unwrap();
        format!("/{} -> {}", path.strip_prefix(&upper).unwrap().display(), target.display())
    };
    links.map(line).collect()
}

#[test]
fn loaders_find_their_manifests_by_links_and_the_next_start_takes_back_what_it_does_not_have() {
    let Some(mut world) = graphics("graphics,compute") else { return };
    start(&mut world);
    let expected = [
        "/etc/OpenCL/vendors/nvidia.icd -> /usr/local/nvidia/share/OpenCL/vendors/nvidia.icd",
        "/usr/share/glvnd/egl_vendor.d/10_nvidia.json -> /usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json",
        "/usr/share/vulkan/icd.d/nvidia_icd.json -> /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json",
    ];
    assert_eq!(links(&world), expected);
    let read = |path: &str| fs::read_to_string(world.inside(path)).unwrap();
    assert_eq!(read("usr/local/nvidia/share/OpenCL/vendors/nvidia.icd"), "libnvidia-opencl.so.1\n");
    // The host's manifest, without the host's path.
    assert_eq!(
        read("usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json"),
        r#"{"ICD":{"api_version":"1.4.303","library_path":"libGLX_nvidia.so.0"}}"#
    );
    start(&mut world);
    assert_eq!(links(&world), expected);
    ask(&mut world, "compute");
    start(&mut world);
    assert_eq!(links(&world), expected[..1]);
}

#[test]
fn a_manifest_of_the_image_is_covered_and_no_second_one_is_made() {
    for path in ["etc/vulkan/icd.d/nvidia_icd.json", ICD, "usr/share/vulkan/icd.d/nvidia_icd.x86_64.json"] {
        let Some(mut world) = graphics("graphics") else { return };
        world.write(&format!("image/{path}"), "of the image\n");
        start(&mut world);
        assert!(!links(&world).iter().any(|link| link.contains("vulkan")), "{path}");
        let seen = fs::read_to_string(world.inside(path)).unwrap();
        assert!(seen.contains(r#""library_path":"libGLX_nvidia.so.0""#), "{path}: {seen}");
        assert!(!world.path("scratch/upper").join(path).exists(), "{path}");
    }
}

#[test]
fn what_the_image_has_instead_of_a_file_stays_and_is_told() {
    let Some(mut world) = graphics("graphics") else { return };
    fs::create_dir_all(world.path("image").join(ICD)).unwrap();
    world.start();
    let ended = world.hook();
    let says = "nvbind-hook: /usr/share/vulkan/icd.d/nvidia_icd.json is the image's own and no file; the driver's is /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json\n";
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), says));
    assert!(world.inside(ICD).is_dir());
}

#[test]
fn a_directory_of_manifests_that_leads_out_of_the_image_is_refused() {
    let Some(mut world) = graphics("graphics") else { return };
    fs::create_dir_all(world.path("image/usr/share")).unwrap();
    let outside = world.path("outside");
    world.link("usr/share/vulkan", outside);
    world.start();
    let before = world.snapshot();
    let ended = world.hook();
    let says = "nvbind-hook: container c0ffee: /usr/share/vulkan in the container's root filesystem is a link to \"@/outside\", which is not inside it; nothing was injected\n";
    assert_eq!((ended.code, ended.says.as_str()), (Some(5), says));
    world.assert_same(&before, "a link out");
}

#[test]
fn a_gbm_backend_stands_in_the_directory_of_the_image_s_libgbm_alone() {
    let Some(mut world) = graphics("graphics") else { return };
    world.write("image/usr/lib64/libgbm.so.1", "");
    world.write("image/usr/lib/gbm/other", "");
    start(&mut world);
    let gbm: Vec<String> = links(&world).into_iter().filter(|link| link.contains("gbm")).collect();
    assert_eq!(gbm, ["/usr/lib64/gbm/nvidia-drm_gbm.so -> /usr/local/nvidia/lib64/libnvidia-allocator.so.1"]);
    // Compute needs the library, too, and no backend.
    ask(&mut world, "compute");
    start(&mut world);
    assert!(!links(&world).iter().any(|link| link.contains("gbm")));
}

#[test]
fn an_image_of_nix_gets_the_view_where_its_programs_look() {
    let Some(mut world) = graphics("graphics") else { return };
    fs::create_dir_all(world.path("image/nix/store")).unwrap();
    start(&mut world);
    let target = |path: &str| fs::read_link(world.inside(path)).unwrap();
    assert_eq!(target("run/opengl-driver/lib"), Path::new("/usr/local/nvidia/lib64"));
    assert_eq!(target("run/opengl-driver/share"), Path::new("/usr/local/nvidia/share"));
    assert!(!world.inside("run/opengl-driver-32").exists());
}

#[test]
fn compat32_puts_32_bit_libraries_beside_and_into_the_cache() {
    let Some(mut world) = graphics("graphics,compat32") else { return };
    let file = format!("libGLX_nvidia.so.{VERSION}");
    world.driver.library_32("/usr/lib", &file, "libGLX_nvidia.so.0");
    start(&mut world);
    let bytes = |path: &Path| fs::read(path).unwrap();
    let inside = world.inside("usr/local/nvidia/lib").join(&file);
    assert_eq!(bytes(&inside), bytes(&world.driver.path("usr/lib").join(&file)));
    let cache = bytes(&world.inside("etc/ld.so.cache"));
    let cache = Cache::parse(&cache).unwrap();
    let mut found: Vec<(u32, &[u8])> = cache
        .entries()
        .iter()
        .filter(|entry| entry.soname == b"libGLX_nvidia.so.0")
        .map(|entry| (entry.flags, entry.path))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            (Abi::I386.flags(), &b"/usr/local/nvidia/lib/libGLX_nvidia.so.0"[..]),
            (Abi::NATIVE.unwrap().flags(), b"/usr/local/nvidia/lib64/libGLX_nvidia.so.0"),
        ]
    );
    let drop_in = fs::read_to_string(world.inside("etc/ld.so.conf.d/00-nvbind.conf")).unwrap();
    assert_eq!(drop_in, "/usr/local/nvidia/lib64\n/usr/local/nvidia/lib\n");
}
