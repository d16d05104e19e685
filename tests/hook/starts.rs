//! Starts that follow one another on the same root filesystem, and the stage createContainer.

use crate::listing;
use crate::world::{HOOK, World, other_driver, skip};
use nvbind_core::ldcache::Cache;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::process::Command;

fn sonames(world: &World) -> Vec<String> {
    let cache = fs::read(world.inside("etc/ld.so.cache")).unwrap();
    let cache = Cache::parse(&cache).unwrap();
    let mut names: Vec<_> =
        cache.entries().iter().map(|entry| String::from_utf8_lossy(entry.soname).into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_start_changes_what_is_documented_and_a_restart_nothing() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = world.snapshot();
    assert_eq!(world.hook().code, Some(0));
    let mounts = before.len() - before.iter().filter(|line| line.starts_with('/')).count();
    assert_eq!(world.snapshot()[..mounts], before[..mounts], "the host's mounts");
    let upper = world.path("scratch/upper");
    let first = listing::of(&upper);
    let names: Vec<&str> = first
        .iter()
        .map(|line| line.split(' ').next().unwrap().strip_prefix(upper.to_str().unwrap()).unwrap())
        .collect();
    let expected = [
        "/etc",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf.d",
        "/etc/ld.so.conf.d/00-nvbind.conf",
        "/usr",
        "/usr/bin",
        "/usr/bin/nvidia-smi",
        "/usr/local",
        "/usr/local/nvidia",
    ];
    assert_eq!(names, expected);
    for node in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"] {
        let kind = fs::metadata(world.inside("dev").join(node)).unwrap().file_type();
        assert!(kind.is_char_device(), "{node}");
    }

    for _ in 0..2 {
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        assert_eq!(listing::of(&upper), first);
    }
}

#[test]
fn another_driver_at_the_next_start_leaves_nothing_of_the_first() {
    let Some(mut world) = World::new() else { return };
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert!(sonames(&world).contains(&"libnvidia-ml.so.1".to_owned()));
    let driver = other_driver();
    world.arguments[2] = driver.path("").display().to_string();
    world.request(r#""io.nvbind.gpu":"none""#);
    world.start();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    assert_eq!(sonames(&world), ["libcuda.so", "libcuda.so.1", "libcuda.so.535.261.03"]);
    assert!(!world.inside("usr/bin/nvidia-smi").is_symlink());
}

#[test]
fn a_second_hook_in_the_same_container_hides_nothing() {
    let Some(mut world) = World::new() else { return };
    world.start();
    for _ in 0..2 {
        assert_eq!(world.hook().code, Some(0));
        assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists());
    }
}

#[test]
fn the_view_and_all_that_is_bound_in_it_is_read_only_nosuid_nodev_and_private() {
    let Some(mut world) = World::new() else { return };
    world.start();
    assert_eq!(world.hook().code, Some(0));
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    let view = world.path("scratch/root/usr/local/nvidia").display().to_string();
    let of_view: Vec<&str> = mounts.lines().filter(|line| line.contains(&view)).collect();
    assert!(of_view.len() > 3, "{mounts}");
    for mount in of_view {
        let fields: Vec<&str> = mount.split(' ').collect();
        let has = |option: &str| fields[5].split(',').any(|given| given == option);
        assert!(["ro", "nosuid", "nodev"].into_iter().all(has), "{mount}");
        assert_eq!(fields[6], "-", "not shared, and no slave: {mount}");
    }
}

#[test]
fn in_a_container_with_a_user_namespace_the_host_s_nodes_are_bound() {
    let Some(mut world) = World::new() else { return };
    world.namespaces = &["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(world.namespaces).arg("true").status().unwrap().success() {
        skip::<()>("this machine has no user namespaces");
        return;
    }
    world.start();
    let before = world.snapshot();
    world.request(r#""io.nvbind.gpu":"none,0""#);
    assert_eq!(world.hook().code, Some(2));
    world.assert_same(&before, "a refusal");
    world.request(r#""io.nvbind.gpu":"0""#);
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    let node = |path: std::path::PathBuf| fs::metadata(path).map(|node| (node.ino(), node.rdev())).unwrap();
    assert_eq!(node(world.inside("dev/nvidia1")), node(world.driver.path("dev/nvidia1")));
    assert!(!world.inside("dev/nvidia0").exists());
    assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists());
    let upper = listing::of(&world.path("scratch/upper"));
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert_eq!(listing::of(&world.path("scratch/upper")), upper);
}

#[test]
fn a_node_that_only_its_owner_can_write_is_no_use_in_a_user_namespace() {
    let Some(mut world) = World::new() else { return };
    world.namespaces = &["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(world.namespaces).arg("true").status().unwrap().success() {
        skip::<()>("this machine has no user namespaces");
        return;
    }
    let node = world.driver.path("dev/nvidia1");
    world.start();
    let refuse = |world: &World, mode: u32, says: &str| {
        fs::set_permissions(&node, fs::Permissions::from_mode(mode)).unwrap();
        let before = world.snapshot();
        let ended = world.hook();
        let says = format!("nvbind-hook: container c0ffee: {says}\n");
        assert_eq!((ended.code, ended.says), (Some(4), says), "{mode:o}");
        world.assert_same(&before, "a refusal");
    };
    let owners = "nobody but its owner can read and write @driver/dev/nvidia1 (0644); have root give everybody access: `nvbind setup --device-mode 0666`";
    refuse(&world, 0o644, owners);
    let groups = "@driver/dev/nvidia1 is for its owner and group alone (0664); rootless, start with crun and `--group-add keep-groups` if you are in that group; else have root give everybody access: `nvbind setup --device-mode 0666`";
    refuse(&world, 0o664, groups);
    fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).unwrap();
    let ended = world.hook();
    assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
}

/// Runs the hook as a runtime does at stage createContainer: inside the container's mount namespace.
fn create_container(rules: &str, root: &str) -> Option<(Option<i32>, String, bool)> {
    let mut world = World::new()?;
    std::os::unix::fs::symlink("scratch", world.path("linked")).unwrap();
    let root = format!(r#"{{"path":"{}"}}"#, world.path(root).display());
    world.config(&root, &format!(r#","linux":{{"resources":{{"devices":{rules}}}}}"#));
    world.state = String::from_utf8(world.state.clone()).unwrap().replace("PID", "0").into_bytes();
    world.start();
    let before = world.snapshot();
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &world.pid().to_string(), HOOK, "createContainer"]);
    command.args(&world.arguments[1..]).env_clear().env("PATH", "/usr/bin:/bin");
    let ended = world.run(&mut command);
    Some((ended.code, ended.says, world.snapshot() == before))
}

/// As where the storage of containers is on another disk.
#[test]
fn at_stage_create_container_the_root_filesystem_may_be_behind_a_link() {
    let Some(ended) = create_container("null", "linked/root") else { return };
    assert_eq!(ended, (Some(0), String::new(), false));
}

#[test]
fn at_stage_create_container_the_device_rules_decide() {
    let deny = r#"{"allow":false,"access":"rwm"}"#;
    let allow = r#"{"allow":true,"type":"c","major":195,"access":"rw"},{"allow":true,"type":"c","major":511,"access":"rwm"}"#;
    let refused = "nvbind-hook: container c0ffee: the container may not use /dev/nvidia-modeset: at stage createContainer the device has to be allowed in linux.resources.devices already; use stage prestart\n";
    for (rules, code, says) in [
        ("null".to_owned(), 0, ""),
        (format!("[{deny},{allow}]"), 0, ""),
        (format!("[{deny}]"), 4, refused),
        (format!("[{allow},{deny}]"), 4, refused),
    ] {
        let Some(ended) = create_container(&rules, "scratch/root") else { return };
        assert_eq!(ended, (Some(code), says.to_owned(), code != 0), "{rules}");
    }
}
