//! For Arch Linux: the archive of the source, and the PKGBUILD that builds from exactly this archive.
use super::{Release, sha256};
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What pacman runs, which the PKGBUILD names.
const SCRIPTS: &str = "nvbind.install";

pub(super) fn make(release: &Release) -> Result<PathBuf> {
    let archive = source(release)?;
    let text = release.template("packaging/arch/PKGBUILD")?.replace("@SHA256@", &sha256(&archive)?.0);
    let scripts = release.out.join(SCRIPTS);
    fs::write(&scripts, release.template(&format!("packaging/arch/{SCRIPTS}"))?).on("write", &scripts)?;
    let file = release.out.join("PKGBUILD");
    fs::write(&file, text).on("write", &file)?;
    Ok(file)
}

/// The files that git knows, as they are.
fn source(release: &Release) -> Result<PathBuf> {
    let list = release.out.join("source-files");
    let listed = process::read(Command::new("git").arg("-C").arg(&release.project).args(["ls-files", "-z"]));
    let listed = listed.map_err(|error| {
        Error::failed(format!("the archive of the source is made of a git checkout: {error}"))
    })?;
    fs::create_dir_all(&release.out).on("create", &release.out)?;
    fs::write(&list, listed).on("write", &list)?;
    let name = format!("nvbind-{}", release.version());
    let archive = release.out.join(format!("{name}.tar.gz"));
    let mut tar = release.tar(&archive);
    tar.arg(format!("--transform=flags=r;s,^,{name}/,")).arg("--directory").arg(&release.project);
    process::read(tar.args(["--null", "--no-recursion", "--files-from"]).arg(&list))?;
    Ok(archive)
}
