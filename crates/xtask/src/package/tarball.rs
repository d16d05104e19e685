//! The release's archive for any distribution: the same files below one folder, and `install.sh`.
use super::files::{For, set_times};
use super::{Release, fixture, sha256};
use nvbind_fixtures::error::{Doing, Result};
use nvbind_fixtures::process;
use std::fs;
use std::path::PathBuf;

/// The script, in the repository and in the archive.
const SCRIPT: &str = "install.sh";

pub(super) fn make(release: &Release) -> Result<PathBuf> {
    let (tree, _) = release.stage("tarball", For::Others)?;
    let name = format!("nvbind-{}-linux-{}", release.version(), std::env::consts::ARCH);
    let folder = tree.at(&name);
    fs::rename(tree.at("root/usr"), &folder).on("move to", &folder)?;
    tree.copy(&release.project.join(SCRIPT), format!("{name}/{SCRIPT}")).map_err(fixture)?;
    set_times(&folder, release.time())?;
    let archive = release.out.join(format!("{name}.tar.gz"));
    process::read(release.tar(&archive).arg("--directory").arg(tree.root()).arg(&name))?;
    let sum = release.out.join(format!("{name}.tar.gz.sha256"));
    fs::write(&sum, sha256(&archive)?.1).on("write", &sum)?;
    Ok(archive)
}
