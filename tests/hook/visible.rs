//! What a container sees of the kernel module in procfs: the chosen GPUs and no others.

use crate::machine::VERSION;
use crate::world::World;
use std::fs;
use std::path::Path;

const PARAMS: &str = "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileMode: 438\n";
const MASKED: &str = r#","linux":{"maskedPaths":["/proc/kcore"]}"#;

/// A world whose container has a /proc, and asks for GPU 1.
fn with_proc(config: &str) -> Option<World> {
    let mut world = World::new()?;
    world.driver.write("proc/driver/nvidia/params", PARAMS);
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    world.config(&root, config);
    world.mounts.push("mount -t proc proc $ROOT/proc");
    world.request(r#""io.nvbind.gpu":"1","io.nvbind.capabilities":"compute,graphics""#);
    Some(world)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn procfs_tells_of_the_chosen_gpu_alone_and_of_no_right_to_make_nodes() {
    let Some(mut world) = with_proc(MASKED) else { return };
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    let proc = world.inside("proc/driver/nvidia");
    assert_eq!(names(&proc), ["gpus", "params", "version"]);
    assert_eq!(names(&proc.join("gpus")), ["0000:41:00.0"]);
    let information = fs::read_to_string(proc.join("gpus/0000:41:00.0/information")).unwrap();
    assert!(information.contains("GPU-bbbb0000"), "{information}");
    let params = fs::read_to_string(proc.join("params")).unwrap();
    assert_eq!(params, PARAMS.replace("ModifyDeviceFiles: 1", "ModifyDeviceFiles: 0"));
    assert!(fs::read_to_string(proc.join("version")).unwrap().contains(VERSION));
    let written = fs::write(proc.join("params"), "").unwrap_err();
    assert_eq!(written.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // The host's own is as it was.
    assert!(fs::read_to_string(world.driver.path("proc/driver/nvidia/params")).unwrap().contains("Files: 1"));
}

#[test]
fn a_container_that_is_to_see_all_of_proc_does() {
    for config in ["", r#","linux":{"maskedPaths":[]}"#] {
        let Some(mut world) = with_proc(config) else { return };
        world.start();
        assert_eq!(world.hook().code, Some(0));
        assert!(!world.inside("proc/driver/nvidia").exists(), "{config}");
        assert!(!world.inside("usr/local/nvidia/proc").exists(), "{config}");
    }
}

#[test]
fn a_directory_of_the_image_in_the_place_of_procfs_is_left_alone() {
    let Some(mut world) = with_proc(MASKED) else { return };
    world.mounts.pop();
    fs::create_dir_all(world.path("image/proc/driver/nvidia")).unwrap();
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert_eq!(names(&world.inside("proc/driver/nvidia")), Vec::<String>::new());
}

#[test]
fn egl_is_told_of_the_chosen_gpu_by_its_minor_number() {
    let Some(mut world) = with_proc(MASKED) else { return };
    world.start();
    assert_eq!(world.hook().code, Some(0));
    let path = "etc/nvidia/nvidia-application-profiles-rc.d/10-nvbind.conf";
    let link = fs::read_link(world.inside(path)).unwrap();
    let link = link.strip_prefix("/").unwrap().to_str().unwrap();
    let profile = fs::read_to_string(world.inside(link)).unwrap();
    assert!(profile.contains(r#"["EGLVisibleDGPUDevices",0x1]"#), "{profile}");
    // With all of them there is nothing to tell.
    world.request(r#""io.nvbind.gpu":"all""#);
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert!(!world.inside(path).is_symlink());
}
