//! Debian trees, made once by mmdebstrap, kept under target/lanes, never changed by a run: those that lanes run in, and
//! those with applications that become container images there.

use crate::lock;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::limits::limited;
use nvbind_fixtures::process::read;
use nvbind_fixtures::tools;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The unprivileged user of every tree, with a range of subordinate ids.
pub const USER: &str = "tester";
/// Its user and group id.
pub const USER_ID: u32 = 2000;

/// What a tree consists of.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Recipe {
    /// The tree's name.
    pub name: &'static str,
    /// The Debian release.
    pub release: &'static str,
    /// mmdebstrap's name for the packages that are always there.
    pub variant: &'static str,
    /// Whether Debian's security updates are in it.
    pub updated: bool,
    /// Architectures beside the machine's own.
    pub foreign: &'static [&'static str],
    /// The packages beside them, in lists.
    pub packages: &'static [&'static [&'static str]],
    /// What is left out of the packages.
    pub excluded: &'static [&'static str],
    /// Small files of ours.
    pub files: &'static [&'static [(&'static str, &'static str)]],
    /// Whether it has the unprivileged user.
    pub user: bool,
    /// Whether its files have the labels that its SELinux policy gives them.
    pub labelled: bool,
}

const CONTAINERS: &[&str] = &[
    "catatonit",
    "conmon",
    "crun",
    "fuse-overlayfs",
    "golang-github-containers-common",
    "podman",
    "runc",
    "uidmap",
];

/// A kernel for virtual machines, and what belongs to it on a machine.
const KERNEL: &[&str] = &[
    "apparmor",
    "auditd",
    "kmod",
    "linux-image-cloud-amd64",
    "policycoreutils",
    "selinux-policy-default",
    "udev",
];

const SYSTEMD: &[&str] =
    &["dbus", "dbus-user-session", "libnss-systemd", "libpam-systemd", "systemd", "systemd-sysv"];

/// Both programs that read compose files.
const COMPOSE: &[&str] = &["aardvark-dns", "docker-compose", "podman-compose"];

/// `vulkaninfo`, `eglinfo` and `clinfo` with the loaders that they are linked with, and what the driver's libraries
/// need.
const APPLICATIONS: &[&str] = &["clinfo", "libgbm1", "libxext6", "mesa-utils-bin", "vulkan-tools"];

/// Debian 12: Podman 4.3, crun 1.8, runc 1.1.5, podman-compose 1.0.3, docker-compose 1.29, Docker 20.10.
pub const BOOKWORM: Recipe = Recipe {
    name: "bookworm",
    release: "bookworm",
    variant: "minbase",
    updated: true,
    foreign: &[],
    packages: &[CONTAINERS, SYSTEMD, COMPOSE, &["docker.io", "slirp4netns"]],
    excluded: DOCUMENTATION,
    files: &[FILES, NAMESPACED],
    user: true,
    labelled: false,
};

/// Debian 13: Podman 5.4, crun 1.21, runc 1.1.15, podman-compose 1.3, docker-compose 2.26, Docker 26.1, and systemd
/// with what a user's own manager needs.
pub const TRIXIE: Recipe = Recipe {
    name: "trixie",
    release: "trixie",
    packages: &[CONTAINERS, SYSTEMD, COMPOSE, &["docker-cli", "docker.io", "passt"]],
    ..BOOKWORM
};

/// Debian 13 as a machine of its own: with a kernel, udev, and what AppArmor and SELinux need. The kernel's command
/// line says which of the two it is.
pub const MACHINE: Recipe = Recipe {
    name: "machine",
    packages: &[CONTAINERS, SYSTEMD, &["passt"], KERNEL],
    excluded: MACHINE_EXCLUDED,
    files: &[FILES, MACHINE_FILES],
    labelled: true,
    ..TRIXIE
};

/// The emulator of machines, with what makes their disks. A tree of its own needs nothing of the host, whose packages
/// of qemu may be others.
pub const EMULATOR: Recipe = Recipe {
    name: "emulator",
    packages: &[&["e2fsprogs", "qemu-system-x86"]],
    files: &[],
    user: false,
    ..TRIXIE
};

/// Debian 12 with programs that ask for a GPU, and what 32-bit ones need: the 32-bit `eglinfo` is beside the other.
pub const BOOKWORM_APPS: Recipe = Recipe {
    name: "apps-bookworm",
    release: "bookworm",
    variant: "essential",
    // The two architectures' updates appear at different times, and their libraries have to be of one version.
    updated: false,
    foreign: &["i386"],
    packages: &[APPLICATIONS, &["libvulkan1:i386", "libxext6:i386", "mesa-utils-bin:i386"]],
    excluded: UNUSED,
    files: &[],
    user: false,
    labelled: false,
};

/// Debian 13 with the same programs.
pub const TRIXIE_APPS: Recipe = Recipe {
    name: "apps-trixie",
    release: "trixie",
    foreign: &[],
    packages: &[APPLICATIONS],
    ..BOOKWORM_APPS
};

/// SELinux's tools, and the policy that they look into. No kernel has it loaded.
const SELINUX: &[&str] = &["policycoreutils", "selinux-policy-default", "setools"];

/// The tools that judge and install packages of all formats, of the newest release that lanes have.
pub const PACKAGERS: Recipe = Recipe {
    name: "packagers",
    packages: &[
        &["libarchive-tools", "lintian", "makepkg", "pacman-package-manager", "rpm", "shellcheck"],
        SELINUX,
        // The schema of CDI's specifications, and what judges by it.
        &[
            "golang-github-container-orchestrated-devices-container-device-interface-dev",
            "python3-jsonschema",
        ],
    ],
    updated: false,
    files: &[],
    ..TRIXIE
};

/// A unit with it is never started.
const OFF: &str = "[Unit]\nConditionPathExists=/never\n";

const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "lane\n"),
    ("etc/hosts", "127.0.0.1 localhost lane\n"),
    ("etc/fstab", ""),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("etc/subuid", "containers:1000000:1048576\ntester:300000:65536\n"),
    ("etc/subgid", "containers:1000000:1048576\ntester:300000:65536\n"),
    (
        "etc/containers/storage.conf",
        "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n",
    ),
    ("var/lib/systemd/linger/tester", ""),
    // Cases start Docker themselves.
    ("etc/systemd/system/docker.service.d/lane.conf", OFF),
    ("etc/systemd/system/docker.socket.d/lane.conf", OFF),
    ("etc/systemd/system/containerd.service.d/lane.conf", OFF),
    // systemd's first-boot updates would only cost time.
    ("etc/.updated", ""),
    ("var/.updated", ""),
];

/// No pids controller in a view that has only what another hierarchy left over, and no journal in a lane without
/// systemd.
const NAMESPACED: &[(&str, &str)] = &[(
    "etc/containers/containers.conf",
    "[containers]\npids_limit = 0\nlog_driver = \"k8s-file\"\n[engine]\nevents_logger = \"file\"\n",
)];

/// A boot that goes wrong ends, instead of waiting for somebody at the console.
const MACHINE_FILES: &[(&str, &str)] = &[
    (
        "etc/systemd/system/emergency.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/usr/bin/systemctl poweroff --force --force\n",
    ),
    ("etc/systemd/journald.conf.d/lane.conf", "[Journal]\nStorage=volatile\n"),
    // The probe loads each library in a process of its own, and the emulator is slow.
    (
        "etc/containers/containers.conf.d/lane.conf",
        "[containers]\nenv = [\"NVBIND_PROBE_LIBRARIES=libcuda.so.1 libnvidia-ml.so.1\", { append = true }]\n",
    ),
];

const DOCUMENTATION: &[&str] = &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// Beside the documentation what would make an initial RAM disk: the kernel has in it what it boots from.
const MACHINE_EXCLUDED: &[&str] =
    &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/etc/kernel/postinst.d/*"];

/// Beside the documentation what makes an image large and no program in it needs to find the driver: Mesa's own drivers
/// and their compiler, and character sets.
const UNUSED: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/*/dri/*",
    "/usr/lib/*/gconv/*",
];

/// All of them, in the order in which lanes need them.
pub const ALL: &[Recipe] = &[TRIXIE, BOOKWORM, MACHINE, EMULATOR, BOOKWORM_APPS, TRIXIE_APPS, PACKAGERS];

/// The tree of a recipe, made if it is not there; `trees` is the folder that keeps them.
pub fn ready(recipe: &Recipe, trees: &Path) -> Result<PathBuf> {
    // Lanes that run side by side may need the same.
    let _alone = lock(&trees.with_file_name(format!("{}.lock", recipe.name)))?;
    let tree = trees.join(format!("{}-{:016x}", recipe.name, digest(recipe)));
    if tree.is_dir() {
        return Ok(tree);
    }
    tools::install(&[tools::Tool::Mmdebstrap])?;
    fs::create_dir_all(trees).on("create", trees)?;
    remove_older(recipe, trees)?;
    // Made under another name and renamed when complete: a half-made tree is never taken for a whole one.
    let partial = trees.join(format!("{}.partial", recipe.name));
    remove(&partial)?;
    println!("making the {} tree", recipe.name);
    read(bootstrap(recipe, &partial)?.arg(&partial).args(sources(recipe)?))?;
    configure(recipe, &partial)?;
    fs::rename(&partial, &tree).on("rename to", &tree)?;
    Ok(tree)
}

/// A name for exactly this recipe.
fn digest(recipe: &Recipe) -> u64 {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    hasher.finish()
}

fn bootstrap(recipe: &Recipe, target: &Path) -> Result<Command> {
    let mut command = limited(Duration::from_secs(1200), "mmdebstrap");
    command.args(["--quiet", "--mode=root"]);
    command.arg(format!("--variant={}", recipe.variant));
    if !recipe.foreign.is_empty() {
        let own = read(Command::new("dpkg").arg("--print-architecture"))?;
        command.arg(format!("--architectures={},{}", own.trim(), recipe.foreign.join(",")));
    }
    command.arg(format!("--include={}", recipe.packages.concat().join(",")));
    command.args(recipe.excluded.iter().map(|glob| format!("--dpkgopt=path-exclude={glob}")));
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    command.args(tools::apt_options()?.iter().map(|option| format!("--aptopt={option}")));
    command.arg(recipe.release);
    // mmdebstrap keeps a tree's folder private while it works; its parent has to exist.
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).on("create", parent)?;
    }
    Ok(command)
}

/// One line for each of this machine's own Debian mirrors; none where it is no Debian: mmdebstrap then knows one.
fn sources(recipe: &Recipe) -> Result<Vec<String>> {
    let release = recipe.release;
    let uris = tools::debian_mirrors()?;
    let line = |suffix: &str, suite: &str| {
        uris.iter()
            .find(|uri| uri.trim_end_matches('/').ends_with(suffix))
            .map(|uri| format!("deb {uri} {suite} main"))
    };
    let main = line("/debian", release);
    let updates = line("/debian-security", &format!("{release}-security")).filter(|_| recipe.updated);
    Ok(main.into_iter().chain(updates).collect())
}

fn configure(recipe: &Recipe, tree: &Path) -> Result<()> {
    for (path, content) in recipe.files.iter().copied().flatten() {
        write(&tree.join(path), content)?;
    }
    if recipe.user {
        add_user(tree)?;
    }
    if recipe.labelled {
        label(tree)?;
    }
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).on("open", tree)
}

/// Gives the files of a tree the labels of its own policy, those that have them already left alone.
pub fn label(tree: &Path) -> Result<()> {
    let contexts = "/etc/selinux/default/contexts/files/file_contexts";
    let mut command = limited(Duration::from_secs(300), "chroot");
    Ok(read(command.arg(tree).args(["setfiles", "-F", contexts, "/"])).map(drop)?)
}

fn add_user(tree: &Path) -> Result<()> {
    append(&tree.join("etc/passwd"), &format!("{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/bash\n"))?;
    append(&tree.join("etc/group"), &format!("{USER}:x:{USER_ID}:\n"))?;
    append(&tree.join("etc/shadow"), &format!("{USER}:*:19000:0:99999:7:::\n"))?;
    let home = tree.join("home").join(USER);
    fs::create_dir_all(&home).on("create", &home)?;
    chown(&home, Some(USER_ID), Some(USER_ID)).on("give away", &home)
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).on("create", parent)?;
    }
    fs::write(path, content).on("write", path)
}

fn append(path: &Path, line: &str) -> Result<()> {
    let text = fs::read_to_string(path).on("read", path)?;
    fs::write(path, text + line).on("write", path)
}

fn remove_older(recipe: &Recipe, trees: &Path) -> Result<()> {
    let prefix = format!("{}-", recipe.name);
    for entry in fs::read_dir(trees).on("list", trees)? {
        let entry = entry.on("list", trees)?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(tree: &Path) -> Result<()> {
    match fs::remove_dir_all(tree) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { doing: format!("remove {}", tree.display()), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_package_is_another_tree() {
        let more = Recipe { packages: &[CONTAINERS, SYSTEMD, &["slirp4netns", "strace"]], ..BOOKWORM };
        assert_ne!(digest(&BOOKWORM), digest(&more));
        assert_eq!(digest(&BOOKWORM), digest(&BOOKWORM));
    }
}
