//! What a lane is given from the host: this program, the release binaries, the simulated driver and the image.

use std::fs;
use std::path::{Path, PathBuf};

use super::lane::DRIVER;
use crate::driver_sim::DriverSim;
use crate::error::{Doing, Error, Result};
use crate::fixtures;
use crate::lanes::spec::Spec;

/// Fills a run's payload, and returns folders that are to be seen in the lane, each with its place there.
pub(crate) fn fill(project: &Path, spec: &Spec) -> Result<Vec<(PathBuf, PathBuf)>> {
    let bin = spec.payload().join("bin");
    let own = Path::new("/proc/self/exe");
    fs::copy(own, bin.join("xtask")).on("copy", own)?;
    for name in ["nvbind", "nvbind-hook"] {
        let built = project.join("target/release").join(name);
        fs::copy(&built, bin.join(name)).on("copy", &built)?;
    }
    let lanes = project.join("target/lanes");
    let driver = lanes.join("drivers/simulated");
    DriverSim::default().ensure(&driver).map_err(|error| Error::Fixture(Box::new(error)))?;
    let archive = spec.payload().join("image.tar");
    fixtures::image(&[&archive.to_string_lossy()]).map_err(Error::Fixture)?;
    Ok(vec![(driver, PathBuf::from(DRIVER))])
}
