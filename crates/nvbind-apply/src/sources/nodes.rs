//! Device nodes of the host.

use crate::error::Error;
use crate::missing_nodes::make_missing;
use crate::mount;
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};
use nvbind_core::host::Host;
use nvbind_core::inventory::Nodes;
use nvbind_core::node_access::{Access, Needed};
use nvbind_core::plan::Device;
use rustix::fs::{FileType, Stat, fstat, major, minor};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// A device node, ready to be made or attached.
#[derive(Debug)]
pub(crate) struct NodeSource {
    /// What is attached, where a node cannot be made.
    pub(crate) mount: Option<Rc<OwnedFd>>,
    pub(crate) device: Device,
    /// Permissions and owner on the host.
    pub(crate) stat: Stat,
}

/// Whose the container's processes are, where its nodes are bound and not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Whether its user namespace is below one of an ordinary user's.
    pub(crate) is_rootless: bool,
    /// Whether they keep that user's groups.
    pub(crate) keeps_groups: bool,
}

impl Binding {
    /// Whether they can use the node, else who can: one for root and a group of the host alone is nobody's in a user
    /// namespace, unless it is the user's, or the container keeps that group.
    fn check(
        self,
        fd: &OwnedFd,
        stat: &Stat,
        path: &str,
        shown: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let needed = Needed::of(path);
        // In a user namespace of Podman's, root stands for the user.
        let is_users = self.is_rootless && stat.st_uid == 0;
        let wanted =
            if needed.is_writing() { AccessFlags::R_OK | AccessFlags::W_OK } else { AccessFlags::R_OK };
        // This process has the user's groups. rustix's accessat knows no AT_EMPTY_PATH.
        let is_in_group = || self.is_rootless && faccessat(fd, "", wanted, AtFlags::AT_EMPTY_PATH).is_ok();
        let is_named = || self.is_rootless && needed.names(fd, 0);
        let mode = stat.st_mode & 0o777;
        match needed.access(mode, is_users, is_named, is_in_group) {
            Access::Granted => Ok(()),
            Access::ByGroup if self.keeps_groups => Ok(()),
            Access::ByGroup | Access::OthersGroup => {
                Err(Error::GroupOnly { path: shown(), mode, keeps_groups: self.keeps_groups })
            }
            Access::OwnersAlone => Err(Error::OwnerOnly { path: shown(), mode, needed }),
        }
    }
}

/// Opens and checks a node, and clones it where it is to be bound; none for one that is left out.
pub(super) fn open(
    device: &Device,
    host: &Host,
    in_user_namespace: bool,
    binding: Option<Binding>,
) -> Result<Option<NodeSource>, Error> {
    let node = &device.node;
    let path = || host.dev.display(&node.path);
    // Only the host's root can make nodes.
    let making = device.made_as.filter(|nodes| nodes.may_be_made && !in_user_namespace);
    let mut located = host.dev.locate(&node.path);
    if let (Err(error), Some(making)) = (&located, making)
        && error.is_not_found()
    {
        make_missing(node, host, making)?;
        located = host.dev.locate(&node.path);
    }
    let fd = match located {
        Err(error) if error.is_not_found() => {
            return Err(Error::NoNode { path: path(), remedy: device.remedy });
        }
        other => other.map_err(|error| Error::Source { path: path(), source: error.into() })?,
    };
    let failed = |errno: rustix::io::Errno| Error::Source { path: path(), source: errno.into() };
    let stat = fstat(&fd).map_err(failed)?;
    if !is_device(&stat, node.major, node.minor) {
        let (major, minor, remedy) = (node.major, node.minor, device.remedy);
        return Err(Error::WrongNode { path: path(), major, minor, remedy });
    }
    if let Some(making) = making {
        report_difference(making, &stat, &path());
    }
    let Some(binding) = binding else {
        return Ok(Some(NodeSource { mount: None, device: device.clone(), stat }));
    };
    match binding.check(&fd, &stat, &node.path, path) {
        Err(error) if !device.is_required => {
            log::warn!("the container goes without a node of DRM: {error}");
            return Ok(None);
        }
        checked => checked?,
    }
    let mount = Some(Rc::new(mount::clone_detached(&fd, mount::DEVICE).map_err(failed)?));
    Ok(Some(NodeSource { mount, device: device.clone(), stat }))
}

/// Reports a node that stands there with another owner or mode than the driver's own program would give it, where it is
/// that program's to make: something else made it, and may have been stopped in between.
fn report_difference(Nodes { uid, gid, mode, .. }: Nodes, stat: &Stat, path: &str) {
    let is = (stat.st_uid, stat.st_gid, stat.st_mode & 0o777);
    if is != (uid, gid, mode) {
        let (is_uid, is_gid, is_mode) = is;
        log::info!(
            "{path} is {is_mode:04o} and belongs to {is_uid}:{is_gid}; the driver's module says {mode:04o} and {uid}:{gid}"
        );
    }
}

/// Whether it is that character device.
pub(crate) fn is_device(stat: &Stat, major_number: u32, minor_number: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (major_number, minor_number)
}
