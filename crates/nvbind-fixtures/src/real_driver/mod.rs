//! NVIDIA's real user-space driver as Debian packages it, for 64-bit programs and 32-bit ones, unpacked into a driver
//! root and never installed.
//!
//! `/proc`, `/sys` and `/dev` of the root are the simulated ones: there is no kernel module behind it.
mod alternatives;
mod apt;
mod contents;
mod coverage;
mod sources;

use crate::driver_sim::{DriverSim, TRIPLET, TRIPLET_32};
use crate::elf::ElfError;
use crate::process::{self, ProcessError};
use crate::tree::{Tree, TreeError};
use alternatives::Alternative;
use apt::Apt;
pub use contents::{data_files, shared_objects, shared_objects_32};
pub use coverage::{data_differences, differences};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Debian releases whose driver is tested: 535 and 550.
pub const SUITES: &[&str] = &["bookworm", "trixie"];

/// Why there is no real driver.
#[derive(Debug, thiserror::Error)]
pub enum RealDriverError {
    /// The machine's apt knows no Debian archive.
    #[error(
        "no Debian archive in this machine's apt sources: the real driver comes from Debian's non-free component"
    )]
    NoArchive,
    /// A program failed.
    #[error("cannot fetch or unpack the driver's packages")]
    Process(#[from] ProcessError),
    /// A file of the root.
    #[error("cannot make the driver root")]
    Tree(#[from] TreeError),
    /// A file could not be read or written.
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file could not be read as ELF.
    #[error("cannot list the driver's shared objects")]
    Elf(#[from] ElfError),
    /// The packages are not those of a driver.
    #[error("the packages of {suite} have no libcuda.so.VERSION: has the driver's packaging changed?")]
    NoVersion { suite: String },
}

/// Makes the driver root of the release `suite` in `dir`, unless it is there already, and says where it is.
pub fn ensure(suite: &str, dir: &Path) -> Result<PathBuf, RealDriverError> {
    // apt takes what is relative as relative to its own directories.
    let dir =
        std::path::absolute(dir).map_err(|source| RealDriverError::File { path: dir.into(), source })?;
    let root = dir.join(format!("real-{suite}"));
    let description = format!("the driver of {suite}, format 3");
    if Tree::is_made(&root, &description) {
        return Ok(root);
    }
    let apt = Apt::new(&dir.join(format!("apt-{suite}")), suite)?;
    let archives = apt.download()?;
    let tree = Tree::create(&root)?;
    for (path, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        tree.dir(target)?;
        tree.link(path, target)?;
    }
    let mut script = String::new();
    for archive in archives {
        unpack(&archive, &tree)?;
        if archive_name(&archive) == "nvidia-alternative" {
            script = process::read(Command::new("dpkg-deb").arg("--info").arg(&archive).arg("postinst"))?;
        }
    }
    // In this order: a file of the glx group is a link of the nvidia group.
    for alternative in alternatives::parse(&script).iter().chain(&alternatives::glx()) {
        install(alternative, &tree)?;
    }
    linker(&tree)?;
    let version = version(&root).ok_or_else(|| RealDriverError::NoVersion { suite: suite.into() })?;
    let sim = DriverSim { version, ..DriverSim::default() };
    sim.kernel_side(&tree)?;
    tree.finish(&description)?;
    Ok(root)
}

/// `NAME_VERSION_ARCH.deb`
fn archive_name(archive: &Path) -> &str {
    archive
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.split('_').next())
        .unwrap_or_default()
}

/// `dpkg-deb --extract` sets the modes of directories and puts `lib/` where it is told: through tar, the merged `/usr`
/// of the root stays as it is.
fn unpack(archive: &Path, tree: &Tree) -> Result<(), RealDriverError> {
    process::read(
        Command::new("sh")
            .args([
                "-c",
                "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink --no-same-owner -C \"$2\"",
                "sh",
            ])
            .arg(archive)
            .arg(tree.root()),
    )?;
    Ok(())
}

/// As update-alternatives has it: only what is there is registered.
fn install(alternative: &Alternative, tree: &Tree) -> Result<(), RealDriverError> {
    if fs::symlink_metadata(tree.at(&alternative.file)).is_ok() {
        tree.link(&alternative.link, &alternative.entry)?;
        tree.link(&alternative.entry, &alternative.file)?;
    }
    Ok(())
}

fn linker(tree: &Tree) -> Result<(), RealDriverError> {
    tree.file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n", 0o644)?;
    for triplet in [TRIPLET, TRIPLET_32] {
        tree.file(
            format!("etc/ld.so.conf.d/{triplet}.conf"),
            format!("/usr/local/lib/{triplet}\n/lib/{triplet}\n/usr/lib/{triplet}\n"),
            0o644,
        )?;
    }
    tree.linker_cache()?;
    Ok(())
}

/// The driver's version is the end of its libcuda's file name.
fn version(root: &Path) -> Option<String> {
    let folder = root.join("usr/lib").join(TRIPLET).join("nvidia/current");
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name.strip_prefix("libcuda.so.")?;
        version.contains('.').then(|| version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archives_name_is_its_packages() {
        let archive = Path::new("/x/libcuda1_535.309.01-0+deb12u1_amd64.deb");
        assert_eq!(archive_name(archive), "libcuda1");
    }

    #[test]
    fn the_version_is_libcudas_and_not_its_sonames() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join("usr/lib").join(TRIPLET).join("nvidia/current");
        fs::create_dir_all(&current).unwrap();
        for name in ["libcuda.so.1", "libcuda.so", "libcuda.so.535.309.01"] {
            fs::write(current.join(name), "").unwrap();
        }
        assert_eq!(version(dir.path()).as_deref(), Some("535.309.01"));
    }
}
