//! What a lane is given from the host: this program, the release binaries or packages, the simulated driver and the
//! image.

use super::package_payload;
use crate::gpu_bundle::{self, computing};
use crate::release;
use nvbind_e2e::devices::mig;
use nvbind_e2e::drivers::compat;
use nvbind_e2e::drivers::gpu_checks::{self, COMPUTING, PLACE};
use nvbind_e2e::drivers::layouts::LAYOUTS;
use nvbind_e2e::drivers::real::{NO_REAL, REAL};
use nvbind_e2e::images::{APPS, small};
use nvbind_e2e::lane::DRIVER;
use nvbind_fixtures::driver_sim::{DriverSim, Layout};
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::{commands, real_driver};
use nvbind_lanes::spec::{Spec, Suite};
use nvbind_lanes::{Lane, lock, tree};
use std::fs;
use std::path::{Path, PathBuf};

/// Fills a run's payload, and names the folders that are to be seen in the lane, each with its place there. Lanes that
/// run side by side share what is made here: one at a time.
pub(crate) fn fill(project: &Path, spec: &mut Spec) -> Result<()> {
    let _alone = lock(&project.join("target/lanes/payload.lock"))?;
    let folders = match spec.suite {
        Suite::Containers => containers(project, spec)?,
        Suite::Machine(_) => {
            programs(project, spec)?;
            vec![driver_and_image(project, spec)?]
        }
        Suite::Installation => {
            package_payload::fill_installation(project, spec)?;
            vec![driver_and_image(project, spec)?]
        }
        Suite::Formats => {
            package_payload::fill_formats(project, spec)?;
            Vec::new()
        }
    };
    spec.binds.extend(folders);
    Ok(())
}

/// The same, and the applications for images in the lane that has them.
pub(super) fn fill_lane(project: &Path, lane: &Lane, spec: &mut Spec) -> Result<()> {
    if let Some(recipe) = lane.apps {
        let apps = tree::ready(recipe, &project.join("target/lanes/trees"))?;
        spec.binds.push((apps, PathBuf::from(APPS)));
    }
    fill(project, spec)?;
    if lane.apps.is_some() { fill_images(spec) } else { Ok(()) }
}

/// The simulated driver, with its place, and the image.
fn driver_and_image(project: &Path, spec: &Spec) -> Result<(PathBuf, PathBuf)> {
    let driver = project.join("target/lanes/drivers/simulated");
    DriverSim::default().ensure(&driver).map_err(|error| Error::Fixture(Box::new(error)))?;
    let archive = spec.payload().join("image.tar");
    commands::image(&[&archive.to_string_lossy()]).map_err(Error::Fixture)?;
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
    folders.extend(gpu_checks(project, spec)?);
    folders.push(mig::ensure(&lanes.join("drivers/mig"))?);
    folders.extend(real_driver(&lanes.join("drivers"), spec)?);
    Ok(folders)
}

/// Adds the programs for images that are not made from the test image: the probe, and those for where it does not run.
fn fill_images(spec: &Spec) -> Result<()> {
    let bin = spec.payload().join("bin");
    let probe = commands::probe().map_err(Error::Fixture)?;
    fs::copy(&probe, bin.join("nvbind-probe")).on("copy", &probe)?;
    small::compile(&bin)
}

/// The bundle and the driver of the checks for real GPUs, where these run.
fn gpu_checks(project: &Path, spec: &Spec) -> Result<Vec<(PathBuf, PathBuf)>> {
    if !spec.cells.iter().any(|cell| cell.contains(gpu_checks::NAME)) {
        return Ok(Vec::new());
    }
    let driver = project.join("target/lanes/drivers/computing");
    computing::ensure(project, &driver)?;
    let bundle = gpu_bundle::ensure(project)?;
    Ok(vec![(bundle, PLACE.into()), (driver, COMPUTING.into())])
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
