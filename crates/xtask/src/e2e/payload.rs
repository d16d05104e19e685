//! What a lane is given from the host: this program, the release binaries or packages, the simulated driver and the image.

use std::fs;
use std::path::{Path, PathBuf};

use super::compat;
use super::gpu;
use super::images::small;
use super::lane::DRIVER;
use super::layouts::LAYOUTS;
use super::mig;
use super::packages;
use super::real::{NO_REAL, REAL};
use crate::driver_sim::{DriverSim, Layout};
use crate::error::{Doing, Error, Result};
use crate::fixtures;
use crate::lanes::spec::{Spec, Suite};
use crate::{real_driver, release};

/// Fills a run's payload, and returns folders that are to be seen in the lane, each with its place there.
pub(crate) fn fill(project: &Path, spec: &Spec) -> Result<Vec<(PathBuf, PathBuf)>> {
    let bin = spec.payload().join("bin");
    let own = Path::new("/proc/self/exe");
    fs::copy(own, bin.join("xtask")).on("copy", own)?;
    match spec.suite {
        Suite::Containers => containers(project, spec),
        Suite::Machine(_) => {
            programs(project, spec)?;
            Ok(vec![driver_and_image(project, spec)?])
        }
        Suite::Installation => {
            packages::fill_installation(project, spec)?;
            Ok(vec![driver_and_image(project, spec)?])
        }
        Suite::Formats => packages::fill_formats(project, spec).map(|()| Vec::new()),
    }
}

/// The simulated driver, with its place, and the image.
fn driver_and_image(project: &Path, spec: &Spec) -> Result<(PathBuf, PathBuf)> {
    let driver = project.join("target/lanes/drivers/simulated");
    DriverSim::default().ensure(&driver).map_err(|error| Error::Fixture(Box::new(error)))?;
    let archive = spec.payload().join("image.tar");
    fixtures::image(&[&archive.to_string_lossy()]).map_err(Error::Fixture)?;
    Ok((driver, PathBuf::from(DRIVER)))
}

/// The release binaries.
fn programs(project: &Path, spec: &Spec) -> Result<()> {
    for name in release::PROGRAMS {
        let built = release::folder(project).join(name);
        fs::copy(&built, spec.payload().join("bin").join(name)).on("copy", &built)?;
    }
    Ok(())
}

/// All that containers are tried with.
fn containers(project: &Path, spec: &Spec) -> Result<Vec<(PathBuf, PathBuf)>> {
    programs(project, spec)?;
    let lanes = project.join("target/lanes");
    let simulated = driver_and_image(project, spec)?;
    let layouts = lanes.join("drivers/layouts");
    for (name, layout) in Layout::ALL {
        let sim = DriverSim { layout: *layout, ..DriverSim::default() };
        sim.ensure(&layouts.join(name)).map_err(|error| Error::Fixture(Box::new(error)))?;
    }
    let mut folders = vec![simulated, (layouts, PathBuf::from(LAYOUTS))];
    folders.push(compat::ensure(&lanes.join("drivers/compat"))?);
    folders.extend(gpu::ensure(project, spec)?);
    folders.push(mig::ensure(&lanes.join("drivers/mig"))?);
    folders.extend(real_driver(&lanes.join("drivers"), spec)?);
    Ok(folders)
}

/// Adds the programs for images that are not made from the test image: the probe, and those for where it does not run.
pub(crate) fn fill_images(spec: &Spec) -> Result<()> {
    let bin = spec.payload().join("bin");
    let probe = fixtures::probe().map_err(Error::Fixture)?;
    fs::copy(&probe, bin.join("nvbind-probe")).on("copy", &probe)?;
    small::compile(&bin)
}

/// NVIDIA's driver of the lane's Debian release. Where it can't be had, its cases are skipped with that reason.
fn real_driver(drivers: &Path, spec: &Spec) -> Result<Option<(PathBuf, PathBuf)>> {
    let suite = real_driver::SUITES.iter().find(|suite| spec.lane.starts_with(**suite));
    let Some(suite) = suite else { return Ok(None) };
    match real_driver::ensure(suite, drivers) {
        Ok(root) => Ok(Some((root, PathBuf::from(REAL)))),
        Err(error) => {
            let path = spec.payload().join(NO_REAL);
            fs::write(&path, Error::Fixture(Box::new(error)).chain()).on("write", &path)?;
            Ok(None)
        }
    }
}
