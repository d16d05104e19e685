//! The kernel modules of a machine where nothing has used the driver since it booted, as a server without a display:
//! the driver's own `nvidia-modprobe` loads them.

use crate::catalogue::{MODPROBE, MODPROBE_LOAD};
use crate::failure::Failure;
use crate::supervisor::supervised;
use crate::{child, message, trust};
use std::path::Path;
use std::time::Duration;

/// To load the modules takes a second or two; to initialise many GPUs without persistence, some more. Together with
/// NVML's, and twice the time that a driver is given to settle, this is less than the hook has by its JSON (30 s): who
/// is killed cannot say why.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs it, where it is installed; whether it ran and succeeded. What it could not do shows when the driver is read
/// again.
pub(crate) fn load() -> bool {
    let program = Path::new(MODPROBE);
    if !program.exists() {
        return false;
    }
    log::debug!("runs {MODPROBE} {}", MODPROBE_LOAD.join(" "));
    match run(program) {
        Ok(()) => true,
        Err(error) => {
            log::warn!("the driver's modules are not loaded: {}", message::line(&*error));
            false
        }
    }
}

fn run(program: &Path) -> Result<(), Failure> {
    let program = trust::check_file(program)?;
    child::read_output(supervised(&program).args(MODPROBE_LOAD), &program, TIMEOUT)?;
    Ok(())
}
