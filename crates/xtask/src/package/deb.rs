//! The Debian package, by dpkg's own tools: they know what the programs' libraries are called there.
use super::files::{For, set_times};
use super::version::with_tilde;
use super::{Release, fixture};
use nvbind_fixtures::error::Result;
use nvbind_fixtures::process;
use nvbind_fixtures::tools::{self, Tool};
use std::path::PathBuf;

/// What dpkg runs.
const SCRIPTS: [&str; 2] = ["postinst", "prerm"];

/// Every file's checksum, as `dpkg --verify` reads them.
const SUMS: &str = "cd root && find usr -type f | sort | xargs -d '\\n' md5sum";

pub(super) fn make(release: &Release) -> Result<PathBuf> {
    tools::install(&[Tool::Dpkg, Tool::DpkgDev])?;
    let (tree, _) = release.stage("deb", For::Debian)?;
    for name in ["control", "changelog"] {
        let text = release.template(&format!("packaging/deb/{name}"))?;
        tree.file(format!("debian/{name}"), text, 0o644).map_err(fixture)?;
    }
    let here = |program: &str| {
        let mut command = release.command(program);
        command.current_dir(tree.root());
        command
    };
    process::read(here("dpkg-shlibdeps").args(["-Tdebian/substvars", "root/usr/bin/nvbind"]))?;
    tree.dir("root/DEBIAN").map_err(fixture)?;
    process::read(here("dpkg-gencontrol").args(["-Proot", "-Tdebian/substvars"]))?;
    for name in SCRIPTS {
        let text = release.template(&format!("packaging/deb/{name}"))?;
        tree.file(format!("root/DEBIAN/{name}"), text, 0o755).map_err(fixture)?;
    }
    let sums = process::read(here("sh").args(["-ec", SUMS]))?;
    tree.file("root/DEBIAN/md5sums", sums, 0o644).map_err(fixture)?;
    set_times(&tree.at("root"), release.time())?;
    let architecture = process::read(here("dpkg").arg("--print-architecture"))?;
    // A distribution's own package, -1, is newer than the one of the same version from here.
    let version = with_tilde(release.version());
    let name = format!("nvbind_{version}-0nvbind{}_{}.deb", release.revision, architecture.trim());
    let package = release.out.join(name);
    // With several threads the compressed bytes depend on their number.
    let options = ["--root-owner-group", "-Zxz", "--threads-max=1", "--build", "root"];
    process::read(here("dpkg-deb").args(options).arg(&package))?;
    Ok(package)
}
