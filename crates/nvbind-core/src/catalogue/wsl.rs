//! What WSL2 mounts into every Linux of a Windows host: the driver of Windows, seen through one node.
//!
//! Sources: the mounts and files of WSL2 as `mount` and NVIDIA's container toolkit list them (`/usr/lib/wsl/lib`, an
//! overlay; `/usr/lib/wsl/drivers`, Windows' driver store by 9p with `fmask=222,dmask=222`); Microsoft's dxgkrnl
//! (`dxg`).

use super::libraries::{Family, Versioning};
use crate::capability::Capabilities;
use crate::capability::Capability::{self, Compute, Graphics, Utility, Video};

/// The node for all GPUs, a miscellaneous device.
pub const WSL_NODE: &str = "/dev/dxg";

/// The node's name in `/proc/misc`.
pub const WSL_MISC: &str = "dxg";

/// Where the libraries and nvidia-smi are.
pub const WSL_LIBRARY_DIRECTORY: &str = "/usr/lib/wsl/lib";

/// The library without which it is not NVIDIA's GPU.
pub const WSL_MAIN: &str = "/usr/lib/wsl/lib/libcuda.so.1";

/// The driver store: a directory for each driver of Windows. libdxcore opens what is in NVIDIA's by these paths.
pub const WSL_STORE: &str = "/usr/lib/wsl/drivers";

/// How a directory of NVIDIA's in the store begins, what its name has, and a file that only a display driver has there.
pub const WSL_STORE_DIRECTORY: (&str, &str, &str) = ("nv", ".inf_", "libcuda.so.1.1");

/// Whether a file of the store is for Linux.
#[must_use]
pub fn is_store_file(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.") || name.ends_with(".bin")
}

const fn library(stem: &'static str, capabilities: &[Capability]) -> Family {
    let capabilities = Capabilities::of(capabilities);
    Family { stem, versioning: Versioning::Own, capabilities, links: &[], plugin: None }
}

/// The libraries. Every name of one is a file there, not a link.
pub const WSL_LIBRARIES: &[Family] = &[
    // The way to the node, for all others.
    library("libdxcore", &[Compute, Utility, Graphics, Video]),
    library("libcuda", &[Compute, Video]),
    library("libnvdxdlkernels", &[Compute, Graphics]),
    library("libnvidia-ml", &[Utility]),
    library("libnvcuvid", &[Video]),
    library("libnvidia-encode", &[Video]),
    library("libnvidia-opticalflow", &[Video]),
    library("libd3d12", &[Graphics, Video]),
    library("libd3d12core", &[Graphics, Video]),
    library("libnvoptix", &[Graphics]),
    library("libnvoptix_loader", &[Graphics]),
    library("libnvwgf2umx", &[Graphics, Video]),
];
