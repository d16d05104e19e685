//! Programs of the host that xtask needs, installed with the system's own package manager.

use crate::error::{Doing, Error, Result};
use crate::limits::limited;
use crate::process::read;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A program, and what the three package managers call the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Makes a Debian tree.
    Mmdebstrap,
    Podman,
    /// One OCI runtime.
    Crun,
    /// The other OCI runtime.
    Runc,
    /// Maps subordinate ids for a rootless container.
    Uidmap,
    /// Compiles the fixtures' small libraries.
    Cc,
    /// Compiles libFuzzer.
    Cxx,
    /// Compiles for musl, and comes with musl's loader.
    MuslGcc,
    /// Gives programs a loader of their own.
    Patchelf,
    /// Makes Debian packages.
    Dpkg,
    /// Finds what a Debian package depends on.
    DpkgDev,
    /// Makes RPM packages.
    Rpmbuild,
}

/// The package managers that are known: the program, how it installs, and the column of its package names.
const MANAGERS: &[(&str, &[&str])] = &[
    (
        "apt-get",
        // Another one may be at work.
        &["-oDPkg::Lock::Timeout=600", "install", "--yes", "--no-remove", "--no-install-recommends"],
    ),
    ("dnf", &["install", "--assumeyes", "--setopt=install_weak_deps=False"]),
    ("pacman", &["--sync", "--needed", "--noconfirm"]),
];

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::Mmdebstrap => "mmdebstrap",
            Self::Podman => "podman",
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Uidmap => "newuidmap",
            Self::Cc => "cc",
            Self::Cxx => "c++",
            Self::MuslGcc => "musl-gcc",
            Self::Patchelf => "patchelf",
            Self::Dpkg => "dpkg-deb",
            Self::DpkgDev => "dpkg-shlibdeps",
            Self::Rpmbuild => "rpmbuild",
        }
    }

    /// The packages under apt, dnf and pacman.
    fn packages(self) -> [&'static [&'static str]; 3] {
        match self {
            Self::Mmdebstrap => [
                &["mmdebstrap", "debian-archive-keyring"],
                &["mmdebstrap", "debian-keyring"],
                &["debootstrap", "debian-archive-keyring"],
            ],
            Self::Podman => [&["podman"], &["podman"], &["podman"]],
            Self::Crun => [&["crun"], &["crun"], &["crun"]],
            Self::Runc => [&["runc"], &["runc"], &["runc"]],
            Self::Uidmap => [&["uidmap"], &["shadow-utils"], &["shadow"]],
            Self::Cc => [&["gcc", "libc6-dev"], &["gcc", "glibc-devel"], &["gcc", "glibc"]],
            Self::Cxx => [&["g++"], &["gcc-c++"], &["gcc"]],
            Self::MuslGcc => [&["musl-tools"], &["musl-gcc"], &["musl"]],
            Self::Patchelf => [&["patchelf"], &["patchelf"], &["patchelf"]],
            Self::Dpkg => [&["dpkg"], &["dpkg"], &["dpkg"]],
            Self::DpkgDev => [&["dpkg-dev"], &["dpkg-dev"], &["dpkg"]],
            Self::Rpmbuild => [&["rpm"], &["rpm-build"], &["rpm-tools"]],
        }
    }
}

/// Held by whoever installs: lanes run side by side.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Installs those of `tools` that are missing.
pub fn install(tools: &[Tool]) -> Result<()> {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| !have(tool.program())).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program()).collect();
    let Some((column, (manager, verb))) = MANAGERS.iter().enumerate().find(|(_, (name, _))| have(name))
    else {
        return Err(Error::failed(format!(
            "please install {}: no apt-get, dnf or pacman here",
            programs.join(", ")
        )));
    };
    let packages: BTreeSet<&str> =
        missing.iter().filter_map(|tool| tool.packages().get(column).copied()).flatten().copied().collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    if !nix::unistd::geteuid().is_root() {
        let command = format!("{manager} {} {}", verb.join(" "), packages.join(" "));
        return Err(Error::failed(format!("{} missing; as root: {command}", programs.join(", "))));
    }
    println!("installing {}", packages.join(" "));
    let install = || read(in_peace(manager).args(*verb).args(&packages));
    if *manager == "apt-get" {
        // A fresh machine has no package lists, an old one stale ones: refresh them once, then try again.
        if install().is_ok() {
            return Ok(());
        }
        read(in_peace(manager).arg("update"))?;
    }
    install().map(drop).map_err(Error::from)
}

/// A package manager that asks nothing and waits for nobody.
fn in_peace(manager: &str) -> Command {
    let mut command = limited(Duration::from_secs(900), manager);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether a program is in one of the usual places: PATH of a person often lacks the sbin folders.
pub fn have(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|folder| Path::new(folder).join(program).is_file())
}

/// The options of this machine's apt that decide whether a mirror can be reached and believed: proxies, dates.
pub fn apt_options() -> Result<Vec<String>> {
    if !have("apt-config") {
        return Ok(Vec::new());
    }
    let keys = ["Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date"];
    let dump = read(Command::new("apt-config").args(["dump", "--no-empty"]).args(keys))?;
    Ok(dump.lines().map(str::to_owned).collect())
}

/// The addresses of this machine's own Debian mirrors, in the order of its sources.
pub fn debian_mirrors() -> Result<Vec<String>> {
    let mut uris = Vec::new();
    for folder in ["/etc/apt", "/etc/apt/sources.list.d"].map(Path::new) {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        for path in paths {
            let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            if path.is_file() && ["list", "sources"].contains(&kind) {
                let text = fs::read_to_string(&path).on("read", &path)?;
                uris.extend(uris_of(&text).map(str::to_owned));
            }
        }
    }
    Ok(uris)
}

/// The addresses in one sources file, of either format.
fn uris_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .flat_map(str::split_whitespace)
        .filter(|word| word.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_both_formats_of_sources() {
        let old = "# deb http://no.example/debian x main\ndeb [arch=amd64] http://a.example/debian x main\n";
        let new = "Types: deb\nURIs: http://b.example/debian/ http://c.example/debian\nSuites: x\n";
        assert_eq!(uris_of(old).collect::<Vec<_>>(), ["http://a.example/debian"]);
        assert_eq!(uris_of(new).collect::<Vec<_>>(), ["http://b.example/debian/", "http://c.example/debian"]);
    }
}
