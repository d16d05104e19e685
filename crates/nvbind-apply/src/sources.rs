//! The host's side of a plan: every file and node is opened, checked and cloned as a detached mount before the
//! container's namespaces are joined. Only then are sources reachable that others cannot search.

use crate::error::Error;
use crate::mount;
use crate::proc;
use nvbind_core::host::{Directory, Host};
use nvbind_core::plan::{Bind, Device, Plan};
use nvbind_core::trust::is_roots;
use rustix::fs::{FileType, Stat, fstat, major, minor};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::OwnedFd;

/// A file of the driver, ready to be attached.
#[derive(Debug)]
pub(crate) struct FileSource {
    pub(crate) mount: OwnedFd,
    /// Path below the view.
    pub(crate) inside: String,
}

/// A device node, ready to be made or attached.
#[derive(Debug)]
pub(crate) struct NodeSource {
    /// What is attached, where a node cannot be made.
    pub(crate) mount: Option<OwnedFd>,
    pub(crate) device: Device,
    /// Permissions and owner on the host.
    pub(crate) stat: Stat,
}

/// All sources of a plan, in its order.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) files: Vec<FileSource>,
    pub(crate) nodes: Vec<NodeSource>,
    /// Directories of procfs.
    pub(crate) directories: Vec<FileSource>,
}

impl Sources {
    /// Opens and clones them. Nodes are cloned only if they are to be bound: to let go of a detached mount that was
    /// never attached takes the kernel longer than everything else about it.
    pub(crate) fn open(
        plan: &Plan,
        host: &Host,
        in_user_namespace: bool,
        bind_nodes: bool,
    ) -> Result<Sources, Error> {
        let nodes =
            plan.devices.iter().map(|device| node(device, host, bind_nodes)).collect::<Result<_, _>>()?;
        let mut directories = BTreeMap::new();
        let files = plan
            .binds
            .iter()
            .map(|bind| file(bind, host, &mut directories, in_user_namespace))
            .collect::<Result<_, _>>()?;
        let directories = plan.proc.iter().flat_map(|proc| &proc.directories);
        let directories = directories.map(|path| directory(path, host)).collect::<Result<_, _>>()?;
        Ok(Sources { files, nodes, directories })
    }
}

/// Clones a file of the driver and looks at the clone: what is checked is what the container gets.
fn file<'p, 'h>(
    bind: &'p Bind,
    host: &'h Host,
    directories: &mut BTreeMap<&'p str, Directory<'h>>,
    in_user_namespace: bool,
) -> Result<FileSource, Error> {
    let path = || host.files.display(&bind.host);
    let failed = |source: std::io::Error| Error::Source { path: path(), source };
    let (parent, name) = bind.host.rsplit_once('/').unwrap_or(("", &bind.host));
    let directory = match directories.entry(parent) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let parent = if parent.is_empty() { "/" } else { parent };
            let directory = host.files.directory(parent).map_err(|error| failed(error.into()))?;
            let stat = fstat(&directory).map_err(|errno| failed(errno.into()))?;
            if !is_roots(stat.st_uid, in_user_namespace) || stat.st_mode & 0o002 != 0 {
                return Err(Error::Untrusted { path: host.files.display(parent) });
            }
            entry.insert(directory)
        }
    };
    let mount = mount::clone_in(directory, name).map_err(|errno| failed(errno.into()))?;
    let stat = fstat(&mount).map_err(|errno| failed(errno.into()))?;
    if !is_trusted(&stat, in_user_namespace) {
        return Err(Error::Untrusted { path: path() });
    }
    Ok(FileSource { mount, inside: bind.inside.clone() })
}

/// Clones a directory of the kernel module's, which is as trustworthy as the module.
fn directory(path: &str, host: &Host) -> Result<FileSource, Error> {
    let failed = |source: std::io::Error| Error::Source { path: host.proc.display(path), source };
    let directory = host.proc.directory(path).map_err(|error| failed(error.into()))?;
    let mount = mount::clone_detached(&directory, mount::FILE).map_err(|errno| failed(errno.into()))?;
    Ok(FileSource { mount, inside: proc::inside(path) })
}

/// A regular file that root owns, that everybody may read (a driver's are no secrets, so that a link to one gets
/// nobody further), and that neither its group nor others may write.
fn is_trusted(stat: &Stat, in_user_namespace: bool) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_mode & 0o026 == 0o004
        && is_roots(stat.st_uid, in_user_namespace)
}

fn node(device: &Device, host: &Host, bind: bool) -> Result<NodeSource, Error> {
    let node = &device.node;
    let path = || host.dev.display(&node.path);
    let fd = match host.dev.locate(&node.path) {
        Err(error) if error.is_not_found() => return Err(Error::NoNode { path: path() }),
        other => other.map_err(|error| Error::Source { path: path(), source: error.into() })?,
    };
    let failed = |errno: rustix::io::Errno| Error::Source { path: path(), source: errno.into() };
    let stat = fstat(&fd).map_err(failed)?;
    if !is_device(&stat, node.major, node.minor) {
        return Err(Error::WrongNode { path: path(), major: node.major, minor: node.minor });
    }
    let mount = bind.then(|| mount::clone_detached(&fd, mount::DEVICE)).transpose().map_err(failed)?;
    Ok(NodeSource { mount, device: device.clone(), stat })
}

/// Whether it is that character device.
pub(crate) fn is_device(stat: &Stat, major_number: u32, minor_number: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (major_number, minor_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_core::trust::OVERFLOW_UID;

    #[test]
    fn only_files_of_root_that_others_cannot_write_are_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let stat = |mode: u32, uid: u32| {
            let mut stat = fstat(tempfile::tempfile_in(&directory).unwrap()).unwrap();
            (stat.st_mode, stat.st_uid) = (mode, uid);
            stat
        };
        for (mode, uid, in_user_namespace, trusted) in [
            (0o100_644, 0, false, true),
            (0o100_755, 0, true, true),
            (0o100_664, 0, false, false),
            (0o100_640, 0, false, false),
            (0o100_646, 0, false, false),
            (0o100_644, 1000, false, false),
            (0o100_644, OVERFLOW_UID, false, false),
            (0o100_644, OVERFLOW_UID, true, true),
            (0o040_755, 0, false, false),
        ] {
            assert_eq!(is_trusted(&stat(mode, uid), in_user_namespace), trusted, "{mode:o} {uid}");
        }
    }
}
