//! Sees that an isolated container cannot reach the GPUs that it did not ask for by other means: what the user gave it
//! beside nvbind.

use crate::error::Error;
use crate::rootfs::Rootfs;
use nvbind_core::host::Tree;
use nvbind_core::inventory::DeviceNode;
use nvbind_core::oci::{Config, bound_source};
use rustix::fs::{Stat, stat};
use rustix::io::Errno;
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
    let mut hidden = BTreeSet::new();
    for path in paths.filter_map(Path::to_str) {
        match dev.stat(path) {
            Ok(stat) => drop(hidden.insert(identity(&stat))),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Error::Source { path: dev.display(path), source: error.into() }),
        }
    }
    for mount in &config.mounts {
        let Some(source) = bound_source(mount) else { continue };
        match stat(source) {
            Ok(stat) if hidden.contains(&identity(&stat)) => {
                let what = format!("{} of the host", source.display());
                let by = format!("--volume or --mount to {}", mount.destination().display());
                return Err(refuse(&what, &by));
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            // Nobody can tell that it shows no other GPU.
            Err(errno) => return Err(Error::system(format!("look at {}", source.display()), errno)),
        }
    }
    Ok(())
}

/// What stands in its /dev, however it came there.
pub(crate) fn check_nodes(unseen: &[DeviceNode], rootfs: &Rootfs) -> Result<(), Error> {
    for node in unseen {
        if rootfs.has(&node.path)? {
            return Err(refuse(&node.path, "--device, --volume or --privileged"));
        }
    }
    Ok(())
}

fn refuse(what: &str, by: &str) -> Error {
    Error::Seen { what: what.to_owned(), by: by.to_owned() }
}
