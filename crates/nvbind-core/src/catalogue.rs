//! What a driver consists of, as tables: library families, programs, device nodes, and where a host keeps them.
//!
//! Sources: the file lists of NVIDIA's driver packages 470 to 610 and of libnvidia-container; device numbers from
//! NVIDIA's open kernel modules (`nv-chardev-numbers.h`, `nvidia-modprobe-utils.h`).

use crate::capability::Capabilities;
use crate::capability::Capability::{self, Compute, Display, Graphics, Ngx, Utility, Video};

/// How a library's file name carries a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// `STEM.so.` and the driver's exact version.
    Driver,
    /// `STEM.so.` and a version of the library's own.
    Own,
    /// `STEM.so.` and this suffix, whatever the driver's version.
    Fixed(&'static str),
}

/// A library of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// File name up to `.so`.
    pub stem: &'static str,
    /// What follows `.so.`.
    pub versioning: Versioning,
    /// Who needs it: one of these being asked for is enough.
    pub capabilities: Capabilities,
    /// Further names under which programs open it, beside its soname.
    pub links: &'static [&'static str],
}

const fn driver(stem: &'static str, capabilities: &[Capability], links: &'static [&'static str]) -> Family {
    Family { stem, versioning: Versioning::Driver, capabilities: Capabilities::of(capabilities), links }
}

const fn own(stem: &'static str) -> Family {
    Family { stem, versioning: Versioning::Own, capabilities: Capabilities::of(&[Graphics]), links: &[] }
}

const fn fixed(stem: &'static str, suffix: &'static str, capabilities: &[Capability]) -> Family {
    Family {
        stem,
        versioning: Versioning::Fixed(suffix),
        capabilities: Capabilities::of(capabilities),
        links: &[],
    }
}

/// The library families. A library that carries the driver's exact version and is in no row is injected with every
/// capability: a driver newer than this table still works.
pub const LIBRARIES: &[Family] = &[
    driver("libnvidia-ml", &[Utility], &["libnvidia-ml.so"]),
    driver("libnvidia-cfg", &[Utility], &[]),
    driver("libnvidia-nscq", &[Utility], &[]),
    driver("libnvidia-sandboxutils", &[Utility], &[]),
    // NVENC and NVDEC work through CUDA: video needs what compute needs to start a context.
    driver("libcuda", &[Compute, Video], &["libcuda.so"]),
    driver("libnvidia-gpucomp", &[Compute, Graphics, Video], &[]),
    driver("libnvidia-ptxjitcompiler", &[Compute, Video], &[]),
    driver("libnvidia-nvvm", &[Compute, Video], &[]),
    fixed("libnvidia-nvvm70", "4", &[Compute, Video]),
    driver("libnvidia-tileiras", &[Compute], &[]),
    driver("libcudadebugger", &[Compute], &[]),
    driver("libnvidia-opencl", &[Compute], &[]),
    driver("libnvidia-compiler", &[Compute], &[]),
    driver("libnvidia-fatbinaryloader", &[Compute], &[]),
    driver("libnvidia-allocator", &[Compute, Graphics], &[]),
    driver("libnvidia-pkcs11", &[Compute], &[]),
    driver("libnvidia-pkcs11-openssl3", &[Compute], &[]),
    driver("libnvcuextend", &[Compute], &[]),
    driver("libvdpau_nvidia", &[Video], &[]),
    driver("libnvcuvid", &[Video], &["libnvcuvid.so"]),
    driver("libnvidia-encode", &[Video], &["libnvidia-encode.so"]),
    driver("libnvidia-opticalflow", &[Video], &["libnvidia-opticalflow.so"]),
    driver("libGLX_nvidia", &[Graphics, Display], &["libGLX_indirect.so.0"]),
    driver("libEGL_nvidia", &[Graphics, Display], &[]),
    driver("libGLESv2_nvidia", &[Graphics, Display], &[]),
    driver("libGLESv1_CM_nvidia", &[Graphics, Display], &[]),
    driver("libnvidia-eglcore", &[Graphics, Display], &[]),
    driver("libnvidia-glcore", &[Graphics, Display], &[]),
    driver("libnvidia-glsi", &[Graphics, Display], &[]),
    driver("libnvidia-tls", &[Graphics, Display], &[]),
    driver("libnvidia-glvkspirv", &[Graphics], &[]),
    driver("libnvidia-rtcore", &[Graphics], &[]),
    driver("libnvoptix", &[Graphics], &[]),
    driver("libnvidia-cbl", &[Graphics], &[]),
    driver("libnvidia-fbc", &[Graphics], &[]),
    driver("libnvidia-ifr", &[Graphics], &[]),
    driver("libnvidia-present", &[Graphics], &[]),
    fixed("libnvidia-api", "1", &[Graphics]),
    driver("libnvidia-vksc-core", &[Graphics], &[]),
    driver("libnvidia-vulkan-producer", &[Graphics], &["libnvidia-vulkan-producer.so"]),
    own("libnvidia-egl-gbm"),
    own("libnvidia-egl-wayland"),
    own("libnvidia-egl-wayland2"),
    own("libnvidia-egl-xcb"),
    own("libnvidia-egl-xlib"),
    driver("libnvidia-wfb", &[Display], &[]),
    driver("libnvidia-gtk2", &[Display], &[]),
    driver("libnvidia-gtk3", &[Display], &[]),
    driver("libnvidia-ngx", &[Ngx], &[]),
];

/// Libraries that may carry the driver's version and are never injected: the GLVND dispatchers and the OpenCL loader
/// belong to the image, the X server's module is found by its directory and not by a soname.
pub const NEVER: &[&str] = &[
    "libGL",
    "libGLX",
    "libEGL",
    "libGLESv1_CM",
    "libGLESv2",
    "libGLdispatch",
    "libOpenCL",
    "libOpenGL",
    "libglxserver_nvidia",
];

/// A program of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// File name.
    pub name: &'static str,
    /// Who needs it.
    pub capabilities: Capabilities,
    /// Whether people and scripts expect it in `/usr/bin`, whatever PATH says.
    pub in_usr_bin: bool,
}

const fn program(name: &'static str, capability: Capability, in_usr_bin: bool) -> Program {
    Program { name, capabilities: Capabilities::of(&[capability]), in_usr_bin }
}

/// The programs that a container can use.
pub const PROGRAMS: &[Program] = &[
    program("nvidia-smi", Utility, true),
    program("nvidia-debugdump", Utility, false),
    program("nvidia-cuda-mps-control", Compute, false),
    program("nvidia-cuda-mps-server", Compute, false),
];

/// Where hosts keep the driver's programs. Debian's driver directory stands last: where alternatives are set up,
/// `/usr/bin` leads there.
pub const PROGRAM_DIRECTORIES: &[&str] = &[
    "/usr/bin",
    "/usr/local/bin",
    "/run/current-system/sw/bin",
    "/usr/lib/nvidia/current",
    "/usr/local/nvidia/bin",
];

/// The directory name of this machine's architecture in Debian's multiarch layout.
pub const TRIPLET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };

/// Where hosts keep the driver's libraries; `{triplet}` stands for [`TRIPLET`]. Directories that the host's
/// ld.so.cache names are searched as well.
pub const LIBRARY_DIRECTORIES: &[&str] = &[
    "/usr/lib/{triplet}",
    "/usr/lib/{triplet}/nvidia/current",
    "/usr/lib/{triplet}/nvidia",
    "/usr/lib64",
    "/usr/lib64/nvidia",
    "/usr/lib",
    "/lib/{triplet}",
    "/lib64",
    "/run/opengl-driver/lib",
    "/usr/local/nvidia/lib64",
];

/// Directories below a library directory where the driver keeps further libraries.
pub const LIBRARY_SUBDIRECTORIES: &[&str] = &["vdpau"];

/// A device node that serves every GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlNode {
    /// Path on the host and in the container.
    pub path: &'static str,
    /// Names of its driver in `/proc/devices`; the first that is there gives the major number.
    pub drivers: &'static [&'static str],
    /// Minor number.
    pub minor: u32,
    /// Who needs it: one of these being asked for is enough.
    pub capabilities: Capabilities,
    /// Whether a request that needs it fails where its kernel module is not loaded.
    pub required: bool,
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
    },
    ControlNode {
        path: "/dev/nvidia-uvm",
        drivers: &["nvidia-uvm"],
        minor: 0,
        capabilities: Capabilities::of(&[Compute, Video]),
        required: true,
    },
    ControlNode {
        path: "/dev/nvidia-uvm-tools",
        drivers: &["nvidia-uvm"],
        minor: 1,
        capabilities: Capabilities::of(&[Compute, Video]),
        required: true,
    },
    ControlNode {
        path: "/dev/nvidia-modeset",
        // Before 550.40 the one registered name is the frontend's, which hands its minor 254 on to this module.
        drivers: &["nvidia-modeset", "nvidia-frontend"],
        minor: 254,
        capabilities: Capabilities::of(&[Graphics, Display]),
        required: false,
    },
];

/// Who needs a GPU's DRM nodes.
pub const DRM_CAPABILITIES: Capabilities = Capabilities::of(&[Graphics, Display]);

/// The major number of DRM nodes (Linux, `include/drm/drm_file.h`, `DRM_MAJOR`).
pub const DRM_MAJOR: u32 = 226;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_stem_has_one_row_and_is_not_forbidden() {
        let stems: HashSet<_> = LIBRARIES.iter().map(|family| family.stem).collect();
        assert_eq!(stems.len(), LIBRARIES.len());
        assert_eq!(NEVER.iter().find(|stem| stems.contains(*stem)), None);
        assert_eq!(LIBRARIES.iter().find(|family| family.capabilities.is_empty()), None);
    }
}
