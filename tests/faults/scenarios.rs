//! The kinds of starts that are disturbed.

use crate::cgroup::Cgroup;
use crate::machine::{VERSION, libcuda, shared_object};
use crate::world::{World, skip};
use nix::sys::stat::makedev;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Library, merge};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// A start, as it is when nothing goes wrong.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What the hook ends with.
    pub(crate) exit: i32,
    /// Nothing where this machine cannot have it.
    pub(crate) prepare: fn(&mut World) -> Option<()>,
    /// An earlier start of the same container.
    pub(crate) earlier: fn(&mut World),
    /// The nodes that the hook makes on the host.
    pub(crate) missing_nodes: &'static [&'static str],
    pub(crate) has_cgroup: bool,
    /// What the hook does without where it may not look: in the path of a call, or in what it says.
    pub(crate) passed_over: &'static [&'static str],
}

const PLAIN: Scenario = Scenario {
    name: "",
    exit: 0,
    prepare: |_| Some(()),
    earlier: |_| {},
    missing_nodes: &[],
    has_cgroup: false,
    passed_over: &[],
};

/// The driver's files of all kinds, in a container with all that an image may have for them.
pub(crate) static TWO_GPUS: Scenario = Scenario {
    name: "two GPUs with all capabilities",
    prepare: |world| {
        add_graphics(world);
        world.driver.write("proc/driver/nvidia/params", "ModifyDeviceFiles: 1\n");
        world.write("image/usr/lib64/libgbm.so.1", "");
        let root = root(world);
        world.config(&root, r#","linux":{"maskedPaths":["/proc/kcore"]}"#);
        world.mounts.push("mount -t proc proc $ROOT/proc");
        world.request(r#""io.nvbind.gpu":"all","io.nvbind.capabilities":"all""#);
        Some(())
    },
    ..PLAIN
};

/// A machine on which nothing has used the driver since it was loaded.
pub(crate) static MISSING_NODES: Scenario = Scenario {
    name: "missing nodes of the host",
    prepare: |world| {
        world.driver.write(
            "proc/driver/nvidia/params",
            "ModifyDeviceFiles: 1\nDeviceFileUID: 7\nDeviceFileGID: 44\nDeviceFileMode: 432\n",
        );
        Some(())
    },
    missing_nodes: &["nvidiactl", "nvidia1", "nvidia-uvm"],
    ..PLAIN
};

/// An image for which files of its own are covered and rewritten.
pub(crate) static IMAGE: Scenario = Scenario {
    name: "an image with two loaders and libraries of its own",
    prepare: |world| {
        let libc = [Library { soname: b"libc.so.6", path: b"/lib/libc.so.6", abi: Abi::NATIVE? }];
        world.write("image/etc/ld.so.cache", merge(None, &libc, &[]).ok()?);
        let musl = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
        world.write(&format!("image/lib/ld-musl-{musl}.so.1"), "");
        world.write(&format!("image/etc/ld-musl-{musl}.path"), "/lib:/usr/lib\n");
        world.write("image/usr/bin/nvidia-smi", "the image's");
        for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
            world.write(&format!("image/opt/a/{name}"), shared_object(name));
        }
        let note = r#"{"format":1,"CUDA version":"13.0","driver":[570]}"#;
        world.write("image/usr/local/cuda/compat/libcuda.so.580.65.06", libcuda("libcuda.so.1", note));
        world.link("usr/local/cuda/compat/libcuda.so.1", "libcuda.so.580.65.06");
        world.config(&root(world), r#","process":{"env":["LD_LIBRARY_PATH=/opt/a:/opt/b"]}"#);
        Some(())
    },
    // Programs of the image do so, too.
    passed_over: &["/opt/", " cannot be read, and is left as it is: "],
    ..PLAIN
};

pub(crate) static USER_NAMESPACE: Scenario = Scenario {
    name: "a user namespace",
    prepare: |world| {
        world.namespaces = &["--user", "--map-root-user", "--mount"];
        let made = Command::new("unshare").args(world.namespaces).arg("true").status().unwrap();
        if made.success() { Some(()) } else { skip("this machine has no user namespaces") }
    },
    ..PLAIN
};

pub(crate) static CGROUP: Scenario = Scenario {
    name: "a device cgroup",
    prepare: |_| match Cgroup::new() {
        Some(_) => Some(()),
        None => skip("this machine has no device cgroups of version 1 for tests"),
    },
    has_cgroup: true,
    ..PLAIN
};

/// A container that had more at its last start.
pub(crate) static RESTART: Scenario = Scenario {
    name: "a restart with less",
    prepare: |world| {
        add_graphics(world);
        Some(())
    },
    earlier: |world| {
        world.request(r#""io.nvbind.gpu":"all","io.nvbind.capabilities":"all""#);
        world.start();
        assert_eq!(world.hook().code, Some(0));
        world.request(r#""io.nvbind.gpu":"1","io.nvbind.capabilities":"compute""#);
    },
    ..PLAIN
};

/// A container that asks for isolation, and has what shows other GPUs as a volume.
pub(crate) static ISOLATED_VOLUME: Scenario = Scenario {
    name: "an isolated container with the host's /dev",
    exit: 2,
    prepare: |world| {
        let source = world.driver.path("dev").display().to_string();
        let mounts = format!(r#","mounts":[{{"destination":"/data","type":"bind","source":"{source}"}}]"#);
        isolate(world, &mounts);
        Some(())
    },
    ..PLAIN
};

/// The same, and has the node of another GPU.
pub(crate) static ISOLATED_NODE: Scenario = Scenario {
    name: "an isolated container with a node of its own",
    exit: 2,
    prepare: |world| {
        isolate(world, "");
        world.mounts.push("mknod $ROOT/dev/nvidia0 c 195 0");
        Some(())
    },
    ..PLAIN
};

/// A driver with a file that anybody could have changed.
pub(crate) static UNTRUSTED: Scenario = Scenario {
    name: "a library that anybody can write",
    exit: 4,
    prepare: |world| {
        let path = world.driver.path(&format!("usr/lib64/libcuda.so.{VERSION}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        Some(())
    },
    ..PLAIN
};

fn isolate(world: &mut World, mounts: &str) {
    let root = root(world);
    let masked = r#""linux":{"maskedPaths":["/proc/kcore"]}"#;
    world.write("userdata/config.json", format!(r#"{{"root":{root},{masked}{mounts}}}"#));
    world.request(r#""io.nvbind.gpu":"0","io.nvbind.isolate":"true""#);
}

fn root(world: &World) -> String {
    format!(r#"{{"path":"{}"}}"#, world.path("scratch/root").display())
}

fn add_graphics(world: &World) {
    for (stem, soname) in [
        ("libGLX_nvidia", "libGLX_nvidia.so.0"),
        ("libEGL_nvidia", "libEGL_nvidia.so.0"),
        ("libnvidia-allocator", "libnvidia-allocator.so.1"),
        ("libnvidia-opencl", "libnvidia-opencl.so.1"),
    ] {
        world.driver.library("/usr/lib64", &format!("{stem}.so.{VERSION}"), soname);
    }
    world.driver.library_32("/usr/lib", &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
    let icd = r#"{"ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.4.303"}}"#;
    world.driver.write("usr/share/vulkan/icd.d/nvidia_icd.json", icd);
    world.driver.write(&format!("lib/firmware/nvidia/{VERSION}/gsp_ga10x.bin"), "");
    let uuid = "GPU-aaaa0000-0000-0000-0000-000000000001";
    world.driver.gpu("0000:01:00.0", 1, uuid, &["card0", "renderD128"]);
    fs::create_dir(world.driver.path("dev/dri")).unwrap();
    for (name, minor) in [("card0", 0), ("renderD128", 128)] {
        crate::world::node(&world.driver.path("dev/dri").join(name), 0o666, makedev(226, minor)).unwrap();
    }
}
