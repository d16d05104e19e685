//! Images of many kinds, made on the spot and run with NVIDIA's real user-space driver: every program finds every file.
//!
//! What is found depends on the image and the driver, and on who may write in the image, not on the runtime: crun alone
//! runs these, rootful and rootless, in the one lane of each Debian release that has the tree of applications.

pub(super) mod applications;
pub(super) mod baked;
mod claims;
pub(super) mod layers;
pub(super) mod loaders;
mod made;
pub(super) mod places;
pub(super) mod small;

use std::path::Path;

use super::container::then_remove;
use super::ended::Ended;
use super::lane::{DRIVER, use_driver};
use super::podman::{Podman, Runtime};
use super::real::{REAL, needs_driver};

/// The place in a lane of a Debian tree with applications; lanes without it have no cases in images.
pub(crate) const APPS: &str = "/opt/applications";

/// Runs a case's body with the real driver, where there are such cases.
fn with_real_driver(podman: Podman, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    if podman.runtime != Runtime::Crun || !Path::new(APPS).is_dir() {
        return Err(Ended::NoSuchCase);
    }
    needs_driver()?;
    use_driver(REAL)?;
    let ended = then_remove(podman, body);
    use_driver(DRIVER)?;
    ended
}
