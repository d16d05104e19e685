//! Sees that an isolated container cannot reach the GPUs that it did not ask for by other means: what the user gave it
//! beside nvbind.

use crate::error::Error;
use crate::rootfs::Rootfs;
use nvbind_core::host::Tree;
use nvbind_core::inventory::DeviceNode;
use nvbind_core::oci::{Config, bound_source};
use rustix::fs::{Stat, stat};
use std::collections::BTreeSet;
use std::path::Path;

/// A file by its identity, whatever its name.
type Identity = (u64, u64);

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// What the container's configuration gives it; asked in the runtime's namespaces, where volumes come from.
pub(crate) fn check_configuration(
    unseen: &[DeviceNode],
    config: &Config,
    dev: &Tree,
    is_rootless: bool,
) -> Result<(), Error> {
    if !config.masks_proc() {
        return Err(refuse("all of /proc", "--privileged or --security-opt unmask"));
    }
    for node in unseen {
        let by = if config.has_device(node.major, node.minor) {
            "--device or --privileged"
        } else if !is_rootless && config.has_rule_for(node.major, node.minor) {
            "--device-cgroup-rule or --privileged"
        } else {
            continue;
        };
        return Err(refuse(&node.path, by));
    }
    // The nodes, and the directories that they are in.
    let paths = unseen.iter().flat_map(|node| Path::new(&node.path).ancestors());
    let hidden: BTreeSet<Identity> =
        paths.filter_map(|path| dev.stat(path.to_str()?).ok()).map(|stat| identity(&stat)).collect();
    for mount in &config.mounts {
        let Some(source) = bound_source(mount) else { continue };
        if stat(source).is_ok_and(|stat| hidden.contains(&identity(&stat))) {
            let what = format!("{} of the host", source.display());
            return Err(refuse(&what, &format!("--volume or --mount to {}", mount.destination().display())));
        }
    }
    Ok(())
}

/// What stands in its /dev, however it came there.
pub(crate) fn check_nodes(unseen: &[DeviceNode], rootfs: &Rootfs) -> Result<(), Error> {
    match unseen.iter().find(|node| rootfs.has(&node.path)) {
        Some(node) => Err(refuse(&node.path, "--device, --volume or --privileged")),
        None => Ok(()),
    }
}

fn refuse(what: &str, by: &str) -> Error {
    Error::Seen { what: what.to_owned(), by: by.to_owned() }
}
