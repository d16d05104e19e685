//! The kernel modules of a machine where nothing has used the driver since it booted, as a server without a display: the
//! driver's own `nvidia-modprobe` loads them.

use nvbind_core::catalogue::{MODPROBE, MODPROBE_LOAD};
use nvbind_core::host::Host;
use nvbind_core::{child, trust};
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// To load the modules takes a second or two; to initialise many GPUs without persistence, some more.
const LIMIT: Duration = Duration::from_secs(30);

/// Whether the modules in question are this machine's, and this process may load them: another driver root is none of
/// `nvidia-modprobe`'s.
pub(crate) fn may_load(host: &Host) -> bool {
    host.is_machine() && nvbind_apply::in_user_namespace().is_ok_and(|inside| !inside)
}

/// Runs it; whether it ran and was content. What it could not do shows when the driver is read again.
pub(crate) fn load() -> bool {
    let program = Path::new(MODPROBE);
    if !program.exists() {
        return false;
    }
    match run(program) {
        Ok(()) => true,
        Err(error) => {
            log::warn!("the driver's modules are not loaded: {error}");
            false
        }
    }
}

fn run(program: &Path) -> Result<(), Box<dyn Error>> {
    child::output(Command::new(trust::file(program)?).args(MODPROBE_LOAD), LIMIT)?;
    Ok(())
}
