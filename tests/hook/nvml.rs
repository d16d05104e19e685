//! MIG devices: found in procfs, or by NVML, for which a script stands in for the `nvbind` that asks it.

use crate::machine::VERSION;
use crate::world::{HOOK, World};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

const CAPS: [u32; 3] = [12, 13, 14];

/// What `nvbind` prints of the world's GPUs.
const LISTING: &str = r#"{"gpus": [{"pci": "0000:41:00.0", "uuid": "GPU-bbbb", "mig": [
    {"gpu_instance": 1, "compute_instance": 1, "index": 0, "uuid": "MIG-eeee", "profile": "1c.2g.20gb"},
    {"gpu_instance": 1, "compute_instance": 0, "index": 1, "uuid": "MIG-dddd", "profile": null}]}]}"#;

/// A world whose GPU 1 has two compute instances in one GPU instance, and that asks for `gpu`.
fn with_mig(gpu: &str) -> Option<World> {
    let mut world = World::new()?;
    world.driver.mig(0, &[(1, 0, 12, 13), (1, 1, 12, 14)]);
    fs::create_dir(world.driver.path("dev/nvidia-caps")).unwrap();
    for cap in CAPS {
        let path = world.driver.path(&format!("dev/nvidia-caps/nvidia-cap{cap}"));
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o444), makedev(235, cap.into())).unwrap();
    }
    let root = format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display());
    world.config(&root, r#","linux":{"maskedPaths":["/proc/kcore"]}"#);
    world.mounts.push("mount -t proc proc $ROOT/proc");
    world.request(&format!(r#""io.nvbind.gpu":"{gpu}","io.nvbind.capabilities":"utility""#));
    Some(world)
}

/// Installs the hook with a script in the place of `nvbind`, and a configuration that says where the driver is.
fn install(world: &mut World, script: &str) {
    let root = world.driver.path("").display().to_string();
    let keys = ["root", "dev_root", "proc_root", "sys_root"].map(|key| format!("{key} = {root:?}\n"));
    world.write("config.toml", format!("[driver]\n{}", keys.concat()));
    let config = world.path("config.toml").display().to_string();
    world.arguments = ["prestart".into(), "--config".into(), config].into();
    for (name, program) in
        [("prefix/libexec/nvbind/nvbind-hook", HOOK.into()), ("prefix/bin/nvbind", world.path("script"))]
    {
        world.write("script", format!("#!/bin/sh\n{script}\n"));
        let path = world.path(name);
        // Not written by this process: another thread's child would hold it open for writing when it is started.
        let copied =
            Command::new("install").args(["-D", "-m", "755"]).arg(program).arg(path).status().unwrap();
        assert!(copied.success());
    }
}

/// Runs the installed hook: its exit code, and what it says.
fn hook(world: &World) -> (Option<i32>, String) {
    let mut command = Command::new(world.path("prefix/libexec/nvbind/nvbind-hook"));
    command.args(&world.arguments).env_clear().env("LEAKED", "yes");
    let ended = world.run(&mut command);
    (ended.code, ended.says)
}

fn caps(world: &World) -> Vec<String> {
    let Ok(entries) = fs::read_dir(world.inside("dev/nvidia-caps")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_mig_device_by_its_instances_comes_with_its_two_nodes_and_access_files_alone() {
    let Some(mut world) = with_mig("MIG-GPU-bbbb0000/1/1") else { return };
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert_eq!(caps(&world), ["nvidia-cap12", "nvidia-cap14"]);
    let proc = world.inside("proc/driver/nvidia");
    let access =
        |path: &str| fs::read_to_string(proc.join("capabilities/gpu0/mig").join(path).join("access"));
    assert!(access("gi1").unwrap().starts_with("DeviceFileMinor: 12\n"));
    assert!(access("gi1/ci1").unwrap().starts_with("DeviceFileMinor: 14\n"));
    assert!(access("gi1/ci0").is_err());
    assert!(!world.inside("dev/nvidia1").exists() && world.inside("dev/nvidia0").exists());
}

#[test]
fn nvml_is_asked_for_a_mig_index_with_an_empty_environment_and_root_s_library() {
    for (gpu, nodes) in
        [("1:0", ["nvidia-cap12", "nvidia-cap14"]), ("MIG-dddd", ["nvidia-cap12", "nvidia-cap13"])]
    {
        let Some(mut world) = with_mig(gpu) else { return };
        let asked = world.path("asked").display().to_string();
        install(&mut world, &format!("echo \"$* $LEAKED\" > {asked}; echo '{LISTING}'"));
        world.start();
        assert_eq!(hook(&world), (Some(0), String::new()), "{gpu}");
        assert_eq!(caps(&world), nodes);
        let library = world.driver.path(&format!("usr/lib64/libnvidia-ml.so.{VERSION}"));
        assert_eq!(fs::read_to_string(asked).unwrap(), format!("nvml --library {} \n", library.display()));
    }
}

#[test]
fn nvml_is_not_asked_for_what_procfs_answers() {
    let none = "nvbind-hook: GPU 1 is divided into MIG devices of which none is asked for, so that CUDA finds no device on it\n";
    for (gpu, says) in [("all", ""), ("MIG-GPU-bbbb/1/0", ""), ("1", none), ("0-1", none), ("GPU-bbbb", none)]
    {
        let Some(mut world) = with_mig(gpu) else { return };
        install(&mut world, "exit 1");
        world.start();
        assert_eq!(hook(&world), (Some(0), says.to_owned()), "{gpu}");
    }
}

#[test]
fn nvml_is_asked_for_an_allowed_mig_device_where_a_container_may_get_one() {
    for (gpu, exit, nodes) in
        [("all", 0, &["nvidia-cap12", "nvidia-cap13"][..]), ("MIG-GPU-bbbb/1/1", 4, &[]), ("1", 4, &[])]
    {
        let Some(mut world) = with_mig(gpu) else { return };
        let asked = world.path("asked");
        install(&mut world, &format!("echo > {}; echo '{LISTING}'", asked.display()));
        let config = fs::read_to_string(world.path("config.toml")).unwrap();
        let allowed = "[security]\nrestrict_devices = true\nallowed_devices = [\"MIG-dddd\"]\n";
        world.write("config.toml", config + allowed);
        world.start();
        let refused = format!(
            "nvbind-hook: container c0ffee: GPU {gpu} is not allowed; security.allowed_devices of @/config.toml allows MIG-dddd\n"
        );
        assert_eq!(hook(&world), (Some(exit), if exit == 0 { String::new() } else { refused }));
        assert_eq!(caps(&world), nodes, "{gpu}");
        assert_eq!(asked.exists(), gpu != "1", "{gpu}");
    }
}

#[test]
fn without_an_answer_the_container_is_refused_with_the_reason() {
    let cases: [(&str, i32, &str); 3] = [
        (
            "echo 'nvbind: nvmlInit_v2 failed' >&2; exit 3",
            3,
            "NVML cannot be asked: @/prefix/bin/nvbind failed (exit status: 3): nvbind: nvmlInit_v2 failed",
        ),
        (
            "echo no",
            3,
            "@/prefix/bin/nvbind printed no list of GPUs; is it of the same version?: expected ident at line 1 column 2",
        ),
        (
            "echo '{\"gpus\": []}'",
            3,
            "there is no GPU 1:0; this machine has 0 (GPU-aaaa0000-0000-0000-0000-000000000001, 0000:01:00.0), 1 (GPU-bbbb0000-0000-0000-0000-000000000002, 0000:41:00.0), MIG-GPU-bbbb0000-0000-0000-0000-000000000002/1/0, MIG-GPU-bbbb0000-0000-0000-0000-000000000002/1/1",
        ),
    ];
    for (script, exit, says) in cases {
        let Some(mut world) = with_mig("1:0") else { return };
        install(&mut world, script);
        refused(&mut world, exit, says);
    }
}

fn refused(world: &mut World, exit: i32, says: &str) {
    // What is in it changes by itself.
    assert!(world.mounts.pop().unwrap().contains("proc"));
    world.start();
    let before = world.snapshot();
    let expected = (Some(exit), format!("nvbind-hook: container c0ffee: {says}\n"));
    assert_eq!(hook(world), expected);
    world.assert_same(&before, says);
}

#[test]
fn what_others_than_root_could_change_is_not_run() {
    type Prepare = fn(&World);
    let cases: [(&str, Prepare); 4] = [
        ("@/prefix/bin/nvbind", |world| {
            fs::set_permissions(world.path("prefix/bin/nvbind"), fs::Permissions::from_mode(0o775)).unwrap();
        }),
        ("@/prefix/bin", |world| chown(world.path("prefix/bin"), Some(1000), None).unwrap()),
        ("@driver/usr/lib64/libnvidia-ml.so.570.172.08", |world| {
            let path = world.driver.path(&format!("usr/lib64/libnvidia-ml.so.{VERSION}"));
            chown(path, Some(1000), None).unwrap();
        }),
        ("@driver/usr/lib64", |world| {
            fs::set_permissions(world.driver.path("usr/lib64"), fs::Permissions::from_mode(0o757)).unwrap();
        }),
    ];
    for (path, prepare) in cases {
        let Some(mut world) = with_mig("1:0") else { return };
        let ran = world.path("ran").display().to_string();
        install(&mut world, &format!("echo > {ran}; echo '{LISTING}'"));
        prepare(&world);
        let says = format!("NVML is not asked: {path} is not root's alone to write");
        refused(&mut world, 4, &says);
        assert!(!fs::exists(ran).unwrap(), "{path}");
    }
}

#[test]
fn with_a_driver_root_or_in_the_container_s_namespaces_nvml_is_not_asked() {
    let rest = "name it MIG-GPU-UUID/GI/CI, by its GPU's UUID and the numbers of its GPU instance and compute instance";
    for (stage, why) in [("prestart", "with --driver-root"), ("createContainer", "at stage createContainer")]
    {
        let Some(mut world) = with_mig("MIG-dddd") else { return };
        let before = world.arguments.clone();
        install(&mut world, &format!("echo '{LISTING}'"));
        if stage == "prestart" {
            world.arguments = before;
        }
        world.arguments[0] = stage.into();
        let says = format!(
            "MIG-dddd is a MIG device that only NVML could look up, which is not asked {why}; {rest}"
        );
        refused(&mut world, 2, &says);
    }
}
