//! The command line of the fixtures: `driver-sim`, `image`, `real-driver`.
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::driver_sim::arguments::Asked;
use crate::error::Error;
use crate::image::Image;
use crate::{process, real_driver};

/// Any error with its causes.
type Failure = Box<dyn std::error::Error>;

/// `cargo xtask driver-sim DIR [OPTION…]`: makes a simulated driver root, and returns what there is to print.
pub fn driver_sim(arguments: &[&str]) -> Result<String, Error> {
    let asked = Asked::parse(arguments).map_err(|error| Error::failed(format!("driver-sim: {error}")))?;
    asked.make().map_err(|error| Error::Fixture(error.into()))
}

/// `cargo xtask image ARCHIVE [--from ROOT]`: packs a container image for `podman import`, from this machine's programs
/// or a tree's.
pub fn image(arguments: &[&str]) -> Result<(), Failure> {
    let (archive, from) = match arguments {
        [archive] => (archive, "/"),
        [archive, "--from", root] | ["--from", root, archive] => (archive, *root),
        _ => {
            return Err("image: name the archive to write, and --from ROOT for another tree".into());
        }
    };
    let archive = Path::new(archive);
    let root = archive.with_extension("rootfs");
    let probe = probe()?;
    Image { from: Path::new(from), probe: &probe }.ensure(&root)?;
    Image::pack(&root, archive)?;
    Ok(())
}

/// `cargo xtask real-driver DIR [--suite SUITE]`: unpacks NVIDIA's real driver from Debian's packages into
/// `DIR/real-SUITE`, for every suite or the one named, and returns its shared objects, a line each with its soname.
pub fn real_driver(arguments: &[&str]) -> Result<String, Failure> {
    let (dir, suites) = match arguments {
        [dir] => (dir, real_driver::SUITES),
        [dir, "--suite", suite] => (dir, std::slice::from_ref(suite)),
        _ => return Err("real-driver: name the directory, and --suite SUITE for one alone".into()),
    };
    let mut text = String::new();
    for suite in suites {
        let root = real_driver::ensure(suite, Path::new(dir))?;
        text.push_str(&format!("{}\n", root.display()));
        for (path, soname) in real_driver::shared_objects(&root)? {
            let soname = soname.unwrap_or_else(|| "no soname".into());
            text.push_str(&format!("{}\t{soname}\n", path.display()));
        }
    }
    Ok(text)
}

/// Builds the probe, which `cargo xtask` alone does not, and says where it is.
pub fn probe() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe()?;
    // A benchmark lies one folder deeper than a program.
    let folder = here.parent().ok_or("this program lies in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "nvbind-fixtures", "--bin", "nvbind-probe"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    process::run(&mut build)?;
    Ok(folder.join("nvbind-probe"))
}
