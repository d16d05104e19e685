//! The libraries, by family.

use super::places::{WellKnownPlace, with};
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
    /// Where programs open it by path, if they do.
    pub plugin: Option<Plugin>,
}

/// Who needs the plugins: a library may also serve others.
pub const PLUGINS: Capabilities = Capabilities::of(&[Graphics, Display]);

/// A library that programs open by its path in one of the image's library directories: Debian's, that of the RPM
/// distributions, that of the others. Where the library stands that opens it is the directory that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Under which of its names the link leads to it.
    pub name: &'static str,
    /// Where programs of the machine's own width look.
    pub places: &'static [WellKnownPlace],
    /// Where 32-bit programs look.
    pub places_32: &'static [WellKnownPlace],
}

/// A plugin's place in a library directory, beside the library that opens it.
macro_rules! plugin {
    ($directory:expr, $path:literal, $beside:literal) => {
        with(concat!($directory, "/", $beside), concat!($directory, "/", $path))
    };
}

/// Mesa's loader of GBM backends takes them from its own directory alone.
const GBM: Plugin = Plugin {
    name: "libnvidia-allocator.so.1",
    places: &[
        plugin!(concat!("/usr/lib/", triplet!()), "gbm/nvidia-drm_gbm.so", "libgbm.so.1"),
        plugin!("/usr/lib64", "gbm/nvidia-drm_gbm.so", "libgbm.so.1"),
        plugin!("/usr/lib", "gbm/nvidia-drm_gbm.so", "libgbm.so.1"),
    ],
    places_32: &[
        plugin!("/usr/lib/i386-linux-gnu", "gbm/nvidia-drm_gbm.so", "libgbm.so.1"),
        plugin!("/usr/lib32", "gbm/nvidia-drm_gbm.so", "libgbm.so.1"),
        plugin!("/usr/lib", "gbm/nvidia-drm_gbm.so", "libgbm.so.1"),
    ],
};

const fn driver(stem: &'static str, capabilities: &[Capability], links: &'static [&'static str]) -> Family {
    let capabilities = Capabilities::of(capabilities);
    Family { stem, versioning: Versioning::Driver, capabilities, links, plugin: None }
}

const fn own(stem: &'static str) -> Family {
    Family { versioning: Versioning::Own, ..driver(stem, &[Graphics], &[]) }
}

const fn fixed(stem: &'static str, suffix: &'static str, capabilities: &[Capability]) -> Family {
    Family { versioning: Versioning::Fixed(suffix), ..driver(stem, capabilities, &[]) }
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
    Family { plugin: Some(GBM), ..driver("libnvidia-allocator", &[Compute, Graphics], &[]) },
    driver("libnvidia-pkcs11", &[Compute], &[]),
    driver("libnvidia-pkcs11-openssl3", &[Compute], &[]),
    driver("libnvcuextend", &[Compute], &[]),
    // libvdpau looks in its own directory first, and then for this name wherever the loader finds it.
    driver("libvdpau_nvidia", &[Video], &["libvdpau_nvidia.so"]),
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

/// What a capability is about: a driver without any of these serves it not at all, whatever else is there that it shares
/// with others. `compat32` is about no library of its own.
pub const MAIN_LIBRARIES: &[(Capability, &[&str])] = &[
    (Compute, &["libcuda"]),
    (Utility, &["libnvidia-ml"]),
    (Graphics, &["libGLX_nvidia", "libEGL_nvidia"]),
    (Video, &["libnvcuvid", "libnvidia-encode", "libvdpau_nvidia"]),
    (Display, &["libGLX_nvidia"]),
    (Ngx, &["libnvidia-ngx"]),
];

/// Libraries that may carry the driver's version and are never injected as such: the GLVND dispatchers and the OpenCL
/// loader belong to the image; the X server's module is among the [`DATA`](super::DATA), found by its directory.
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

/// Where hosts keep the driver's libraries. Directories that the host's ld.so.cache names are searched as well.
pub const LIBRARY_DIRECTORIES: &[&str] = &[
    concat!("/usr/lib/", triplet!()),
    concat!("/usr/lib/", triplet!(), "/nvidia/current"),
    concat!("/usr/lib/", triplet!(), "/nvidia"),
    "/usr/lib64",
    "/usr/lib64/nvidia",
    "/usr/lib",
    concat!("/lib/", triplet!()),
    "/lib64",
    "/run/opengl-driver/lib",
    "/usr/local/nvidia/lib64",
];

/// Where hosts keep the 32-bit libraries beside 64-bit ones. Of a directory that has both, each library's ELF header
/// tells which it is.
pub const COMPAT32_DIRECTORIES: &[&str] = &[
    "/usr/lib/i386-linux-gnu",
    "/usr/lib/i386-linux-gnu/nvidia/current",
    "/usr/lib/i386-linux-gnu/nvidia",
    "/usr/lib32",
    "/usr/lib32/nvidia",
    "/usr/lib",
    "/usr/lib/nvidia",
    "/run/opengl-driver-32/lib",
    "/usr/local/nvidia/lib",
];

/// Directories below a library directory where the driver keeps further libraries.
pub const LIBRARY_SUBDIRECTORIES: &[&str] = &["vdpau"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::DRIVER;
    use std::collections::HashSet;

    #[test]
    fn every_stem_has_one_row_and_is_not_forbidden() {
        let stems: HashSet<_> = LIBRARIES.iter().map(|family| family.stem).collect();
        assert_eq!(stems.len(), LIBRARIES.len());
        assert_eq!(NEVER.iter().find(|stem| stems.contains(*stem)), None);
        assert_eq!(LIBRARIES.iter().find(|family| !family.capabilities.intersects(DRIVER)), None);
    }

    #[test]
    fn a_main_library_is_one_of_its_capability_s() {
        for (capability, stems) in MAIN_LIBRARIES {
            let rows = LIBRARIES.iter().filter(|family| stems.contains(&family.stem));
            let serving = rows.filter(|family| family.capabilities.iter().any(|one| one == *capability));
            assert_eq!(serving.count(), stems.len(), "{stems:?}");
        }
        assert_eq!(MAIN_LIBRARIES.len(), DRIVER.iter().count());
    }
}
