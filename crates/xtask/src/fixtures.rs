//! The command line of the fixtures: `driver-sim`, `image`.
use std::path::{Path, PathBuf};

use crate::driver_sim::{DriverSim, Layout};
use crate::image::Image;

/// Any error with its causes.
type Failure = Box<dyn std::error::Error>;

/// `cargo xtask driver-sim DIR [--layout NAME] [--version VERSION]`: makes a simulated driver root.
pub fn driver_sim(arguments: &[&str]) -> Result<(), Failure> {
    let mut sim = DriverSim::default();
    let mut root = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--layout" => {
                let name = rest.next().ok_or("--layout: its value is missing")?;
                sim.layout = Layout::parse(name).ok_or_else(|| {
                    let known: Vec<_> = Layout::ALL.iter().map(|(name, _)| *name).collect();
                    format!("{name}: no such layout; there are {}", known.join(", "))
                })?;
            }
            "--version" => {
                sim.version = (*rest.next().ok_or("--version: its value is missing")?).into();
            }
            path => root = Some(PathBuf::from(path)),
        }
    }
    let root = root.ok_or("driver-sim: name the directory to make")?;
    sim.ensure(&root)?;
    Ok(())
}

/// `cargo xtask image ARCHIVE [--from ROOT]`: packs a container image for `podman import`, from this machine's programs
/// or a tree's.
pub fn image(arguments: &[&str]) -> Result<(), Failure> {
    let (archive, from) = match arguments {
        [archive] => (archive, "/"),
        [archive, "--from", root] | ["--from", root, archive] => (archive, *root),
        _ => {
            return Err(
                "image: name the archive to write, and --from ROOT for another tree".into(),
            );
        }
    };
    let archive = Path::new(archive);
    let root = archive.with_extension("rootfs");
    let probe = probe()?;
    Image {
        from: Path::new(from),
        probe: &probe,
    }
    .root_filesystem(&root)?;
    Image::pack(&root, archive)?;
    Ok(())
}

/// The probe, which cargo puts beside this program.
pub fn probe() -> Result<PathBuf, Failure> {
    let probe = std::env::current_exe()?.with_file_name("nvbind-probe");
    if probe.is_file() {
        Ok(probe)
    } else {
        Err("nvbind-probe is not built: cargo build --package xtask".into())
    }
}
