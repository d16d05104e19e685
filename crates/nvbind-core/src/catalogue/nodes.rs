//! The device nodes.

use crate::capability::Capabilities;
use crate::capability::Capability::{Compute, Display, Graphics, Video};

/// A device node that serves every GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlNode {
    /// Path on the host and in the container.
    pub path: &'static str,
    /// Names of its driver in `/proc/devices`; the first that is there gives the major number.
    pub drivers: &'static [&'static str],
    /// The minor number that the driver gives it.
    pub minor: u32,
    /// Who needs it: one of these being asked for is enough.
    pub capabilities: Capabilities,
    /// Whether a request that needs it fails where its kernel module is not loaded.
    pub required: bool,
    /// What makes [`MODPROBE`] make it: with `-u` it makes both nodes of unified memory, and without it `-c 255` is
    /// `/dev/nvidiactl` (nvidia-modprobe.c and nvidia-modprobe-utils.h of its source).
    pub modprobe: &'static [&'static str],
}

/// `nvidia` from driver 550.40 on, `nvidia-frontend` before.
pub const GPU_DRIVERS: &[&str] = &["nvidia", "nvidia-frontend"];

/// The nodes beside `/dev/nvidiaN`.
pub const CONTROL_NODES: &[ControlNode] = &[
    ControlNode {
        path: "/dev/nvidiactl",
        drivers: GPU_DRIVERS,
        minor: 255,
        capabilities: Capabilities::ALL,
        required: true,
        modprobe: &["-c", "255"],
    },
    ControlNode {
        path: "/dev/nvidia-uvm",
        drivers: &["nvidia-uvm"],
        minor: 0,
        capabilities: Capabilities::of(&[Compute, Video]),
        required: true,
        modprobe: MODPROBE_LOAD,
    },
    ControlNode {
        path: "/dev/nvidia-uvm-tools",
        drivers: &["nvidia-uvm"],
        minor: 1,
        capabilities: Capabilities::of(&[Compute, Video]),
        required: true,
        modprobe: MODPROBE_LOAD,
    },
    ControlNode {
        path: "/dev/nvidia-modeset",
        // Before 550.40 the one registered name is the frontend's, which hands its minor 254 on to this module.
        drivers: &["nvidia-modeset", "nvidia-frontend"],
        minor: 254,
        capabilities: Capabilities::of(&[Graphics, Display]),
        required: false,
        modprobe: &["-m"],
    },
];

/// The driver's own program that loads kernel modules and makes device nodes, set-user-id where it is packaged so
/// (nvidia-modprobe(1)).
pub const MODPROBE: &str = "/usr/bin/nvidia-modprobe";

/// What it is told to load the module of unified memory, and with it the driver's.
pub const MODPROBE_LOAD: &[&str] = &["-u", "-c", "0"];

/// Who needs a GPU's DRM nodes.
pub const DRM_CAPABILITIES: Capabilities = Capabilities::of(&[Graphics, Display]);

/// The major number of DRM nodes (Linux, `include/drm/drm_file.h`, `DRM_MAJOR`).
pub const DRM_MAJOR: u32 = 226;
