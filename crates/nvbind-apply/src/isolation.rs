//! Sees that an isolated container cannot reach the GPUs that it did not ask for by other means: what the user gave it
//! beside nvbind.

use crate::error::Error;
use crate::rootfs::Rootfs;
use nvbind_core::host::Host;
use nvbind_core::inventory::DeviceNode;
use nvbind_core::isolation::{Hidden, Seen};
use nvbind_core::oci::{Config, bound_source};

/// What the container's configuration gives it; asked in the runtime's namespaces, where volumes come from.
pub(crate) fn check_configuration(
    unseen: &[DeviceNode],
    config: &Config,
    host: &Host,
    is_rootless: bool,
) -> Result<(), Error> {
    if !config.masks_proc() {
        return Err(Seen::proc("--privileged or --security-opt unmask").into());
    }
    for node in unseen {
        let by = if config.has_device(node.major, node.minor) {
            "--device or --privileged"
        } else if !is_rootless && config.has_rule_for(node.major, node.minor) {
            "--device-cgroup-rule or --privileged"
        } else {
            continue;
        };
        return Err(Seen::new(&node.path, by).into());
    }
    let hidden = Hidden::find(unseen, host)?;
    for mount in &config.mounts {
        let Some(source) = bound_source(mount) else { continue };
        // The runtime would have failed where it is not there; what it mounts is.
        if hidden.is_shown_by(source)? {
            let what = format!("{} of the host", source.display());
            let by = format!("--volume or --mount to {}", mount.destination().display());
            return Err(Seen::new(&what, &by).into());
        }
    }
    Ok(())
}

/// What stands in its /dev, however it came there.
pub(crate) fn check_nodes(unseen: &[DeviceNode], rootfs: &Rootfs) -> Result<(), Error> {
    for node in unseen {
        if rootfs.has(&node.path)? {
            return Err(Seen::new(&node.path, "--device, --volume or --privileged").into());
        }
    }
    Ok(())
}
