//! Packages and the installation script: what lanes are given of them, and where that lies in a lane.

pub(super) mod deb;
pub(super) mod formats;
mod policy;
pub(super) mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Doing, Error, Result};
use crate::lanes::spec::{PAYLOAD, Spec};
use crate::package::Release;
use crate::package::files::{For, Packaged};
use crate::process;

/// The Debian package of this release, and the one that it is upgraded to.
const DEB: &str = "nvbind.deb";
const NEWER_DEB: &str = "newer.deb";
const RPM: &str = "nvbind.rpm";
/// The archive for any distribution; its checksum's name ends in `.sha256`.
const ARCHIVE: &str = "nvbind.tar.gz";
const SCRIPT: &str = "install.sh";
/// The folder with the PKGBUILD, the source, and what building that source makes.
const ARCH: &str = "arch";
/// The files that packages hold by the table, Debian's and the others.
const DEBIAN_FILES: &str = "debian.json";
const OTHER_FILES: &str = "others.json";

/// The hook, and what makes podman run it.
const HOOK: &str = "/usr/libexec/nvbind/nvbind-hook";
const JSON: &str = "/usr/share/containers/oci/hooks.d/nvbind.json";

/// The number of the newer package.
const NEWER: u32 = 2;

/// The place of one of them in a lane.
fn place(name: &str) -> String {
    format!("{PAYLOAD}/packages/{name}")
}

/// What is installed where nothing is.
pub(super) fn fill_installation(project: &Path, spec: &Spec) -> Result<()> {
    let release = Release::of(project, spec.run.join("packages"))?;
    let mut newer = release.clone();
    newer.revision = NEWER;
    let archive = release.tarball()?;
    let sum = PathBuf::from(format!("{}.sha256", archive.display()));
    copy(spec, &release.deb()?, DEB)?;
    copy(spec, &newer.deb()?, NEWER_DEB)?;
    copy(spec, &archive, ARCHIVE)?;
    copy(spec, &sum, &format!("{ARCHIVE}.sha256"))?;
    copy(spec, &project.join(SCRIPT), SCRIPT)
}

/// What the tools of the formats look at.
pub(super) fn fill_formats(project: &Path, spec: &Spec) -> Result<()> {
    let release = Release::of(project, spec.run.join("packages"))?;
    copy(spec, &release.deb()?, DEB)?;
    copy(spec, &release.rpm()?, RPM)?;
    copy(spec, &project.join(SCRIPT), SCRIPT)?;
    let (_, debian) = release.tree(For::Debian)?;
    let (tree, others) = release.tree(For::Others)?;
    list(spec, DEBIAN_FILES, &debian)?;
    list(spec, OTHER_FILES, &others)?;
    let build = release.arch()?;
    let source = build.with_file_name(format!("nvbind-{}.tar.gz", release.version()));
    copy(spec, &build, &format!("{ARCH}/PKGBUILD"))?;
    copy(spec, &source, &format!("{ARCH}/nvbind-{}.tar.gz", release.version()))?;
    // As the PKGBUILD's own build() leaves it.
    let built = format!("{ARCH}/src/nvbind-{}/target/package/tree", release.version());
    let built = at(spec, &built)?;
    fs::create_dir_all(&built).on("make", &built)?;
    process::read(Command::new("cp").arg("--archive").arg(tree).arg(&built))?;
    Ok(())
}

fn list(spec: &Spec, name: &str, files: &[Packaged]) -> Result<()> {
    let text = serde_json::to_string(files).map_err(|error| Error::failed(error.to_string()))?;
    let path = at(spec, name)?;
    fs::write(&path, text).on("write", &path)
}

fn copy(spec: &Spec, from: &Path, name: &str) -> Result<()> {
    let path = at(spec, name)?;
    fs::copy(from, &path).on("copy", from).map(drop)
}

/// The place of a file in the payload, in a folder that is there.
fn at(spec: &Spec, name: &str) -> Result<PathBuf> {
    let path = spec.payload().join("packages").join(name);
    let folder = path.parent().unwrap_or(&path);
    fs::create_dir_all(folder).on("make", folder)?;
    Ok(path)
}
