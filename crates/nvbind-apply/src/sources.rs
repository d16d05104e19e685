//! The host's side of a plan: every file and node is opened, checked and cloned as a detached mount before the
//! container's namespaces are joined. Only then are sources reachable that others cannot search.

use crate::error::Error;
use crate::missing_nodes;
use crate::mount;
use crate::proc;
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};
use nvbind_core::host::{Directory, Host};
use nvbind_core::node_access::{Access, Needed};
use nvbind_core::plan::{Bind, Device, Plan, Shared};
use nvbind_core::trust::is_roots;
use rustix::fs::{FileType, Mode, Stat, fstat, major, minor};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::OwnedFd;

/// A file of the driver, a daemon's socket or a shared directory, ready to be attached.
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
        let mode = stat.st_mode & 0o777;
        match needed.access(mode, is_users, is_in_group) {
            Access::Granted => Ok(()),
            Access::ByGroup if self.keeps_groups => Ok(()),
            Access::ByGroup | Access::OthersGroup => {
                Err(Error::GroupOnly { path: shown(), mode, keeps_groups: self.keeps_groups })
            }
            Access::OwnersAlone => Err(Error::OwnerOnly { path: shown(), mode, needed }),
        }
    }
}

/// All sources of a plan, in its order.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) files: Vec<FileSource>,
    pub(crate) sockets: Vec<FileSource>,
    pub(crate) shared: Vec<FileSource>,
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
        binding: Option<Binding>,
    ) -> Result<Sources, Error> {
        let node = |device| node(device, host, in_user_namespace, binding);
        let nodes = plan.devices.iter().map(node).collect::<Result<_, _>>()?;
        let mut directories = BTreeMap::new();
        let files = plan
            .binds
            .iter()
            .map(|bind| file(bind, host, &mut directories, in_user_namespace))
            .collect::<Result<_, _>>()?;
        let directories = plan.proc.iter().flat_map(|proc| &proc.directories);
        let directories = directories.map(|path| directory(path, host)).collect::<Result<_, _>>()?;
        let sockets =
            plan.sockets.iter().filter_map(|bind| socket(bind, host, in_user_namespace).transpose());
        let shared = plan.shared.iter().map(|directory| shared(directory, host, in_user_namespace));
        Ok(Sources {
            files,
            sockets: sockets.collect::<Result<_, _>>()?,
            shared: shared.collect::<Result<_, _>>()?,
            nodes,
            directories,
        })
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

/// Clones a daemon's socket, no link followed: one in a directory that only root and the daemon can change. None for
/// one that went away: a daemon may stop at any time, and a driver works without.
fn socket(bind: &Bind, host: &Host, in_user_namespace: bool) -> Result<Option<FileSource>, Error> {
    let path = || host.files.display(&bind.host);
    match clone_unlinked(&bind.host, host) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            log::info!("{} went away; the container does without its daemon", path());
            Ok(None)
        }
        Err(source) => Err(Error::Source { path: path(), source }),
        Ok(Cloned { mount, stat, parent }) if is_daemons(&stat, &parent, in_user_namespace) => {
            Ok(Some(FileSource { mount, inside: bind.inside.clone() }))
        }
        Ok(_other) => {
            let what = "a socket in a directory that only root and its owner can change";
            Err(Error::Replaceable { path: path(), what })
        }
    }
}

/// Clones a directory that the container can write to, no link followed: root's, rootless the user's own.
fn shared(directory: &Shared, host: &Host, in_user_namespace: bool) -> Result<FileSource, Error> {
    let path = || host.files.display(directory.host);
    let failed = |source| Error::Source { path: path(), source };
    let cloned = match clone_unlinked(directory.host, host) {
        // The directory above is a link.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => None,
        other => Some(other.map_err(failed)?),
    };
    let is_trusted = |cloned: &Cloned| is_owners(&cloned.stat, &cloned.parent, in_user_namespace);
    let Some(Cloned { mount, .. }) = cloned.filter(is_trusted) else {
        let what = if in_user_namespace {
            "a directory of this user that others cannot replace"
        } else {
            "a directory of root that others cannot replace"
        };
        return Err(Error::Replaceable { path: path(), what });
    };
    mount::set_attributes(&mount, mount::SHARED).map_err(|errno| failed(errno.into()))?;
    Ok(FileSource { mount, inside: directory.inside.to_owned() })
}

/// A clone of something of the host, what it is, and what its directory is.
struct Cloned {
    mount: OwnedFd,
    stat: Stat,
    parent: Stat,
}

fn clone_unlinked(path: &str, host: &Host) -> std::io::Result<Cloned> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = host.files.unlinked_directory(if directory.is_empty() { "/" } else { directory })?;
    let mount = mount::clone_in(&directory, name)?;
    Ok(Cloned { stat: fstat(&mount)?, mount, parent: fstat(&directory)? })
}

/// A socket in a directory that root or the socket's owner owns, and nobody else can write. `/run` above is root's.
fn is_daemons(socket: &Stat, directory: &Stat, in_user_namespace: bool) -> bool {
    FileType::from_raw_mode(socket.st_mode) == FileType::Socket
        && (is_roots(directory.st_uid, in_user_namespace) || directory.st_uid == socket.st_uid)
        && directory.st_mode & 0o022 == 0
}

/// A directory of root's, or of the user whose namespace this is, in a directory of root's where others cannot replace
/// it. The overflow id stands for every user outside a namespace: it is root's for sure only where no other user could
/// have made the directory.
fn is_owners(directory: &Stat, parent: &Stat, in_user_namespace: bool) -> bool {
    let is_open = parent.st_mode & 0o022 != 0;
    let is_sticky = Mode::from_raw_mode(parent.st_mode).contains(Mode::SVTX);
    FileType::from_raw_mode(directory.st_mode) == FileType::Directory
        && is_roots(parent.st_uid, in_user_namespace)
        && (!is_open || is_sticky)
        && (directory.st_uid == 0 || (is_roots(directory.st_uid, in_user_namespace) && !is_open))
}

fn node(
    device: &Device,
    host: &Host,
    in_user_namespace: bool,
    binding: Option<Binding>,
) -> Result<NodeSource, Error> {
    let node = &device.node;
    let path = || host.dev.display(&node.path);
    // Only the host's root can make nodes.
    let making = device.made_as.filter(|nodes| nodes.may_be_made && !in_user_namespace);
    let mut located = host.dev.locate(&node.path);
    if let (Err(error), Some(making)) = (&located, making)
        && error.is_not_found()
    {
        missing_nodes::make(node, host, making)?;
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
    let Some(binding) = binding else { return Ok(NodeSource { mount: None, device: device.clone(), stat }) };
    binding.check(&fd, &stat, &node.path, path)?;
    let mount = Some(mount::clone_detached(&fd, mount::DEVICE).map_err(failed)?);
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

    /// What has this mode and owner.
    fn stat(mode: u32, uid: u32) -> Stat {
        let mut stat = fstat(std::fs::File::open("/").unwrap()).unwrap();
        (stat.st_mode, stat.st_uid) = (mode, uid);
        stat
    }

    #[test]
    fn a_socket_is_in_a_directory_that_only_root_and_its_daemon_can_change() {
        const USER: u32 = 1000;
        for (socket, directory, in_user_namespace, trusted) in [
            (stat(0o140_666, 0), stat(0o040_755, 0), false, true),
            (stat(0o140_666, USER), stat(0o040_755, USER), false, true),
            (stat(0o140_666, USER), stat(0o040_755, 0), false, true),
            (stat(0o140_666, 0), stat(0o040_755, USER), false, false),
            (stat(0o140_666, 0), stat(0o040_775, 0), false, false),
            (stat(0o140_666, 0), stat(0o041_777, 0), false, false),
            (stat(0o100_666, 0), stat(0o040_755, 0), false, false),
            (stat(0o120_777, 0), stat(0o040_755, 0), false, false),
            (stat(0o140_666, USER), stat(0o040_755, OVERFLOW_UID), true, true),
            (stat(0o140_666, USER), stat(0o040_755, OVERFLOW_UID), false, false),
        ] {
            let (mode, owner) = (directory.st_mode, directory.st_uid);
            assert_eq!(is_daemons(&socket, &directory, in_user_namespace), trusted, "{mode:o} {owner}");
        }
    }

    #[test]
    fn a_socket_that_went_away_is_left_out() {
        let machine = tempfile::tempdir().unwrap();
        let host = Host::open(&nvbind_core::settings::Driver::below(machine.path())).unwrap();
        let (host_path, inside) = ("/run/nvidia-persistenced/socket".to_owned(), String::new());
        let bind = Bind { host: host_path, inside, capabilities: nvbind_core::capability::Capabilities::ALL };
        assert!(socket(&bind, &host, false).unwrap().is_none());
        std::fs::create_dir_all(machine.path().join("run/nvidia-persistenced")).unwrap();
        assert!(socket(&bind, &host, false).unwrap().is_none());
    }

    #[test]
    fn a_shared_directory_is_one_that_only_its_owner_could_have_put_there() {
        const USER: u32 = 1000;
        let (tmp, run) = (0o041_777, 0o040_755);
        for (mode, uid, parent, parent_uid, in_user_namespace, trusted) in [
            (0o040_777, 0, tmp, 0, false, true),
            (0o040_755, 0, run, 0, false, true),
            (0o040_755, USER, tmp, 0, false, false),
            (0o120_777, 0, tmp, 0, false, false),
            (0o100_644, 0, tmp, 0, false, false),
            // Others can rename it and put their own there.
            (0o040_755, 0, 0o040_777, 0, false, false),
            (0o040_755, 0, 0o040_775, 0, false, false),
            (0o040_755, 0, tmp, USER, false, false),
            // In a user namespace 0 is the user, and everybody else the overflow id.
            (0o040_755, 0, tmp, OVERFLOW_UID, true, true),
            (0o040_755, OVERFLOW_UID, tmp, OVERFLOW_UID, true, false),
            (0o040_755, OVERFLOW_UID, run, OVERFLOW_UID, true, true),
            (0o040_755, USER, tmp, OVERFLOW_UID, true, false),
        ] {
            let seen = is_owners(&stat(mode, uid), &stat(parent, parent_uid), in_user_namespace);
            assert_eq!(seen, trusted, "{mode:o} {uid} in {parent:o} {parent_uid}");
        }
    }
}
