//! A healthy machine, broken in one way at a time: the check that is for it tells so, and no other.

use super::display::tests::cookies;
use super::{CHECKS, Failures, Fix, Machine, Report, Status, examine, run_fixes};
use crate::cdi::{Kind as Cdi, Specification};
use crate::config::{Kind, Layer};
use crate::driver::User;
use crate::fixture;
use crate::podman::containers_conf::Sources;
use nvbind_core::record::Record;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

const HOOKS: &str = "usr/share/containers/oci/hooks.d";
const HOOK: &str = "usr/libexec/nvbind/nvbind-hook";
const LIBRARY: &str = "/usr/lib64/libcuda.so.570.172.08";

const X11: &str = "tmp/.X11-unix/X0";
const WAYLAND: &str = "run/user/4242/wayland-0";

/// A user that no test runs as, so that no file of a fixture is theirs.
const USER: u32 = 4242;

/// A machine with nothing to complain of.
fn healthy() -> fixture::Machine {
    let tree = fixture::Machine::new();
    tree.gpu("0000:01:00.0", 0, "GPU-aaaa0000-0000-0000-0000-000000000001", &[]);
    for node in ["nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"] {
        tree.write(&format!("dev/{node}"), "xserver_misc_device_t");
        mode(&tree, &format!("dev/{node}"), 0o666);
    }
    for (path, content) in [
        ("run/nvidia-persistenced/socket", ""),
        ("usr/bin/podman", "podman version 5.4.2"),
        ("usr/bin/crun", "crun version 1.21\ncommit: 0"),
        (&format!("{HOOKS}/nvbind.json"), include_str!("../../../../hooks.d/nvbind.json")),
        (
            "etc/cdi/nvidia.yaml",
            &format!("kind: nvidia.com/gpu\ncontainerEdits:\n  mounts:\n  - hostPath: {LIBRARY}\n"),
        ),
        ("etc/subuid", "other:100000:65536\ntester:165536:65536\n"),
        ("etc/subgid", "4242:100000:65536\n"),
        ("run/systemd/system/unit", ""),
        ("var/lib/systemd/linger/tester", ""),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
        ("sys/fs/selinux/enforce", "1"),
        ("sys/fs/selinux/booleans/container_use_devices", "0 0"),
        ("sys/fs/selinux/policy", "\u{1}container_t\u{0}\u{1}nvbind_container_t\u{0}"),
        ("usr/share/selinux/packages/nvbind.cil", "(type nvbind_container_t)"),
        ("sys/module/apparmor/parameters/enabled", "Y\n"),
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
        ("etc/apparmor.d/podman", "profile podman /usr/bin/podman flags=(unconfined) {\n  userns,\n}\n"),
        ("usr/bin/dnf", ""),
        ("etc/os-release", "ID=fedora\nVERSION_ID=42\n"),
        ("etc/containers/registries.conf", "# unqualified-search-registries = []\n"),
        (
            "etc/containers/registries.conf.d/shortnames.conf",
            "[aliases]\nalpine = \"docker.io/library/alpine\"\n",
        ),
        ("home/.config/nvbind/config.toml", "[gpu]\ndefault_selection = \"0\"\n"),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"),
        ("etc/systemd/system/web.service", "[Service]\nUser=1000\nExecStart=/usr/bin/podman run web\n"),
        ("etc/containers/systemd/users/web.container", "[Container]\nImage=i\nAnnotation=io.nvbind.gpu=0\n"),
        ("etc/systemd/system/mail.service", "[Service]\nUser=mail\nExecStart=/usr/sbin/mail\n"),
        ("var/lib/systemd/linger/alice", ""),
    ] {
        tree.write(path, content);
    }
    tree.write("home/.Xauthority", cookies("0"));
    for socket in [X11, WAYLAND] {
        let path = tree.path(socket);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The file stays.
        UnixListener::bind(path).unwrap();
    }
    tree.write(HOOK, fixture::shared_object("none"));
    for program in ["usr/bin/podman", "usr/bin/crun", HOOK] {
        mode(&tree, program, 0o755);
    }
    tree
}

fn mode(tree: &fixture::Machine, path: &str, mode: u32) {
    fs::set_permissions(tree.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

fn remove(tree: &fixture::Machine, path: &str) {
    let path = tree.path(path);
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

/// The fixture's programs are files with what they would print.
fn machine(tree: &fixture::Machine, uid: u32) -> Machine {
    let layer = |path: &str, kind| Layer { path: tree.path(path), kind };
    let variables = [
        ("DISPLAY", ":0"),
        ("HOME", "/home"),
        ("WAYLAND_DISPLAY", "wayland-0"),
        ("XDG_RUNTIME_DIR", "/run/user/4242"),
    ];
    Machine {
        root: tree.path("/"),
        user: User { uid, groups: vec![uid, 777] },
        name: if uid == 0 { "root" } else { "tester" }.into(),
        search: vec![PathBuf::from("/usr/local/bin"), PathBuf::from("/usr/bin")],
        environment: variables.into_iter().map(|(name, value)| (name, value.into())).collect(),
        layers: vec![
            layer("etc/nvbind/config.toml", Kind::System),
            layer("home/.config/nvbind/config.toml", Kind::User),
        ],
        nvbind: "nvbind".into(),
        sources: Sources {
            vendor: tree.path("usr/share/containers"),
            admin: tree.path("etc/containers"),
            user: Some(tree.path("home/.config/containers")),
            instead: None,
            on_top: None,
            rootless: uid != 0,
        },
        version_of: |program: &Path| fs::read_to_string(program).ok(),
        type_of: |node: &Path| fs::read_to_string(node).ok(),
    }
}

fn report(tree: &fixture::Machine, uid: u32) -> Report {
    examine(&machine(tree, uid))
}

#[test]
fn a_healthy_machine_has_nothing_to_fix() {
    let tree = healthy();
    for uid in [USER, 0] {
        let report = report(&tree, uid);
        let wrong = (report.ids(Status::Fail), report.ids(Status::Warn));
        assert_eq!(wrong, (vec![], vec![]), "{}", report.text());
    }
    // Secure Boot is asked only where no driver is loaded.
    assert_eq!(report(&tree, USER).ids(Status::Skipped), ["secure-boot", "docker"]);
    assert_eq!(
        report(&tree, 0).ids(Status::Skipped),
        ["secure-boot", "access", "docker", "subids", "linger", "selinux"]
    );
}

#[test]
fn a_hook_that_a_service_may_not_run_is_told_to_root_where_the_policy_is_debians() {
    let tree = healthy();
    let found = |uid| {
        let report = report(&tree, uid);
        let finding = report.finding("selinux");
        (finding.status, finding.fix.as_ref().map(Fix::text))
    };
    tree.write(HOOK, "usr_t");
    assert_eq!(found(0), (Status::Skipped, None));
    remove(&tree, "sys/fs/selinux/booleans/container_use_devices");
    let (status, fix) = found(0);
    let fix = fix.unwrap();
    assert_eq!(status, Status::Warn);
    assert!(fix.contains("semanage fcontext -a -e /usr/libexec") && fix.ends_with("/usr/libexec"), "{fix}");
    tree.write(HOOK, "bin_t");
    assert_eq!(found(0), (Status::Skipped, None));
}

#[test]
fn either_boolean_of_selinux_lets_every_container_use_the_nodes() {
    for name in ["container_use_devices", "container_use_xserver_devices"] {
        let tree = healthy();
        remove(&tree, "sys/fs/selinux/policy");
        tree.write(&format!("sys/fs/selinux/booleans/{name}"), "1 1");
        let report = report(&tree, USER);
        assert_eq!(report.finding("selinux").detail, format!("{name} is on, for every container"));
        assert_eq!(report.ids(Status::Warn), Vec::<&str>::new());
    }
}

#[test]
fn ids_are_unique() {
    for (position, check) in CHECKS.iter().enumerate() {
        assert!(CHECKS.iter().skip(position + 1).all(|other| other.id != check.id), "{}", check.id);
    }
}

/// A hook JSON of somebody else.
fn other_hook(version: &str, path: &str, stage: &str) -> String {
    let hook = serde_json::json!({
        "version": version,
        "hook": {"path": path},
        "when": {"always": true},
        "stages": [stage],
    });
    hook.to_string()
}

#[test]
fn hooks_that_podman_skips_or_reads_in_its_old_way_are_not_broken() {
    let tree = healthy();
    tree.write(
        &format!("{HOOKS}/y.json"),
        r#"{"hook": "/usr/bin/none", "stage": ["prestart"], "cmd": [".*"]}"#,
    );
    tree.write(
        &format!("{HOOKS}/x.json"),
        r#"{"version": "0.1.0", "hook": "/usr/bin/none", "stages": ["prestart"]}"#,
    );
    tree.write(&format!("{HOOKS}/z.json"), other_hook("1.0.0", "/usr/bin/none", "none"));
    assert_eq!(report(&tree, USER).finding("hooks").detail, "4 read");
    assert_eq!(report(&tree, USER).ids(Status::Fail), Vec::<&str>::new());
}

/// How a tree is broken, what fails then for a user, and what warns; the last of them has this in its detail or its
/// fix.
struct Case {
    breaks: fn(&fixture::Machine),
    fails: &'static [&'static str],
    warns: &'static [&'static str],
    says: &'static str,
}

const fn fails(fails: &'static [&'static str], says: &'static str, breaks: fn(&fixture::Machine)) -> Case {
    Case { breaks, fails, warns: &[], says }
}

const fn warns(warns: &'static [&'static str], says: &'static str, breaks: fn(&fixture::Machine)) -> Case {
    Case { breaks, fails: &[], warns, says }
}

/// Has the hook run at another stage.
fn in_container(tree: &fixture::Machine) {
    let json = include_str!("../../../../hooks.d/nvbind.json").replace("\"prestart\"", "\"createContainer\"");
    tree.write(&format!("{HOOKS}/nvbind.json"), json);
}

const CASES: &[Case] = &[
    fails(&["config"], "vi ", |tree| tree.write("etc/nvbind/config.toml", "[driver]\nrot = \"/\"\n")),
    fails(&["config"], "cannot read", |tree| {
        tree.write("etc/nvbind/config.toml", "[driver]\nroot = \"/none\"\n")
    }),
    fails(&["driver"], "modprobe nvidia", |tree| remove(tree, "proc/driver/nvidia")),
    fails(&["driver", "nouveau"], "blacklist nouveau", |tree| {
        remove(tree, "proc/driver/nvidia");
        tree.write("sys/module/nouveau/refcnt", "1");
    }),
    fails(&["versions"], "reboot", |tree| {
        for library in ["libcuda", "libnvidia-ml"] {
            remove(tree, &format!("usr/lib64/{library}.so.570.172.08"));
            tree.library("/usr/lib64", &format!("{library}.so.575.57.08"), &format!("{library}.so.1"));
        }
        remove(tree, "etc/cdi");
    }),
    fails(&["versions"], "nvidia-driver", |tree| {
        remove(tree, "usr/lib64");
        remove(tree, "etc/cdi");
    }),
    fails(&["gpus"], "nvbind devices", |tree| {
        tree.write("proc/devices", "Character devices:\n195 nvidia\n\nBlock devices:\n");
    }),
    fails(&["driver"], "modprobe -r", |tree| {
        tree.write("proc/driver/nvidia/version", "NVRM version: none\n")
    }),
    fails(&["gpus"], "has no GPU", |tree| remove(tree, "proc/driver/nvidia/gpus")),
    fails(&["nodes"], "sudo nvbind devices", |tree| remove(tree, "dev/nvidia-uvm")),
    fails(&["nodes"], "nvidia-uvm\nnvbind devices", |tree| {
        remove(tree, "dev/nvidia-uvm");
        tree.write("usr/bin/nvidia-modprobe", "");
        mode(tree, "usr/bin/nvidia-modprobe", 0o4755);
    }),
    fails(&["nodes"], "missing: /dev/nvidia-uvm; nvbind makes none below another directory", |tree| {
        fs::create_dir(tree.path("driver")).unwrap();
        fs::rename(tree.path("dev"), tree.path("driver/dev")).unwrap();
        tree.write("etc/nvbind/config.toml", "[driver]\ndev_root = \"/driver\"\n");
        remove(tree, "driver/dev/nvidia-uvm");
    }),
    fails(&["own-config"], "there is no gpu.default_gpu in the configuration", |tree| {
        tree.write("home/.config/nvbind/config.toml", "[gpu]\ndefault_gpu = \"0\"\n");
    }),
    fails(&["own-config"], "sudo vi ", |tree| {
        tree.write("etc/nvbind/config.toml", "[gpu]\ndefault_selection = \"x:y\"\n");
    }),
    warns(&["own-config"], "does not reach the hook", |tree| {
        tree.write("home/.config/nvbind/config.toml", "[driver]\nroot = \"/opt\"\n");
    }),
    fails(&["registries"], "of version 1 stands beside keys of version 2", |tree| {
        tree.write(
            "etc/containers/registries.conf",
            "unqualified-search-registries = ['x']\n[registries.search]\nregistries = ['y']\n",
        );
    }),
    fails(&["registries"], "no drop-in may be", |tree| {
        tree.write("etc/containers/registries.conf.d/a.conf", "[registries.block]\nregistries = ['y']\n");
    }),
    fails(&["registries"], "home/.config/containers/registries.conf: ", |tree| {
        tree.write("home/.config/containers/registries.conf", "unqualified-search-registries = [\n");
    }),
    fails(&["registries"], "no list of names", |tree| {
        tree.write("etc/containers/registries.conf", "unqualified-search-registries = 'x'\n");
    }),
    warns(&["registries"], "docker.io/library/ubuntu", |tree| {
        tree.write("home/.config/containers/registries.conf", "");
    }),
    warns(&["registries"], "docker.io/library/ubuntu", |tree| {
        remove(tree, "etc/containers/registries.conf.d");
    }),
    warns(&["services"], "loginctl enable-linger alice", |tree| {
        remove(tree, "var/lib/systemd/linger/alice");
    }),
    warns(&["services"], "mail.service runs podman as mail", |tree| {
        let start = "[Service]\nExecStart=\nExecStart=nvbind run mail\n";
        tree.write("etc/systemd/system/mail.service.d/gpu.conf", start);
    }),
    warns(&["quadlets"], "own.container: its Exec= is `nvbind run` itself", |tree| {
        let unit = "[Container]\nImage=i\nExec=nvbind run --gpu all i serve\n";
        tree.write("home/.config/containers/systemd/own.container", unit);
    }),
    warns(&["quadlets"], "write Exec=serve and Annotation=io.nvbind.gpu=all", |tree| {
        let unit = "[Container]\nImage=i\nExec=nvbind run --gpu all i serve\n";
        tree.write("etc/containers/systemd/users/4242/own.container", unit);
    }),
    fails(&["apparmor"], "--reinstall", |tree| remove(tree, "etc/apparmor.d/podman")),
    fails(&["apparmor"], "lets /usr/bin/podman make", |tree| {
        tree.link("etc/apparmor.d/disable/podman", "/etc/apparmor.d/podman");
    }),
    fails(&["apparmor"], "/usr/bin/podman", |tree| {
        tree.write("etc/apparmor.d/podman", "profile podman /opt/podman {\n  userns,\n}\n");
    }),
    warns(&["display"], "xhost +si:localuser:tester", |tree| {
        tree.write("home/.Xauthority", cookies("1"));
    }),
    warns(&["display"], "/tmp/.X11-unix/X0 cannot be used", |tree| remove(tree, X11)),
    warns(&["display"], "wayland-0 is no socket", |tree| {
        remove(tree, WAYLAND);
        tree.write(WAYLAND, "");
    }),
    fails(&["podman"], "it cannot read {append", |tree| {
        tree.write("usr/bin/podman", "podman version 4.6.1");
        let hooks = format!("[engine]\nhooks_dir = [\"/{HOOKS}\", {{append = true}}]\n");
        tree.write("etc/containers/containers.conf", hooks);
    }),
    warns(&["podman"], "Debian GNU/Linux 12 has podman 4.3.1 and gets no newer one", |tree| {
        tree.write("usr/bin/podman", "podman version 4.3.1");
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_ID=\"12\"\n";
        tree.write("etc/os-release", release);
    }),
    fails(&["podman"], "Ubuntu 22.04 has podman 3.4.4", |tree| {
        tree.write("usr/bin/podman", "podman version 3.4.4");
        let release = "PRETTY_NAME=\"Ubuntu 22.04\"\nID=ubuntu\nVERSION_ID=\"22.04\"\n";
        tree.write("etc/os-release", release);
    }),
    warns(&["runtime"], "--only-upgrade crun", |tree| {
        in_container(tree);
        remove(tree, "usr/bin/dnf");
        tree.write("usr/bin/apt-get", "");
    }),
    warns(&["runtime"], "gets the image's environment", |tree| {
        tree.write("usr/bin/runc", "runc version 1.1.15");
        mode(tree, "usr/bin/runc", 0o755);
        tree.write("etc/containers/containers.conf", "[engine]\nruntime = \"runc\"\n");
        in_container(tree);
        let path = format!("{HOOKS}/nvbind.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(tree.path(&path)).unwrap()).unwrap();
        json["hook"]["env"] = serde_json::json!([]);
        tree.write(&path, json.to_string());
    }),
    fails(&["hook"], "nvbind setup --user --driver-root /driver", |tree| {
        let path = format!("{HOOKS}/nvbind.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(tree.path(&path)).unwrap()).unwrap();
        let arguments = ["nvbind-hook", "prestart", "--driver-root", "/driver"];
        json["hook"]["args"] = serde_json::json!(arguments);
        tree.write(&path, json.to_string());
        mode(tree, HOOK, 0o644);
    }),
    fails(&["access"], "0600", |tree| mode(tree, "dev/nvidia0", 0o600)),
    fails(&["access"], "0644", |tree| mode(tree, "dev/nvidiactl", 0o644)),
    warns(&["persistence"], "systemctl enable --now nvidia-persistenced", |tree| {
        remove(tree, "run/nvidia-persistenced");
    }),
    fails(&["podman"], "sudo dnf install podman", |tree| {
        remove(tree, "usr/bin/podman");
    }),
    fails(&["podman"], "not in PATH", |tree| mode(tree, "usr/bin/podman", 0o644)),
    fails(&["podman"], "3.4.4 is older than 4.3.0", |tree| {
        tree.write("usr/bin/podman", "podman version 3.4.4")
    }),
    warns(&["podman"], "4.5.0: an image's own annotation", |tree| {
        tree.write("usr/bin/podman", "podman version 4.5.0");
    }),
    warns(&["podman"], "does not tell its version", |tree| tree.write("usr/bin/podman", "no such thing")),
    fails(&["runtime"], "crun or runc is not installed", |tree| remove(tree, "usr/bin/crun")),
    fails(&["runtime"], "dnf install runc", |tree| {
        tree.write("etc/containers/containers.conf", "[engine]\nruntime = \"runc\"\n");
    }),
    fails(&["runtime"], "/opt/crun is not installed", |tree| {
        tree.write("etc/containers/containers.conf", "[engine]\nruntime = \"/opt/crun\"\n");
    }),
    warns(&["runtime"], "(until 1.27.0, containers/crun 34143735)\nsudo dnf upgrade crun", in_container),
    warns(&["runtime"], "with --read-only", |tree| {
        in_container(tree);
        tree.write("usr/bin/podman", "podman version 5.1.2");
        tree.write("usr/bin/crun", "crun version 1.25");
    }),
    fails(&["hooks"], "a.json.broken", |tree| tree.write(&format!("{HOOKS}/a.json"), "{")),
    fails(&["hooks"], "z.json.broken", |tree| {
        tree.write(&format!("{HOOKS}/z.json"), "{\"version\":\"1.0.0\"}")
    }),
    fails(&["hooks"], "no hook stage \"createContaine\"", |tree| {
        tree.write(&format!("{HOOKS}/z.json"), other_hook("1.0.0", &format!("/{HOOK}"), "createContaine"));
    }),
    fails(&["hooks"], "no hook version \"2.0.0\"", |tree| {
        tree.write(&format!("{HOOKS}/z.json"), other_hook("2.0.0", &format!("/{HOOK}"), "prestart"));
    }),
    fails(&["hooks"], "containers.conf", |tree| {
        tree.write("etc/containers/containers.conf", "[engine\nhooks_dir=1")
    }),
    fails(&["hook"], "nvbind setup --user", |tree| remove(tree, HOOKS)),
    fails(&["hook"], "cannot be executed", |tree| mode(tree, HOOK, 0o644)),
    fails(&["hook"], "/elsewhere", |tree| {
        tree.write("home/.config/containers/containers.conf", "[engine]\nhooks_dir = [\"/elsewhere\"]\n");
    }),
    fails(&["static"], "dynamic loader", |tree| {
        let mut program = fixture::shared_object("none");
        // The type of the first program header (elf(5)): PT_INTERP.
        program[64] = 3;
        tree.write(HOOK, program);
    }),
    fails(&["static"], "no 64-bit ELF file", |tree| tree.write(HOOK, "#!/bin/sh\n")),
    warns(&["other-hook"], "rm ", |tree| {
        let hook = other_hook("1.0.0", "/usr/bin/nvidia-container-runtime-hook", "prestart");
        tree.write(&format!("{HOOKS}/oci-nvidia-hook.json"), hook);
    }),
    warns(&["cdi"], "nvidia.yaml names /usr/lib64/libgone.so", |tree| {
        let spec = format!(
            "kind: nvidia.com/gpu\ncontainerEdits:\n  mounts:\n  - hostPath: {LIBRARY}\n  - hostPath: /usr/lib64/libgone.so\n"
        );
        tree.write("etc/cdi/nvidia.yaml", spec);
    }),
    warns(&["cdi"], "nvidia.json names /gone", |tree| {
        tree.write(
            "var/run/cdi/nvidia.json",
            r#"{"kind": "nvidia.com/gpu", "containerEdits": {"deviceNodes": [{"path": "/gone"}]}}"#,
        );
    }),
    fails(&["cdi"], "sudo nvbind setup --cdi", |tree| {
        tree.write("etc/cdi/nvbind.json", specification("/gone/nvbind-hook"));
    }),
    fails(&["cdi"], "sudo nvbind setup --cdi --replace", |tree| {
        tree.write("etc/cdi/nvbind.json", specification("/usr/libexec/nvbind/nvbind-hook"));
        tree.write(
            "etc/cdi/nvidia.yaml",
            "kind: nvidia.com/gpu\ndevices:\n- name: '0'\n  containerEdits: {env: [A=1]}\n",
        );
    }),
    warns(&["docker"], "sudo nvbind setup --docker", |tree| {
        tree.write("usr/bin/dockerd", "Docker version 26.1.5+dfsg1, build a72d7cd");
        mode(tree, "usr/bin/dockerd", 0o755);
    }),
    fails(&["docker"], "nvidia-container-runtime-hook leads nowhere", |tree| {
        tree.write("usr/bin/dockerd", "Docker version 20.10.24+dfsg1, build 297e128");
        mode(tree, "usr/bin/dockerd", 0o755);
        std::os::unix::fs::symlink("/gone/nvbind-hook", tree.path("usr/bin/nvidia-container-runtime-hook"))
            .unwrap();
    }),
    fails(&["subids"], "usermod --add-subuids 165536-231071 tester", |tree| {
        tree.write("etc/subuid", "other:100000:65536\n");
    }),
    fails(&["subids"], "usermod --add-subgids 100000-165535 tester", |tree| remove(tree, "etc/subgid")),
    warns(&["linger"], "loginctl enable-linger tester", |tree| remove(tree, "var/lib/systemd/linger/tester")),
    warns(&["cgroup"], "boot with systemd.unified_cgroup_hierarchy=1\n", |tree| {
        remove(tree, "sys/fs/cgroup/cgroup.controllers");
    }),
    warns(&["cgroup"], "sudo grubby ", |tree| {
        remove(tree, "sys/fs/cgroup/cgroup.controllers");
        tree.write("usr/sbin/grubby", "");
    }),
    warns(&["selinux"], "sudo semodule -i /usr/share/selinux/packages/nvbind.cil", |tree| {
        tree.write("sys/fs/selinux/policy", "container_t");
    }),
    warns(&["selinux"], "sudo setsebool -P 'container_use_devices=true'", |tree| {
        tree.write("sys/fs/selinux/policy", "container_t");
        remove(tree, "usr/share/selinux/packages/nvbind.cil");
    }),
    warns(&["selinux"], "nvbind.cil is not beside the hook", |tree| {
        remove(tree, "sys/fs/selinux/policy");
        remove(tree, "sys/fs/selinux/booleans/container_use_devices");
        remove(tree, "usr/share/selinux/packages/nvbind.cil");
    }),
    warns(&["selinux"], "sudo restorecon /dev/nvidia-uvm /dev/nvidia0", |tree| {
        for node in ["nvidia0", "nvidia-uvm"] {
            tree.write(&format!("dev/{node}"), "device_t");
        }
    }),
];

/// What `--fix` would run for a user: all else needs root, or is not nvbind's to decide.
const SAFE: &[&str] = &["nvbind setup --user", "nvbind setup --user --driver-root /driver", "nvbind devices"];

/// nvbind's own specification, with a hook at this place.
fn specification(hook: &str) -> String {
    Specification { kind: Cdi::Nvidia, hook, options: &[], names: &[] }.document().to_string()
}

#[test]
fn each_way_to_break_a_machine_is_told_by_its_check_and_by_no_other() {
    for Case { breaks, fails, warns, says } in CASES {
        let tree = healthy();
        breaks(&tree);
        let report = report(&tree, USER);
        assert_eq!(report.ids(Status::Fail), *fails, "{}", report.text());
        assert_eq!(report.ids(Status::Warn), *warns, "{}", report.text());
        let finding = report.finding(fails.iter().chain(*warns).last().unwrap());
        let fix = finding.fix.as_ref().map(Fix::text).unwrap_or_default();
        assert!(format!("{}\n{fix}", finding.detail).contains(says), "{says}: {finding:?}");
        let is_safe = finding.fix.as_ref().is_some_and(|fix| fix.to_run().is_some());
        assert_eq!(is_safe, SAFE.contains(&fix.as_str()), "{fix}");
    }
}

#[test]
fn every_check_that_can_complain_is_made_to() {
    let told: Vec<&str> =
        CASES.iter().flat_map(|case| case.fails.iter().chain(case.warns)).copied().collect();
    let untold: Vec<&str> = CHECKS.iter().map(|check| check.id).filter(|id| !told.contains(id)).collect();
    // The first needs a record of this moment, the second the driver to be unloaded: each has a test of its own. The
    // last needs a device cgroup, and is made to complain in a lane (`job`).
    assert_eq!(untold, ["recent", "secure-boot", "denied"]);
}

#[test]
fn secure_boot_is_a_hint_where_the_driver_is_not_loaded() {
    const VARIABLE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let tree = healthy();
    tree.write("etc/pki/akmods/certs/public_key.der", "");
    tree.write(VARIABLE, [6, 0, 0, 0, 1]);
    assert_eq!(report(&tree, 0).ids(Status::Warn), Vec::<&str>::new());
    remove(&tree, "proc/driver/nvidia");
    let on = report(&tree, 0);
    assert_eq!((on.ids(Status::Fail), on.ids(Status::Warn)), (vec!["driver"], vec!["secure-boot"]));
    let fix = on.finding("secure-boot").fix.as_ref().map(Fix::text);
    assert_eq!(fix.as_deref(), Some("mokutil --import /etc/pki/akmods/certs/public_key.der"));
    tree.write(VARIABLE, [6, 0, 0, 0, 0]);
    assert_eq!(report(&tree, 0).ids(Status::Warn), Vec::<&str>::new());
}

#[test]
fn a_users_group_is_enough_where_the_container_keeps_it() {
    let tree = healthy();
    mode(&tree, "dev/nvidia0", 0o660);
    let mut machine = machine(&tree, USER);
    assert_eq!(examine(&machine).ids(Status::Fail), ["access"]);
    machine
        .user
        .groups
        .push(std::os::unix::fs::MetadataExt::gid(&fs::metadata(tree.path("dev/nvidia0")).unwrap()));
    let report = examine(&machine);
    assert_eq!((report.ids(Status::Fail), report.ids(Status::Warn)), (vec![], vec!["access"]));
    for (runtime, fails) in [("/usr/bin/crun", vec![]), ("/usr/bin/runc", vec!["access"])] {
        tree.write("usr/bin/runc", "runc version 1.1.15");
        mode(&tree, "usr/bin/runc", 0o755);
        tree.write("etc/containers/containers.conf", format!("[engine]\nruntime = \"{runtime}\"\n"));
        assert_eq!(examine(&machine).ids(Status::Fail), fails, "{runtime}");
    }
}

#[test]
fn what_containers_do_without_is_worth_a_warning() {
    let tree = healthy();
    tree.gpu("0000:01:00.0", 0, "GPU-aaaa0000-0000-0000-0000-000000000001", &["card0", "renderD128"]);
    tree.write("usr/bin/runc", "runc version 1.3.0");
    mode(&tree, "usr/bin/runc", 0o755);
    tree.write("etc/containers/containers.conf", "[engine]\nruntime = \"/usr/bin/runc\"\n");
    for (bits, warns) in [(0o666, vec![]), (0o660, vec!["access"])] {
        for node in ["dev/dri/card0", "dev/dri/renderD128"] {
            tree.write(node, "");
            mode(&tree, node, bits);
        }
        let gid = std::os::unix::fs::MetadataExt::gid(&fs::metadata(tree.path("dev/dri/card0")).unwrap());
        for groups in [vec![], vec![gid]] {
            let mut machine = machine(&tree, USER);
            machine.user.groups.extend(&groups);
            let report = examine(&machine);
            let seen = (report.ids(Status::Fail), report.ids(Status::Warn));
            assert_eq!(seen, (vec![], warns.clone()), "{bits:o} {groups:?}");
        }
    }
    mode(&tree, "dev/nvidia0", 0o600);
    let fix = report(&tree, USER).finding("access").fix.as_ref().map(Fix::text).unwrap();
    assert!(fix.contains("nvbind setup --device-mode 0666"), "{fix}");
    mode(&tree, "dev/nvidia0", 0o666);
    tree.mig(0, &[(1, 0, 12, 13)]);
    for node in ["dev/nvidia-caps/nvidia-cap12", "dev/nvidia-caps/nvidia-cap13"] {
        tree.write(node, "");
        mode(&tree, node, 0o400);
    }
    let fix = report(&tree, USER).finding("access").fix.as_ref().map(Fix::text).unwrap();
    assert_eq!(fix, "sudo chmod a+r /dev/nvidia-caps/nvidia-cap12");
}

#[test]
fn nodes_of_mig_instances_are_for_reading() {
    let tree = healthy();
    tree.mig(0, &[(1, 0, 12, 13)]);
    for node in ["dev/nvidia-caps/nvidia-cap12", "dev/nvidia-caps/nvidia-cap13"] {
        tree.write(node, "");
        mode(&tree, node, 0o444);
    }
    assert_eq!(report(&tree, USER).ids(Status::Fail), Vec::<&str>::new());
    mode(&tree, "dev/nvidia-caps/nvidia-cap13", 0o440);
    assert_eq!(report(&tree, USER).ids(Status::Fail), ["access"]);
}

#[test]
fn for_root_the_hook_makes_the_nodes_unless_that_is_udevs_alone() {
    let tree = healthy();
    remove(&tree, "dev/nvidia0");
    assert_eq!(report(&tree, 0).ids(Status::Warn), ["nodes"]);
    tree.write("proc/driver/nvidia/params", "ModifyDeviceFiles: 0\n");
    assert_eq!(report(&tree, 0).ids(Status::Fail), ["nodes"]);
}

#[test]
fn in_wsl2_the_driver_is_windows() {
    let tree = fixture::Machine::wsl();
    let report = report(&tree, 0);
    assert!(report.finding("driver").detail.contains("WSL2"), "{}", report.text());
    for id in ["driver", "gpus", "nodes"] {
        assert_eq!(report.finding(id).status, Status::Ok, "{}", report.text());
    }
    assert_eq!(report.finding("persistence").status, Status::Skipped);
}

#[test]
fn a_bug_ends_with_the_version_that_fixed_it() {
    let set = |tree: &fixture::Machine, text: &str| tree.write("etc/containers/containers.conf", text);
    for (program, last, first, told) in [
        ("podman", "4.5.0", "4.5.1", "(until 4.5.1, "),
        ("podman", "4.7.2", "4.8.0", "(until 4.8.0, "),
        ("crun", "1.25", "1.26", "(until 1.26.0, "),
        ("crun", "1.26", "1.27", "(until 1.27.0, "),
        ("runc", "1.2.9", "1.3.0", "(until 1.3.0, "),
    ] {
        let tree = healthy();
        let check = if program == "podman" { "podman" } else { "runtime" };
        match program {
            "podman" => set(&tree, "[engine]\nhooks_dir = [{append = true}]\n"),
            name => {
                set(&tree, &format!("[engine]\nruntime = \"{name}\"\n"));
                in_container(&tree);
                let path = format!("{HOOKS}/nvbind.json");
                let json = fs::read_to_string(tree.path(&path)).unwrap();
                tree.write(&path, json.replace("\"env\"", "\"other\""));
            }
        }
        let find = |version: &str| {
            tree.write(&format!("usr/bin/{program}"), format!("{program} version {version}"));
            mode(&tree, &format!("usr/bin/{program}"), 0o755);
            report(&tree, USER).finding(check).detail.clone()
        };
        assert!(find(last).contains(told), "{program} {last}: {}", find(last));
        assert!(!find(first).contains(told), "{program} {first}: {}", find(first));
    }
}

#[test]
fn a_bug_matters_where_it_is_met() {
    let tree = healthy();
    in_container(&tree);
    let status = || report(&tree, USER).finding("runtime").status;
    tree.write("usr/bin/crun", "crun version 1.26");
    assert_eq!(status(), Status::Warn);
    tree.write("usr/bin/podman", "podman version 5.1.2");
    assert_eq!(status(), Status::Ok);
    // The JSON has an environment.
    tree.write("usr/bin/runc", "runc version 1.1.15");
    mode(&tree, "usr/bin/runc", 0o755);
    tree.write("etc/containers/containers.conf", "[engine]\nruntime = \"runc\"\n");
    assert_eq!(status(), Status::Ok);
}

#[test]
fn the_runtime_is_the_one_that_podman_is_set_to() {
    let tree = healthy();
    tree.write("usr/sbin/runc", "runc version 1.1.15+ds1");
    mode(&tree, "usr/sbin/runc", 0o755);
    for (name, status, detail) in [
        ("crun", Status::Ok, "crun 1.21.0, "),
        ("runc", Status::Ok, "runc 1.1.15, "),
        ("/usr/sbin/runc", Status::Ok, "runc 1.1.15, "),
        ("kata", Status::Skipped, "where kata is"),
    ] {
        tree.write("etc/containers/containers.conf", format!("[engine]\nruntime = \"{name}\"\n"));
        let report = report(&tree, USER);
        let finding = report.finding("runtime");
        assert_eq!(finding.status, status, "{finding:?}");
        assert!(finding.detail.starts_with(detail), "{finding:?}");
    }
}

#[test]
fn a_client_of_another_machine_has_no_hooks_here() {
    let tree = healthy();
    tree.write("etc/containers/containers.conf", "[engine]\nremote = true\n");
    let report = report(&tree, 0);
    assert_eq!(report.ids(Status::Fail), Vec::<&str>::new());
    for id in ["hooks", "hook", "static", "other-hook"] {
        assert_eq!(report.finding(id).status, Status::Skipped, "{}", report.text());
    }
}

#[test]
fn the_report_is_one_line_for_a_check_and_one_for_its_fix() {
    let tree = healthy();
    remove(&tree, "dev/nvidia-uvm");
    tree.write("usr/bin/crun", "crun version 1.21");
    let report = report(&tree, USER);
    let text = anstream::adapter::strip_str(&report.text()).to_string();
    assert!(text.contains("ok      driver       570.172.08 is loaded (open modules)\n"), "{text}");
    let nodes = "FAIL    nodes        missing: /dev/nvidia-uvm\n        fix: sudo nvbind devices\n";
    assert!(text.contains(nodes), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let node = json["checks"].as_array().unwrap().iter().find(|check| check["id"] == "nodes").unwrap();
    let expected = serde_json::json!({
        "id": "nodes",
        "title": "the device nodes are there",
        "status": "fail",
        "detail": "missing: /dev/nvidia-uvm",
        "fix": "sudo nvbind devices",
        "command": ["sudo", "nvbind", "devices"],
        "safe": false,
    });
    assert_eq!(*node, expected);
}

#[test]
fn registries_that_a_variable_names_have_to_be_there() {
    let tree = healthy();
    tree.write("home/.config/containers/registries.conf", "broken");
    tree.write("named.conf", "unqualified-search-registries = [\"quay.io\"]\n");
    for (name, status, says) in [
        ("/named.conf", Status::Ok, "quay.io searched, 1 short names"),
        ("/gone.conf", Status::Fail, "gone.conf: No such file"),
    ] {
        let mut machine = machine(&tree, USER);
        machine.environment.insert("CONTAINERS_REGISTRIES_CONF", name.into());
        let finding = examine(&machine).finding("registries").clone();
        assert!(finding.status == status && finding.detail.contains(says), "{finding:?}");
    }
}

#[test]
fn a_display_over_the_network_needs_the_hosts_and_a_named_cookie_file_has_to_be_there() {
    let tree = healthy();
    let find = |name, value: &str| {
        let mut machine = machine(&tree, USER);
        machine.environment.insert(name, value.into());
        let report = examine(&machine);
        assert_eq!(report.ids(Status::Fail), Vec::<&str>::new());
        let finding = report.finding("display").clone();
        (finding.status, finding.fix.as_ref().map(Fix::text).unwrap_or_default())
    };
    let network = "nvbind run '--network=host' IMAGE".to_owned();
    assert_eq!(find("DISPLAY", "localhost:10.0"), (Status::Warn, network));
    let user = "xhost +si:localuser:tester".to_owned();
    assert_eq!(find("XAUTHORITY", "/run/none"), (Status::Warn, user));
    assert_eq!(find("HOME", "/nonexistent").0, Status::Ok);
    assert_eq!(find("DISPLAY", "unix:0.1").0, Status::Ok);
    assert_eq!(find("WAYLAND_DISPLAY", "/run/user/4242/wayland-0").0, Status::Ok);
    let mut machine = machine(&tree, USER);
    machine.environment.clear();
    assert_eq!(examine(&machine).finding("display").status, Status::Skipped);
}

/// A machine of root's where `nvbind` is this script, with the tree as `$TREE`.
fn mendable(tree: &fixture::Machine, script: &str) -> Machine {
    let path = tree.path("usr/bin/nvbind");
    let root = tree.path("");
    fs::write(&path, format!("#!/bin/sh\nTREE={}\n{script}\n", root.display())).unwrap();
    mode(tree, "usr/bin/nvbind", 0o755);
    Machine { nvbind: path.display().to_string(), ..machine(tree, 0) }
}

#[test]
fn safe_fixes_are_run_and_all_is_checked_again() {
    let tree = healthy();
    let script = "echo \"$@\" >> $TREE/ran; case $1 in devices) : > $TREE/dev/nvidia-uvm;; setup) chmod +x $TREE/usr/libexec/nvbind/nvbind-hook;; esac";
    let machine = mendable(&tree, script);
    remove(&tree, "dev/nvidia-uvm");
    mode(&tree, HOOK, 0o644);
    remove(&tree, "run/nvidia-persistenced");
    let before = examine(&machine);
    let (fails, warns) = (before.ids(Status::Fail), before.ids(Status::Warn));
    assert_eq!((fails, warns), (vec!["hook"], vec!["nodes", "persistence"]), "{}", before.text());
    let fixed = run_fixes(&machine);
    let (attempts, after) = fixed.parts();
    let ran: Vec<_> = attempts.iter().map(|attempt| (attempt.id, attempt.error.clone())).collect();
    assert_eq!(ran, [("nodes", None), ("hook", None)]);
    assert_eq!(fs::read_to_string(tree.path("ran")).unwrap(), "devices\nsetup\n");
    // Whether a daemon runs is not nvbind's to decide.
    assert_eq!((after.ids(Status::Fail), after.ids(Status::Warn)), (vec![], vec!["persistence"]));
    assert_eq!(fixed.failed(), 0);
    let nvbind = &machine.nvbind;
    let text = anstream::adapter::strip_str(&fixed.text()).to_string();
    assert!(text.starts_with(&format!("ran     {nvbind} devices\nran     {nvbind} setup\n\nok ")), "{text}");
    let json = serde_json::to_value(&fixed).unwrap();
    let first = serde_json::json!({"id": "nodes", "command": [nvbind, "devices"]});
    assert_eq!((&json["fixes"][0], json["checks"].as_array().unwrap().len()), (&first, CHECKS.len()));
}

#[test]
fn what_shows_after_a_fix_is_fixed_too() {
    let tree = healthy();
    let script = "case $1 in devices) : > $TREE/dev/nvidia-uvm; chmod -x $TREE/usr/libexec/nvbind/nvbind-hook;; setup) chmod +x $TREE/usr/libexec/nvbind/nvbind-hook;; esac";
    let machine = mendable(&tree, script);
    remove(&tree, "dev/nvidia-uvm");
    let fixed = run_fixes(&machine);
    let ran: Vec<_> = fixed.parts().0.iter().map(|attempt| attempt.id).collect();
    assert_eq!((ran, fixed.failed()), (vec!["nodes", "hook"], 0), "{}", fixed.text());
}

#[test]
fn a_fix_that_fails_says_why_and_its_check_fails_still() {
    let tree = healthy();
    let machine = mendable(&tree, "echo no room >&2; exit 3");
    mode(&tree, HOOK, 0o644);
    let fixed = run_fixes(&machine);
    assert_eq!(fixed.failed(), 1);
    assert!(fixed.text().contains("\n        ") && fixed.text().contains("no room"), "{}", fixed.text());
}

#[test]
fn what_a_user_has_no_right_to_is_not_run() {
    let tree = healthy();
    let nvbind = mendable(&tree, ": > $TREE/ran").nvbind;
    let machine = Machine { nvbind, ..machine(&tree, USER) };
    remove(&tree, "dev/nvidia-uvm");
    let fixed = run_fixes(&machine);
    let after = fixed.parts().1;
    assert_eq!((fixed.parts().0, after.ids(Status::Fail)), (&[][..], vec!["nodes"]), "{}", after.text());
    assert!(fixed.text().starts_with("nothing to run: "), "{}", fixed.text());
    assert!(!tree.path("ran").exists());
}

#[test]
fn a_hook_with_a_configuration_of_its_own_is_not_installed_over() {
    let tree = healthy();
    let path = format!("{HOOKS}/nvbind.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(tree.path(&path)).unwrap()).unwrap();
    json["hook"]["args"] = serde_json::json!(["nvbind-hook", "prestart", "--config", "/etc/other.toml"]);
    tree.write(&path, json.to_string());
    mode(&tree, HOOK, 0o644);
    let report = report(&tree, 0);
    let fix = report.finding("hook").fix.as_ref().unwrap();
    assert_eq!((fix.text().as_str(), fix.to_run()), ("nvbind setup", None));
}

/// The record of a refused container, in a place of this machine's that only its owner can use.
fn refuse(tree: &fixture::Machine, place: &str, container: &str, age: i64, reason: &str) {
    let record = Record {
        time: OffsetDateTime::now_utc() - time::Duration::seconds(age),
        name: Some(format!("{container}-name")),
        ..Record::new(container, 3, reason.to_owned())
    };
    let failures = format!("{place}/failures");
    tree.write(&format!("{failures}/{container}"), record.to_line().unwrap());
    for directory in [place, &failures] {
        fs::set_permissions(tree.path(directory), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn the_failures_of_a_user_are_listed_newest_first_from_all_places() {
    let tree = healthy();
    let text = |uid| {
        let text = Failures::read(&machine(&tree, uid)).text();
        // The first word of a container's line is the time.
        let lines = text.lines().map(|line| line.split_once("Z  ").map_or(line, |(_, subject)| subject));
        lines.collect::<Vec<_>>().join("\n")
    };
    let places = ["run/user/4242/nvbind/failures", "tmp/nvbind-4242/failures"];
    let places = places.map(|place| tree.path(place).display().to_string());
    assert_eq!(text(USER), format!("no failure is recorded in {}", places.join(" or ")));
    refuse(&tree, "run/nvbind", "roots", 10, "no GPU");
    assert!(text(USER).starts_with("no failure is recorded"));
    let means = "exit code 3: the driver or a GPU is missing, or the image requires another driver";
    assert_eq!(text(0), format!("roots-name (roots)\n  no GPU\n  {means}"));
    refuse(&tree, "run/user/4242/nvbind", "second", 20, "no \u{1b}[2J");
    refuse(&tree, "tmp/nvbind-4242", "first", 10, "no driver");
    let first = format!("first-name (first)\n  no driver\n  {means}");
    assert_eq!(text(USER), format!("{first}\nsecond-name (second)\n  no \\u{{1b}}[2J\n  {means}"));
}

#[test]
fn a_failure_of_the_last_hour_comes_first() {
    let tree = healthy();
    let first = || {
        let report = report(&tree, USER);
        let finding = report.finding("recent");
        assert!(report.text().contains("recent"), "{}", report.text());
        (finding.status, finding.detail.clone())
    };
    assert_eq!(first(), (Status::Ok, "the hook refused no container within the last hour".to_owned()));
    refuse(&tree, "run/user/4242/nvbind", "old", 3700, "no driver");
    refuse(&tree, "run/user/4242/nvbind", "future", -3700, "no driver");
    assert_eq!(first().0, Status::Ok);
    refuse(&tree, "run/user/4242/nvbind", "new", 130, "no GPU");
    assert_eq!(first(), (Status::Warn, "new-name (new) was refused 2 minutes ago: no GPU".to_owned()));
    refuse(&tree, "run/user/4242/nvbind", "newer", 10, "no node");
    let text = report(&tree, USER).text();
    let text = anstream::adapter::strip_str(&text).to_string();
    let line = "warn    recent       newer-name (newer) was refused less than a minute ago: no node (and 1 more: `nvbind doctor --last`)\n";
    assert!(text.starts_with(line), "{text}");
}
