//! Whether somebody can use a device node by its permission bits: one rule for the hook, for the pre-flight of `nvbind
//! run` and for `nvbind doctor`.

use rustix::fs::getxattr;
use std::os::fd::{AsFd, AsRawFd};

/// The directories of nodes that stand for a right to use something: a part of a GPU, an IMEX channel.
const RIGHTS: &[&str] = &["/dev/nvidia-caps/", "/dev/nvidia-caps-imex-channels/"];

/// Whether the permissions of this node are the driver module's parameters, which its tool keeps to: those of GPUs, of
/// the control node and of unified memory (`nvidia-modprobe-utils.c` of nvidia-modprobe). They have no events that a
/// rule of udev could match.
#[must_use]
pub fn has_parameters(path: &str) -> bool {
    let name =
        path.strip_prefix("/dev/nvidia").or_else(|| path.rsplit_once("/dev/nvidia").map(|(_, name)| name));
    name.is_some_and(|name| {
        ["ctl", "-modeset", "-uvm", "-uvm-tools"].contains(&name)
            || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// What helps who is not in the node's group. DRM's are not to be for everybody: who opens a card first controls its
/// displays (drm-uapi, "Primary Nodes, DRM Master and Authentication").
#[must_use]
pub fn other_remedy(path: &str) -> &'static str {
    if has_parameters(path) {
        "have root give everybody access: `nvbind setup --device-mode 0666`"
    } else if path.contains("/dri/") {
        "ask for all capabilities instead, which start without it where they have to"
    } else {
        "have root change its permissions, by a rule of udev where they are to last"
    }
}

/// An access control list as the kernel gives it: a version, then entries of tag, permissions and number, little-endian
/// (linux/posix_acl_xattr.h; the tags are those of linux/posix_acl.h).
const ACL: &str = "system.posix_acl_access";
const ACL_HEADER: usize = 4;
const ACL_ENTRY: usize = 8;
const ACL_USER: u8 = 2;

/// Far more users than sit at a machine.
const ACL_LIMIT: usize = ACL_HEADER + 64 * ACL_ENTRY;

const READ: u32 = 0o4;
const READ_AND_WRITE: u32 = 0o6;

/// What a process has to be allowed to do with a node.
///
/// Programs open a node for reading and writing: NVIDIA's module has its own made with mode 0666
/// (`__NV_DEVICE_FILE_MODE`, nv-reg.h of open-gpu-kernel-modules). Those that stand for a right are opened for reading
/// alone: the access file of a MIG instance says `DeviceFileMode: 292`, 0444, and of a descriptor for one the module
/// asks only whose it is and its minor number (`nv_cap_validate_and_dup_fd`, nv-caps.c; `nv_caps_imex_channel_get`,
/// nv-caps-imex.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed(u32);

/// Who lets somebody use a node, or keeps them from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may use it.
    Granted,
    /// A group of theirs may, which a container loses unless it is told to keep it.
    ByGroup,
    /// A group may that they are not in.
    OthersGroup,
    /// Nobody but its owner may, and root.
    OwnersAlone,
}

impl Needed {
    /// Of the node with this path.
    #[must_use]
    pub fn of(path: &str) -> Needed {
        let is_right = RIGHTS.iter().any(|directory| path.starts_with(directory));
        Needed(if is_right { READ } else { READ_AND_WRITE })
    }

    /// It in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        if self.is_writing() { "read and write" } else { "read" }
    }

    /// Whether writing is needed, too.
    #[must_use]
    pub fn is_writing(self) -> bool {
        self.0 == READ_AND_WRITE
    }

    /// Whether the node's access control list gives it to this user, by the number that this process knows them by: so
    /// the user at a seat gets DRM's nodes (`TAG+="uaccess"`, sd-login(3)).
    #[must_use]
    pub fn names(self, node: impl AsFd, uid: u32) -> bool {
        let path = format!("/proc/self/fd/{}", node.as_fd().as_raw_fd());
        let mut list = [0; ACL_LIMIT];
        // The kernel gives no part of a longer one.
        let Ok(length) = getxattr(path, ACL, &mut list) else { return false };
        let entries = list.get(..length).and_then(|list| list.split_at_checked(ACL_HEADER));
        let Some((_, entries)) = entries else { return false };
        entries.chunks_exact(ACL_ENTRY).any(|entry| match *entry {
            [tag, 0, bits, _, a, b, c, d] => {
                tag == ACL_USER
                    && u32::from_le_bytes([a, b, c, d]) == uid
                    && u32::from(bits) & self.0 == self.0
            }
            _ => false,
        })
    }

    /// What a node with these permission bits gives to somebody who is its owner or not, [named](Needed::names) by its
    /// access control list or not, and in its group or not.
    pub fn access(
        self,
        mode: u32,
        is_owner: bool,
        is_named: impl FnOnce() -> bool,
        is_in_group: impl FnOnce() -> bool,
    ) -> Access {
        let has = |shift: u32| (mode >> shift) & self.0 == self.0;
        // The bits of the group are the most that a list gives.
        if has(0) || (is_owner && has(6)) || (has(3) && is_named()) {
            Access::Granted
        } else if !has(3) {
            Access::OwnersAlone
        } else if is_in_group() {
            Access::ByGroup
        } else {
            Access::OthersGroup
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_and_written_and_rights_are_read() {
        use Access::{Granted, OthersGroup, OwnersAlone};
        const GPU: &str = "/dev/nvidia0";
        const RIGHT: &str = "/dev/nvidia-caps/nvidia-cap12";
        for (path, mode, others, owner) in [
            (GPU, 0o20666, Granted, Granted),
            (GPU, 0o20664, OthersGroup, Granted),
            (GPU, 0o20644, OwnersAlone, Granted),
            (GPU, 0o20662, OthersGroup, Granted),
            (GPU, 0o20446, Granted, Granted),
            (GPU, 0o20000, OwnersAlone, OwnersAlone),
            ("/dev/nvidia-uvm", 0o444, OwnersAlone, OwnersAlone),
            ("/dev/dxg", 0o644, OwnersAlone, Granted),
            ("/dev/dri/renderD128", 0o660, OthersGroup, Granted),
            (RIGHT, 0o20444, Granted, Granted),
            (RIGHT, 0o20440, OthersGroup, Granted),
            (RIGHT, 0o20400, OwnersAlone, Granted),
            ("/dev/nvidia-caps-imex-channels/channel0", 0o644, Granted, Granted),
        ] {
            let needed = Needed::of(path);
            let seen = [false, true].map(|is_owner| needed.access(mode, is_owner, || false, || false));
            assert_eq!(seen, [others, owner], "{path} {mode:o}");
        }
        assert_eq!(Needed::of(GPU).access(0o660, false, || false, || true), Access::ByGroup);
        assert_eq!(Needed::of(GPU).access(0o640, false, || false, || true), OwnersAlone);
    }

    #[test]
    fn only_the_drivers_own_nodes_have_the_permissions_of_its_parameters() {
        for (path, expected) in [
            ("/dev/nvidia0", true),
            ("/opt/driver/dev/nvidia12", true),
            ("/dev/nvidiactl", true),
            ("/dev/nvidia-uvm-tools", true),
            ("/dev/nvidia-caps/nvidia-cap12", false),
            ("/dev/nvidia-nvswitch0", false),
            ("/dev/dri/card0", false),
            ("/dev/dxg", false),
        ] {
            assert_eq!(has_parameters(path), expected, "{path}");
            assert_eq!(other_remedy(path).contains("--device-mode"), expected, "{path}");
        }
    }

    #[test]
    fn a_list_names_users_within_the_bits_of_the_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entry = |tag: u8, bits: u8, id: u32| [&[tag, 0, bits, 0], &id.to_le_bytes()[..]].concat();
        let nobody = u32::MAX;
        let set = |mask: u8| {
            let entries = [
                entry(1, 6, nobody),
                entry(ACL_USER, 6, 1000),
                entry(ACL_USER, 4, 1001),
                entry(4, 0, nobody),
                entry(8, 6, 1002),
                entry(0x10, mask, nobody),
                entry(0x20, 0, nobody),
            ];
            let list = [&2u32.to_le_bytes()[..], &entries.concat()].concat();
            rustix::fs::setxattr(file.path(), ACL, &list, rustix::fs::XattrFlags::empty()).unwrap();
            rustix::fs::stat(file.path()).unwrap().st_mode
        };
        let (gpu, right) = (Needed::of("/dev/nvidia0"), Needed::of("/dev/nvidia-caps/nvidia-cap1"));
        let mode = set(6);
        assert_eq!(mode & 0o777, 0o660);
        for (uid, expected) in
            [(1000, [true, true]), (1001, [false, true]), (1002, [false; 2]), (0, [false; 2])]
        {
            assert_eq!([gpu, right].map(|needed| needed.names(&file, uid)), expected, "{uid}");
        }
        let access = |mode, uid| gpu.access(mode, false, || gpu.names(&file, uid), || false);
        assert_eq!((access(mode, 1000), access(mode, 1001)), (Access::Granted, Access::OthersGroup));
        assert_eq!(access(set(4), 1000), Access::OwnersAlone);
        rustix::fs::removexattr(file.path(), ACL).unwrap();
        assert!(!gpu.names(&file, 1000));
    }
}
