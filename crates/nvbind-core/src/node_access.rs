//! Whether somebody can use a device node by its permission bits: one rule for the hook, for the pre-flight of `nvbind run`
//! and for `nvbind doctor`.

/// The directories of nodes that stand for a right to use something: a part of a GPU, an IMEX channel.
const RIGHTS: &[&str] = &["/dev/nvidia-caps/", "/dev/nvidia-caps-imex-channels/"];

/// How everybody gets access to this node. The driver's own have no events that a rule of udev could match, unlike those of
/// DRM: their permissions are the module's parameters.
#[must_use]
pub fn for_everybody(path: &str) -> &'static str {
    if path.contains("/dri/") {
        "have root give everybody access by a udev rule: SUBSYSTEM==\"drm\", KERNEL==\"renderD*\", MODE=\"0666\""
    } else {
        "have root give everybody access: `nvbind setup --device-mode 0666`"
    }
}

const READ: u32 = 0o4;
const READ_AND_WRITE: u32 = 0o6;

/// What a process has to be allowed to do with a node.
///
/// Programs open a node for reading and writing: NVIDIA's module has its own made with mode 0666 (`__NV_DEVICE_FILE_MODE`,
/// nv-reg.h of open-gpu-kernel-modules). Those that stand for a right are opened for reading alone: the access file of a MIG
/// instance says `DeviceFileMode: 292`, 0444, and of a descriptor for one the module asks only whose it is and its minor
/// number (`nv_cap_validate_and_dup_fd`, nv-caps.c; `nv_caps_imex_channel_get`, nv-caps-imex.c).
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

    /// What a node with these permission bits gives to somebody who is its owner or not, and in its group or not.
    pub fn access(self, mode: u32, is_owner: bool, is_in_group: impl FnOnce() -> bool) -> Access {
        let has = |shift: u32| (mode >> shift) & self.0 == self.0;
        if has(0) || (is_owner && has(6)) {
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
            let seen = [false, true].map(|is_owner| needed.access(mode, is_owner, || false));
            assert_eq!(seen, [others, owner], "{path} {mode:o}");
        }
        assert_eq!(Needed::of(GPU).access(0o660, false, || true), Access::ByGroup);
        assert_eq!(Needed::of(GPU).access(0o640, false, || true), OwnersAlone);
    }
}
