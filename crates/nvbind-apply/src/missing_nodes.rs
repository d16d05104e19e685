//! Device nodes that the host does not have yet, as on a server where nothing has used the driver since it was loaded: the
//! driver's kernel modules leave them to user space. They are made as `nvidia-modprobe` makes them.

use crate::error::Error;
use nvbind_core::host::Host;
use nvbind_core::inventory::{DeviceNode, Nodes};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chownat, makedev, mkdirat, mknodat};
use rustix::io::Errno;

/// Makes a node of the host, and its directory below `/dev`. Another container's hook may do the same at the same time.
pub(crate) fn make(node: &DeviceNode, host: &Host, nodes: Nodes) -> Result<(), Error> {
    let path = host.dev.display(&node.path);
    let failed = |errno: Errno| Error::system(format!("make the device node {path}"), errno);
    let open = |path: &str| {
        let directory = host.dev.directory(path);
        directory.map_err(|error| Error::Source { path: host.dev.display(path), source: error.into() })
    };
    let (parent, name) = node.path.rsplit_once('/').unwrap_or(("/dev", &node.path));
    if let Some((above, directory)) = parent.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        existing(mkdirat(open(above)?, directory, Mode::from_raw_mode(0o755))).map_err(failed)?;
    }
    let directory = open(parent)?;
    // The permissions exactly, whatever the umask.
    let umask = rustix::process::umask(Mode::empty());
    let number = makedev(node.major, node.minor);
    let made = mknodat(&directory, name, FileType::CharacterDevice, Mode::from_raw_mode(nodes.mode), number);
    rustix::process::umask(umask);
    if made == Err(Errno::EXIST) {
        return Ok(());
    }
    made.map_err(failed)?;
    let (uid, gid) = (Uid::from_raw(nodes.uid), Gid::from_raw(nodes.gid));
    chownat(&directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    log::info!("made the device node {path}");
    Ok(())
}

fn existing(made: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if made == Err(Errno::EXIST) { Ok(()) } else { made }
}
