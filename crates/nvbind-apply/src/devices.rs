//! Device nodes in the container's own `/dev`.

use crate::error::Error;
use crate::mount;
use crate::node;
use crate::rootfs::{Directory, Missing, Rootfs};
use crate::sources::{NodeSource, is_device};
use nvbind_core::plan::DeviceLink;
use rustix::fs::{Mode, OFlags, fstat, openat, symlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Makes or binds every node.
///
/// Outside user namespaces a node is made: it takes the SELinux label of the container's `/dev`. Inside one only a
/// bind of the host's node works (mknod(2): EPERM), and the source has a mount for that.
pub(crate) fn add(rootfs: &Rootfs, nodes: &[NodeSource]) -> Result<(), Error> {
    let mut directories: BTreeMap<&str, Directory> = BTreeMap::new();
    for source in nodes {
        let node = &source.device.node;
        let (parent, name) = node.path.rsplit_once('/').unwrap_or(("/dev", &node.path));
        if !directories.contains_key(parent) {
            let directory =
                rootfs.open_directory(parent, Missing::Create)?.ok_or_else(|| no_place(&node.path))?;
            directories.insert(parent, directory);
        }
        if let Some(directory) = directories.get(parent)
            && !is_there(directory, name, source)?
        {
            create(rootfs, directory, name, source)?;
        }
        if let Some(link) = &source.device.link {
            make_link(rootfs, link)?;
        }
    }
    Ok(())
}

/// Makes a link, unless something stands there.
fn make_link(rootfs: &Rootfs, DeviceLink { path, target }: &DeviceLink) -> Result<(), Error> {
    let Some((parent, name)) = path.rsplit_once('/') else { return Ok(()) };
    let directory = rootfs.open_directory(parent, Missing::Create)?;
    // In a /dev that is not the container's own nothing is missing, or it is not ours to make.
    let Some(directory) = directory.filter(|directory| directory.closed.is_none()) else { return Ok(()) };
    match symlinkat(target.as_str(), &directory, name) {
        Ok(()) => rootfs.record(|journal| journal.file(directory.share(), name)),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::system(format!("link {path} in the container"), errno)),
    }
    Ok(())
}

fn no_place(path: &str) -> Error {
    Error::NoPlace { what: path.to_owned(), why: "its directory cannot be made in the container's /dev" }
}

/// Whether the node is there already: `--privileged`, or the user's own `--device`.
fn is_there(directory: &Directory, name: &str, source: &NodeSource) -> Result<bool, Error> {
    let node = &source.device.node;
    let failed = |errno| Error::system(format!("look at {} in the container", node.path), errno);
    let fd = match openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.map_err(failed)?,
    };
    if is_device(&fstat(&fd).map_err(failed)?, node.major, node.minor) {
        Ok(true)
    } else {
        Err(Error::Occupied { path: node.path.clone(), major: node.major, minor: node.minor })
    }
}

fn create(rootfs: &Rootfs, directory: &Directory, name: &str, source: &NodeSource) -> Result<(), Error> {
    let node = &source.device.node;
    if let Some(closed) = directory.closed {
        return Err(Error::NoPlace { what: node.path.clone(), why: closed.why() });
    }
    let failed = |errno| Error::system(format!("create {} in the container", node.path), errno);
    if let Some(mount) = &source.mount {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(directory, name, flags, Mode::empty()).map_err(failed)?;
        rootfs.record(|journal| journal.file(directory.share(), name));
        mount::attach(mount, directory, name).map_err(failed)?;
        rootfs.record(|journal| journal.mounted(Rc::clone(mount)));
        return Ok(());
    }
    let (mode, owner) = (source.stat.st_mode & 0o777, (source.stat.st_uid, source.stat.st_gid));
    node::make(directory, name, (node.major, node.minor), mode, owner).map_err(failed)?;
    rootfs.record(|journal| journal.file(directory.share(), name));
    Ok(())
}
