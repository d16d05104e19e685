//! What a driver consists of, as tables: library families, programs, data files, device nodes, where a host keeps them,
//! and where programs in a container look for them.
//!
//! Sources: the file lists of NVIDIA's driver packages 470 to 610 and of libnvidia-container; device numbers from
//! NVIDIA's open kernel modules (`nv-chardev-numbers.h`, `nvidia-modprobe-utils.h`).

/// [`TRIPLET`] as a literal, for paths.
#[cfg(target_arch = "aarch64")]
macro_rules! triplet {
    () => {
        "aarch64-linux-gnu"
    };
}
#[cfg(not(target_arch = "aarch64"))]
macro_rules! triplet {
    () => {
        "x86_64-linux-gnu"
    };
}

mod data;
mod extras;
mod libraries;
mod nodes;
mod places;
mod programs;
mod wsl;

pub use data::{Content, DATA, DIRECTORIES, Data, DataDirectory, Hosts};
pub use extras::{EXTRA_NODES, ExtraNode, Number, SHARED, SOCKETS, Shared, Socket};
pub use libraries::{
    COMPAT32_DIRECTORIES, Family, LIBRARIES, LIBRARY_DIRECTORIES, LIBRARY_SUBDIRECTORIES, MAIN_LIBRARIES,
    NEVER, PLUGINS, Plugin, Versioning,
};
pub use nodes::{
    CONTROL_NODES, ControlNode, DRM_CAPABILITIES, DRM_MAJOR, GPU_DRIVERS, MODPROBE, MODPROBE_LOAD,
};
pub use places::{WellKnownPlace, When};
pub use programs::{PROGRAM_DIRECTORIES, PROGRAMS, Program};
pub use wsl::{
    WSL_LIBRARIES, WSL_LIBRARY_DIRECTORY, WSL_MAIN, WSL_MISC, WSL_NODE, WSL_STORE, WSL_STORE_DIRECTORY,
    is_store_file,
};

use crate::capability::Capabilities;
use crate::capability::Capability::{Compat32, Compute, Display, Graphics, Ngx, Utility, Video};

/// The directory name of this machine's architecture in Debian's multiarch layout.
pub const TRIPLET: &str = triplet!();

/// The capabilities that stand for a part of the driver: all but the one that adds the 32-bit libraries of the others.
pub const DRIVER: Capabilities = Capabilities::of(&[Compute, Utility, Graphics, Video, Display, Ngx]);

/// The capability that adds the 32-bit libraries.
pub const COMPAT32: Capabilities = Capabilities::of(&[Compat32]);
