//! The file-descriptor based mount calls (Linux 5.2, `mount_setattr` 5.12): no path is resolved twice.

use rustix::io;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Read-only, without set-user-id and devices: every file of the driver in a container.
pub(crate) const FILE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// A bound device node, as Podman's `--device` binds it. Never nodev: opening it would fail with EACCES.
pub(crate) const DEVICE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A directory of the host that the container can write to.
pub(crate) const SHARED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A detached mount of what `file` is, with `attributes`, and private: mounts of the host that are shared keep their
/// peer group in a clone otherwise.
pub(crate) fn clone_detached(file: impl AsFd, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(file, "", flags)?;
    set_attributes(&mount, attributes)?;
    Ok(mount)
}

/// A detached mount of a file in a directory, a link not followed; without attributes, and shared as on the host until
/// [`set_attributes_below`] where it is attached.
pub(crate) fn clone_in(directory: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(directory, name, flags)
}

/// A detached mount of a directory in a directory, with all that is mounted in it.
pub(crate) fn clone_tree_in(directory: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(directory, path, flags)
}

/// What a view is called in the list of mounts.
pub(crate) const VIEW_SOURCE: &str = "nvbind";

/// A detached, empty, writable tmpfs; with an SELinux context where the container has one.
pub(crate) fn tmpfs(context: Option<&str>) -> io::Result<OwnedFd> {
    let filesystem = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&filesystem, "mode", "0755")?;
    fsconfig_set_string(&filesystem, "source", VIEW_SOURCE)?;
    if let Some(context) = context {
        fsconfig_set_string(&filesystem, "context", context)?;
    }
    fsconfig_create(&filesystem)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Attaches a detached mount on `name` in `directory`, which is not followed when it is a link; on the directory
/// itself when `name` is empty.
pub(crate) fn attach(mount: impl AsFd, directory: impl AsFd, name: &str) -> io::Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    move_mount(mount, "", directory, name, flags)
}

/// Adds attributes to a mount and makes it private. Never clears any: flags of a mount that a more privileged
/// namespace made are locked (mount_setattr(2), mount_namespaces(7)).
pub(crate) fn set_attributes(mount: impl AsFd, attributes: MountAttrFlags) -> io::Result<()> {
    mount_setattr(mount, attributes, libc::AT_EMPTY_PATH)
}

/// The same for a mount and all that are mounted below it, in one call.
pub(crate) fn set_attributes_below(mount: impl AsFd, attributes: MountAttrFlags) -> io::Result<()> {
    mount_setattr(mount, attributes, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

#[expect(unsafe_code, reason = "neither rustix nor nix has mount_setattr(2)")]
fn mount_setattr(mount: impl AsFd, attributes: MountAttrFlags, flags: libc::c_int) -> io::Result<()> {
    let mut attr = libc::mount_attr {
        attr_set: attributes.bits().into(),
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let path = c"".as_ptr();
    let size = size_of::<libc::mount_attr>();
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed for the call, the path is a NUL-terminated constant, and the kernel reads
    // `size` bytes of `attr`, which is that structure and lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, path, flags, &raw mut attr, size) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> io::Errno {
    io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(io::Errno::IO)
}
