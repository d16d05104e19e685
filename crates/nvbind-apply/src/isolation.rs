//! Sees that an isolated container cannot reach the GPUs that it did not ask for by other means: what the user gave it
//! beside nvbind.

use crate::error::Error;
use crate::rootfs::Rootfs;
use nvbind_core::host::{Found as _, Host};
use nvbind_core::inventory::{DeviceNode, PROC};
use nvbind_core::oci::{Config, bound_source};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, open, stat};
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
    host: &Host,
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
    let hidden = find_hidden(unseen, host)?;
    for mount in &config.mounts {
        let Some(source) = bound_source(mount) else { continue };
        let failed = |errno: Errno| Error::system(format!("look at {} of the host", source.display()), errno);
        let fd = match open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            // The runtime would have failed; what it mounts is there.
            Err(Errno::NOENT) => continue,
            fd => fd.map_err(failed)?,
        };
        // Any procfs of the host's tells of every GPU, wherever it is mounted.
        let is_procfs = fstatfs(&fd).map_err(failed)?.f_type == PROC_SUPER_MAGIC;
        if is_procfs || hidden.contains(&identity(&fstat(&fd).map_err(failed)?)) {
            let what = format!("{} of the host", source.display());
            return Err(refuse(&what, &format!("--volume or --mount to {}", mount.destination().display())));
        }
    }
    Ok(())
}

/// The nodes, the directories that they are in up to the machine's own root, and those of the driver's procfs.
fn find_hidden(unseen: &[DeviceNode], host: &Host) -> Result<BTreeSet<Identity>, Error> {
    let nodes = unseen.iter().flat_map(|node| Path::new(&node.path).ancestors()).collect();
    let proc = Path::new(PROC).ancestors().collect();
    let mut hidden = BTreeSet::new();
    for (tree, paths) in [(&host.dev, nodes), (&host.proc, proc)] {
        let paths: BTreeSet<&Path> = paths;
        for path in paths.into_iter().filter_map(Path::to_str) {
            let failed = |error: nvbind_core::host::Error| Error::Source {
                path: tree.display(path),
                source: error.into(),
            };
            hidden.extend(tree.stat(path).found().map_err(failed)?.map(|stat| identity(&stat)));
        }
        for path in tree.real().ancestors() {
            let failed = |errno| Error::system(format!("look at {}", path.display()), errno);
            hidden.insert(identity(&stat(path).map_err(failed)?));
        }
    }
    Ok(hidden)
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
