//! Images of many kinds, made on the spot and run with NVIDIA's real user-space driver: every program finds every file.
//!
//! What is found depends on the image and the driver, and on who may write in the image, not on the runtime: crun alone
//! runs these, rootful and rootless, in the one lane of each Debian release that has the tree of applications.

pub(crate) mod annotation;
pub(crate) mod applications;
pub(crate) mod baked;
mod claims;
pub(crate) mod hostile;
pub(crate) mod layers;
pub(crate) mod loaders;
mod made;
pub(crate) mod places;
pub mod small;

use crate::case::{APPLICATIONS, CRUN, Where};
use crate::container::then_remove;
use crate::drivers::real::{REAL, needs_driver};
use crate::ended::Ended;
use crate::lane::{DRIVER, use_driver};
use crate::podman::Podman;

/// Where they run.
const IN_IMAGES: Where = &[&[APPLICATIONS, CRUN]];

/// The place in a lane of a Debian tree with applications; lanes without it have no cases in images.
pub const APPS: &str = "/opt/applications";

/// Runs a case's body with the real driver, where there are such cases.
fn with_real_driver(podman: Podman, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    needs_driver()?;
    use_driver(REAL)?;
    let ended = then_remove(podman, body);
    use_driver(DRIVER)?;
    ended
}
