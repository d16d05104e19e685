//! What a lane is given from the host: this program, the release binaries, the driver roots and the image.

use std::fs;
use std::path::Path;

use crate::error::{Doing, Result};
use crate::lanes::spec::Spec;
use crate::lanes::tree::Recipe;

/// Fills a run's payload.
pub(crate) fn fill(project: &Path, _recipe: &Recipe, spec: &Spec) -> Result<()> {
    let bin = spec.payload().join("bin");
    let own = Path::new("/proc/self/exe");
    fs::copy(own, bin.join("xtask")).on("copy", own)?;
    for name in ["nvbind", "nvbind-hook"] {
        let built = project.join("target/release").join(name);
        fs::copy(&built, bin.join(name)).on("copy", &built)?;
    }
    fs::copy("/tmp/lanetest/try.sh", spec.payload().join("try.sh")).on("x", own)?;
    Ok(())
}
