//! What the lanes of packages are given: packages, and what their files should be.

use crate::package::Release;
use crate::package::files::For;
use nvbind_e2e::packages::{ARCH, ARCHIVE, DEB, DEBIAN_FILES, NEWER, NEWER_DEB, OTHER_FILES, RPM, SCRIPT};
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process;
use nvbind_fixtures::tree::Packaged;
use nvbind_lanes::spec::Spec;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    copy(spec, &build.with_file_name("nvbind.install"), &format!("{ARCH}/nvbind.install"))?;
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
