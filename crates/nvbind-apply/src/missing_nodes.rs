//! Device nodes that the host does not have yet, as on a server where nothing has used the driver since it was loaded:
//! the driver's kernel modules leave them to user space. They are made as `nvidia-modprobe` makes them.

use crate::error::Error;
use crate::node;
use nvbind_core::host::Host;
use nvbind_core::inventory::{DeviceNode, Nodes};
use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

/// Makes a node of the host, and its directory below `/dev`. Another container's hook may do the same at the same time.
pub(crate) fn make_missing(node: &DeviceNode, host: &Host, nodes: Nodes) -> Result<(), Error> {
    let path = host.dev.display(&node.path);
    let failed = |errno: Errno| Error::system(format!("make the device node {path}"), errno);
    let open = |path: &str| {
        let directory = host.dev.directory(path);
        directory.map_err(|error| Error::Source { path: host.dev.display(path), source: error.into() })
    };
    let (parent, name) = node.path.rsplit_once('/').unwrap_or(("/dev", &node.path));
    if let Some((above, directory)) = parent.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        allow_existing(mkdirat(open(above)?, directory, Mode::from_raw_mode(0o755))).map_err(failed)?;
    }
    let directory = open(parent)?;
    let (mode, owner) = (nodes.mode, (nodes.uid, nodes.gid));
    match node::make_whole(&directory, name, (node.major, node.minor), mode, owner) {
        Err(Errno::EXIST) => return Ok(()),
        made => made.map_err(failed)?,
    }
    log::info!("made the device node {path}");
    Ok(())
}

fn allow_existing(made: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if made == Err(Errno::EXIST) { Ok(()) } else { made }
}
