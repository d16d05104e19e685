//! The container's root filesystem: the only way in which a name inside the container is resolved, and the rule of
//! where something may be created.
//!
//! Directories are resolved by the kernel inside the root (openat2(2)), each once; everything in them is reached by
//! descriptor.
//! Something is created only on the root filesystem's own mount, and only if that is the container's (an overlay that
//! goes with it), or on a tmpfs that the runtime made for this container. Never through a volume to the host.

use crate::error::Error;
use crate::journal::Journal;
use crate::mount;
use crate::mountinfo::{self, Mount};
use nvbind_core::host::open_inside;
use nvbind_core::oci::Config;
use rustix::fs::{
    self, AtFlags, Dir, FileType, Mode, OFlags, StatVfsMountFlags, StatxFlags, fstat, mkdirat, openat,
    readlinkat, statat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

/// A container's root filesystem.
#[derive(Debug)]
pub(crate) struct Rootfs {
    root: OwnedFd,
    mount: u64,
    /// Why nothing may be created on it, if so.
    closed: Option<Closed>,
    /// The mounts of the container's own tmpfs.
    own: BTreeSet<u64>,
    /// Whether one of them is a view: another of nvbind's hooks has served the container.
    pub(crate) is_served: bool,
    journal: RefCell<Journal>,
}

/// The devices of the tmpfs that are mounted outside the container: what is mounted in it of one of these is a volume.
#[derive(Debug)]
pub(crate) struct HostTmpfs(BTreeSet<String>);

impl HostTmpfs {
    /// Those of this process's namespace, before the container's is joined; where that has happened already, what is
    /// mounted below the container's root filesystem is left out.
    pub(crate) fn read(root: &Path) -> Result<HostTmpfs, Error> {
        // As mountinfo has it. Who cannot look it up is not in the container's namespace, and nothing is to be left
        // out.
        let root = root.canonicalize().unwrap_or_else(|_error| root.to_owned());
        let text = read_mountinfo()?;
        let is_outside =
            |mount: &Mount<'_>| mount.kind == "tmpfs" && !Path::new(&*mount.point).starts_with(&root);
        let outside = mountinfo::mounts(&text).filter(is_outside);
        Ok(HostTmpfs(outside.map(|mount| mount.device.to_owned()).collect()))
    }

    /// The mounts of a tmpfs that the runtime made for this container: of one that nobody outside has. By what they
    /// are, and not by the places that config.json names: a link of the image can lead one of these to a volume.
    fn find_own<'t>(&self, text: &'t str) -> Vec<Mount<'t>> {
        let is_own = |mount: &Mount<'_>| mount.kind == "tmpfs" && !self.0.contains(mount.device);
        mountinfo::mounts(text).filter(is_own).collect()
    }
}

/// Why nothing may be created in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The root filesystem cannot be written to.
    ReadOnly,
    /// The root filesystem is a directory that the user gave.
    Outlives,
    /// Another mount of the host lies over the place.
    Volume,
}

impl Closed {
    /// The reason in words.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Closed::ReadOnly => "the root filesystem is read-only",
            Closed::Outlives => "the root filesystem is a directory of the host that outlives the container",
            Closed::Volume => "a volume or another mount of the host lies there",
        }
    }
}

/// Whether a directory that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Made, where that is allowed.
    Create,
    /// Left missing.
    Leave,
}

/// A directory of the container.
#[derive(Debug)]
pub(crate) struct Directory {
    /// As it was asked for.
    path: String,
    fd: Rc<OwnedFd>,
    mount: u64,
    /// Why nothing may be created in it, if so.
    pub(crate) closed: Option<Closed>,
    /// Whether it was made for this start.
    pub(crate) is_new: bool,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// The path of what is in it, for messages.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Its descriptor, to be kept: all that was created in it is taken back by the same.
    pub(crate) fn share(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.fd)
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        is_empty(&self.fd).map_err(|errno| Error::system("read a directory of the container", errno))
    }

    /// As [`read_names`].
    pub(crate) fn read_names(&self, limit: usize) -> rustix::io::Result<Option<Vec<String>>> {
        read_names(&self.fd, limit)
    }

    /// A regular file in it, to be read; none where something else stands, which is not opened: to open a device node
    /// of the image is to use that device of the host.
    pub(crate) fn open_file(&self, name: &str) -> rustix::io::Result<Option<File>> {
        let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
        if !is_file(statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty())?;
        Ok(is_file(fstat(&fd)?.st_mode).then(|| fd.into()))
    }
}

impl Rootfs {
    /// Opens the root filesystem at `path`; `bundle` tells Podman's storage from a directory of the user's.
    pub(crate) fn open(
        path: &Path,
        bundle: &Path,
        config: &Config,
        host_tmpfs: &HostTmpfs,
    ) -> Result<Rootfs, Error> {
        let refuse = |why| Error::Rootfs { path: path.to_path_buf(), why };
        if !path.is_absolute() {
            return Err(refuse("it is not an absolute path"));
        }
        let failed = |errno: Errno| Error::NoRootfs { path: path.to_path_buf(), source: errno.into() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let host = fs::open("/", flags, Mode::empty()).map_err(failed)?;
        let (ours, theirs) = (fstat(&fd).map_err(failed)?, fstat(&host).map_err(failed)?);
        if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
            return Err(refuse("it is the host's own"));
        }
        let mount = mount_id(&fd).map_err(failed)?;
        let text = read_mountinfo()?;
        let closed = find_root_closed(&fd, path, bundle, mountinfo::find(&text, mount)).map_err(|error| {
            Error::system(format!("look at the root filesystem {}", path.display()), error)
        })?;
        if config.shares_mounts() {
            // Podman has the runtime share the whole tree when one volume is to be shared: without this the view would
            // appear on the host as well.
            mount::set_attributes(&fd, MountAttrFlags::empty()).map_err(failed)?;
        }
        let own = host_tmpfs.find_own(&text);
        let is_served = own.iter().any(|mount| mount.source == mount::VIEW_SOURCE);
        let own = own.iter().map(|mount| mount.id).collect();
        Ok(Rootfs { root: fd, mount, closed, own, is_served, journal: RefCell::default() })
    }

    /// What was created so far, to be completed by those who create.
    pub(crate) fn record(&self, entry: impl FnOnce(&mut Journal)) {
        entry(&mut self.journal.borrow_mut());
    }

    /// Takes back what was created.
    pub(crate) fn undo(self) {
        self.journal.into_inner().undo();
    }

    /// A directory of the container, links followed inside it; none where there is none, or where it would have to
    /// be made where nothing may be.
    pub(crate) fn open_directory(&self, path: &str, missing: Missing) -> Result<Option<Directory>, Error> {
        let failed = |errno: Errno| Error::system(format!("look up {path} in the container"), errno);
        match open_inside(&self.root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => {
                let mount = mount_id(&fd).map_err(failed)?;
                let (path, closed) = (path.to_owned(), self.find_closed(mount));
                Ok(Some(Directory { path, fd: fd.into(), mount, closed, is_new: false }))
            }
            Err(Errno::NOENT) => self.make_directory(path, missing),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn make_directory(&self, path: &str, missing: Missing) -> Result<Option<Directory>, Error> {
        let Some((parent_path, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty()) else {
            return Ok(None);
        };
        let parent_path = if parent_path.is_empty() { "/" } else { parent_path };
        let Some(parent) = self.open_directory(parent_path, missing)? else { return Ok(None) };
        match readlinkat(&parent, name, Vec::new()) {
            Ok(target) => {
                let target = target.to_string_lossy().into_owned();
                let depth = parent_path.split('/').filter(|part| !part.is_empty()).count();
                return if leaves(&target, depth) {
                    Err(Error::Escape { path: path.to_owned(), target })
                } else {
                    Ok(None)
                };
            }
            // Nothing, or no link.
            Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(Error::system(format!("look up {path} in the container"), errno)),
        }
        if missing == Missing::Leave || parent.closed.is_some() {
            return Ok(None);
        }
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.record(|journal| journal.directory(parent.share(), name)),
            Err(Errno::ROFS | Errno::EXIST) => return Ok(None),
            Err(errno) => return Err(Error::system(format!("create {path} in the container"), errno)),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&parent, name, flags, Mode::empty())
            .map_err(|errno| Error::system(format!("open {path} in the container"), errno))?;
        Ok(Some(Directory {
            path: path.to_owned(),
            fd: fd.into(),
            mount: parent.mount,
            closed: None,
            is_new: true,
        }))
    }

    /// Why a file may not be replaced: as its directory, and where something is mounted on the file itself.
    pub(crate) fn find_closed_file(
        &self,
        directory: &Directory,
        name: &str,
    ) -> Result<Option<Closed>, Error> {
        match mount_of(directory, name) {
            Ok(mount) if mount != directory.mount => Ok(Some(Closed::Volume)),
            Ok(_) | Err(Errno::NOENT) => Ok(directory.closed),
            Err(errno) => Err(Error::system(format!("look at {name} in the container"), errno)),
        }
    }

    /// Attaches a file's mount over the file `name`. Not where a volume's mount is shared with the host: ours would
    /// appear there, and stay. Returns whether it did.
    pub(crate) fn cover(&self, file: OwnedFd, directory: &Directory, name: &str) -> Result<bool, Error> {
        let may_cover = self.may_cover(mount_of(directory, name), name, Kernels::Left)?;
        if may_cover {
            self.attach(file, directory, name, name)?;
        }
        Ok(may_cover)
    }

    /// Attaches a mount over what is open, under the same rule; `path` is where that was found.
    pub(crate) fn cover_open(&self, mount: OwnedFd, target: impl AsFd, path: &str) -> Result<bool, Error> {
        self.cover_target(mount, target, path, Kernels::Left)
    }

    /// The same for a directory of the container's procfs.
    pub(crate) fn cover_proc(&self, mount: OwnedFd, target: impl AsFd, path: &str) -> Result<bool, Error> {
        self.cover_target(mount, target, path, Kernels::Covered)
    }

    fn cover_target(
        &self,
        mount: OwnedFd,
        target: impl AsFd,
        path: &str,
        kernels: Kernels,
    ) -> Result<bool, Error> {
        let may_cover = self.may_cover(mount_id(&target), path, kernels)?;
        if may_cover {
            self.attach(mount, target, "", path)?;
        }
        Ok(may_cover)
    }

    fn attach(&self, mount: OwnedFd, directory: impl AsFd, name: &str, path: &str) -> Result<(), Error> {
        mount::attach(&mount, directory, name).map_err(|errno| cannot_cover(path, errno))?;
        self.record(|journal| journal.mounted(mount.into()));
        Ok(())
    }

    /// Whether what is open is a file of the root filesystem or a volume, and none by which the kernel shows itself.
    pub(crate) fn is_ordinary(&self, file: impl AsFd) -> Result<bool, Error> {
        let failed = |error| Error::system("tell a file of the container from the kernel's", error);
        let mount = mount_id(file).map_err(|errno| failed(io::Error::from(errno)))?;
        if mount == self.mount {
            return Ok(true);
        }
        let text = mountinfo::read().map_err(failed)?;
        Ok(mountinfo::find(&text, mount).is_some_and(|mount| !is_kernels(&mount)))
    }

    /// Whether a mount may be attached over what is on the mount `below`; `what` that is, for messages.
    fn may_cover(&self, below: rustix::io::Result<u64>, what: &str, kernels: Kernels) -> Result<bool, Error> {
        let below = below.map_err(|errno| cannot_cover(what, errno))?;
        if below == self.mount {
            return Ok(true);
        }
        let text = mountinfo::read().map_err(|error| cannot_cover(what, error))?;
        let why = match mountinfo::find(&text, below) {
            Some(mount) if kernels == Kernels::Left && is_kernels(&mount) => "it is a file of the kernel's",
            Some(mount) if mount.is_shared => "its volume's mounts are shared with the host",
            Some(_) => return Ok(true),
            None => "its mount is not known",
        };
        log::warn!("{what} in the container is left as it is: {why}");
        Ok(false)
    }

    /// Why nothing may be created in a directory on that mount.
    fn find_closed(&self, mount: u64) -> Option<Closed> {
        if mount == self.mount {
            return self.closed;
        }
        if self.own.contains(&mount) { None } else { Some(Closed::Volume) }
    }

    /// Whether anything stands at a path of the container.
    pub(crate) fn has(&self, path: &str) -> Result<bool, Error> {
        Ok(self.find(path)?.is_some())
    }

    /// Whether a path of the container is a directory of the root filesystem's own with something in it.
    pub(crate) fn has_files(&self, path: &str) -> Result<bool, Error> {
        let failed = |errno: Errno| Error::system(format!("look at {path} in the container"), errno);
        let Some(fd) = self.find(path)? else { return Ok(false) };
        let is_directory =
            FileType::from_raw_mode(fstat(&fd).map_err(failed)?.st_mode) == FileType::Directory;
        Ok(is_directory && mount_id(&fd).map_err(failed)? == self.mount && !is_empty(&fd).map_err(failed)?)
    }

    /// What stands at a path, links followed inside the root, to ask about it: nothing is opened for use. None where
    /// nothing does, and where the image's links lead nowhere.
    pub(crate) fn find(&self, path: &str) -> Result<Option<OwnedFd>, Error> {
        match open_inside(&self.root, path, OFlags::PATH) {
            Ok(found) => Ok(Some(found)),
            // The last two: a name that no file can have.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Error::system(format!("look at {path} in the container"), errno)),
        }
    }
}

/// What becomes of files by which the kernel shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernels {
    Left,
    Covered,
}

fn cannot_cover(what: &str, error: impl Into<io::Error>) -> Error {
    Error::system(format!("bind over {what} in the container"), error)
}

fn read_mountinfo() -> Result<String, Error> {
    mountinfo::read().map_err(|error| Error::system(format!("read {}", mountinfo::PATH), error))
}

/// The names in a directory, without `.` and `..` and those that are not UTF-8; none where there are more than `limit`.
pub(crate) fn read_names(directory: &OwnedFd, limit: usize) -> rustix::io::Result<Option<Vec<String>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for (count, entry) in Dir::new(openat(directory, ".", flags, Mode::empty())?)?.enumerate() {
        if count >= limit {
            return Ok(None);
        }
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(Some(names))
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(directory, ".", flags, Mode::empty())?)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a relative link in a directory that deep, or an absolute one, is written to lead out of the root. Both are
/// resolved inside it, so this is asked only where that leads nowhere.
fn leaves(target: &str, depth: usize) -> bool {
    let mut level = depth;
    for part in target.split('/') {
        match part {
            ".." if level == 0 => return true,
            ".." => level = level.saturating_sub(1),
            "" | "." => {}
            _name => level = level.saturating_add(1),
        }
    }
    target.starts_with('/')
}

/// Why a root filesystem outlives the container, or cannot be changed: a directory given by `--rootfs` is the user's,
/// and what a step of a build leaves in its own lands in an image.
fn find_root_closed(
    fd: &OwnedFd,
    path: &Path,
    bundle: &Path,
    mount: Option<Mount<'_>>,
) -> io::Result<Option<Closed>> {
    if fs::fstatvfs(fd)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(Some(Closed::ReadOnly));
    }
    let is_containers = is_in_storage(path, bundle) || mount.is_some_and(|mount| is_whole_overlay(&mount));
    Ok(if is_an_engines(bundle) && is_containers { None } else { Some(Closed::Outlives) })
}

/// Whether the bundle is where Podman and CRI-O, or containerd and with it Docker, keep those of containers. That of a
/// step of a build is elsewhere: `buildah…` in the directory for temporary files (`run_linux.go` of buildah), or below
/// `buildkit/executor` (`executor/runcexecutor` of BuildKit).
fn is_an_engines(bundle: &Path) -> bool {
    let tasks = bundle.ancestors().nth(2).and_then(Path::file_name);
    bundle.ends_with("userdata") || CONTAINERD.iter().any(|name| tasks == Some(OsStr::new(name)))
}

/// The directories in which containerd's shims keep bundles, by namespace and container (the plugins' ids in
/// `core/runtime/v2` and, before containerd 2, `runtime/v1`).
const CONTAINERD: [&str; 2] = ["io.containerd.runtime.v2.task", "io.containerd.runtime.v1.linux"];

/// Whether Podman's storage driver keeps it: the bundle is `STORAGE/DRIVER-containers/ID/userdata`, and the root
/// filesystem below `STORAGE/DRIVER`. Beside that are volumes, which outlive the container.
fn is_in_storage(path: &Path, bundle: &Path) -> bool {
    let Some(containers) = bundle.ancestors().nth(2) else { return false };
    let name = containers.file_name().and_then(|name| name.to_str());
    let driver = name.and_then(|name| name.strip_suffix("-containers"));
    driver.is_some_and(|driver| path.starts_with(containers.with_file_name(driver)))
}

/// Whether the mount shows an overlay from its own root. Podman mounts a container's overlay elsewhere when the
/// container's user may not search the storage; a directory of the user's on a host whose own root is an overlay is one
/// below its root.
fn is_whole_overlay(mount: &Mount<'_>) -> bool {
    mount.root == "/" && ["overlay", "fuse.fuse-overlayfs"].contains(&mount.kind)
}

/// File systems by which the kernel shows itself. To read from one can consume what is there, and what covers one of
/// its files changes what the container's programs see of the machine: a link of the image must not lead there.
const KERNELS: [&str; 21] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

fn is_kernels(mount: &Mount<'_>) -> bool {
    KERNELS.contains(&mount.kind)
}

/// The mount of what stands at a name, which is not followed.
fn mount_of(directory: &Directory, name: &str) -> rustix::io::Result<u64> {
    Ok(fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// The mount of what is open.
pub(crate) fn mount_id(fd: impl AsFd) -> rustix::io::Result<u64> {
    Ok(fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_own_root_filesystem_is_told_from_a_directory_of_the_user() {
        let bundle = Path::new("/var/lib/containers/storage/overlay-containers/ab/userdata");
        assert!(is_in_storage(Path::new("/var/lib/containers/storage/overlay/cd/merged"), bundle));
        assert!(!is_in_storage(Path::new("/var/lib/containers/storage/volumes/v/_data"), bundle));
        assert!(!is_in_storage(Path::new("/home/me/rootfs"), bundle));
        assert!(!is_in_storage(Path::new("/home/me/rootfs"), Path::new("/a/b/userdata")));
    }

    #[test]
    fn a_bundle_of_a_container_is_told_from_one_of_a_build() {
        for (bundle, expected) in [
            ("/var/lib/containers/storage/overlay-containers/ab/userdata", true),
            ("/run/containerd/io.containerd.runtime.v2.task/moby/ab", true),
            ("/run/user/1000/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/ab", true),
            ("/run/containerd/io.containerd.runtime.v1.linux/k8s.io/ab", true),
            ("/var/lib/docker/buildkit/executor/ab", false),
            ("/var/tmp/buildah123", false),
        ] {
            assert_eq!(is_an_engines(Path::new(bundle)), expected, "{bundle}");
        }
        let mountinfo = "36 35 98:0 / /merged rw,noatime shared:1 - overlay overlay rw,lowerdir=/l\n\
                         37 35 98:0 /home/me/rootfs /home/me/rootfs rw - overlay overlay rw\n\
                         38 35 0:50 / /m rw - fuse.fuse-overlayfs fuse-overlayfs rw\n\
                         39 35 8:1 / /disk rw - ext4 /dev/sda1 rw\n";
        for (mount, whole) in [(36, true), (37, false), (38, true), (39, false)] {
            let found = mountinfo::find(mountinfo, mount).unwrap();
            assert_eq!(is_whole_overlay(&found), whole, "{mount}");
        }
    }

    #[test]
    fn links_that_are_written_to_leave_are_told_from_those_that_stay() {
        for (target, depth, out) in [
            ("/opt/local", 1, true),
            ("../var/usrlocal", 1, false),
            ("../../etc", 1, true),
            ("a/../../..", 1, true),
            ("a/../..", 1, false),
            ("./a", 0, false),
            ("..", 0, true),
        ] {
            assert_eq!(leaves(target, depth), out, "{target} at {depth}");
        }
    }
}
