//! The files of an NVIDIA driver for x86_64 and aarch64, by family, as its packages have them.

/// What follows `.so.` in a library's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    /// The exact driver version.
    Driver,
    /// A number of its own, whatever the driver's version.
    Own(&'static str),
}

/// One library.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library {
    /// File name up to `.so`.
    pub stem: &'static str,
    /// The rest of the file name.
    pub suffix: Suffix,
    /// What follows `.so.` in the soname; `None`: the soname is the file name.
    pub soname: Option<&'static str>,
    /// Whether there is a link without any number, for the link editor.
    pub dev_link: bool,
    /// Directory below the library directory, or empty.
    pub folder: &'static str,
}

impl Library {
    /// The file's name in a driver of `version`.
    pub(super) fn file(&self, version: &str) -> String {
        match self.suffix {
            Suffix::Driver => format!("{}.so.{version}", self.stem),
            Suffix::Own(own) => format!("{}.so.{own}", self.stem),
        }
    }

    /// The soname in a driver of `version`.
    pub(super) fn soname(&self, version: &str) -> String {
        self.soname.map_or_else(|| self.file(version), |number| format!("{}.so.{number}", self.stem))
    }
}

const fn versioned(stem: &'static str, soname: &'static str) -> Library {
    Library { stem, suffix: Suffix::Driver, soname: Some(soname), dev_link: false, folder: "" }
}

const fn developed(stem: &'static str, soname: &'static str) -> Library {
    Library { dev_link: true, ..versioned(stem, soname) }
}

/// Libraries that only other driver libraries load, by their full name.
const fn internal(stem: &'static str) -> Library {
    Library { stem, suffix: Suffix::Driver, soname: None, dev_link: false, folder: "" }
}

/// Libraries of NVIDIA's that have releases of their own.
const fn own(stem: &'static str, suffix: &'static str, soname: &'static str) -> Library {
    Library { stem, suffix: Suffix::Own(suffix), soname: Some(soname), dev_link: false, folder: "" }
}

/// Every 64-bit library of the families utility, compute, video, graphics and ngx, of old drivers and new ones.
pub(super) const LIBRARIES: &[Library] = &[
    // utility
    versioned("libnvidia-ml", "1"),
    versioned("libnvidia-cfg", "1"),
    versioned("libnvidia-nscq", "2"),
    versioned("libnvidia-sandboxutils", "1"),
    // compute
    developed("libcuda", "1"),
    versioned("libcudadebugger", "1"),
    versioned("libnvidia-opencl", "1"),
    internal("libnvidia-gpucomp"),
    versioned("libnvidia-ptxjitcompiler", "1"),
    versioned("libnvidia-nvvm", "4"),
    own("libnvidia-nvvm70", "4", "4"),
    internal("libnvidia-tileiras"),
    versioned("libnvidia-allocator", "1"),
    internal("libnvidia-pkcs11"),
    internal("libnvidia-pkcs11-openssl3"),
    internal("libnvidia-fatbinaryloader"),
    internal("libnvidia-compiler"),
    // video
    Library { folder: "vdpau", ..versioned("libvdpau_nvidia", "1") },
    developed("libnvcuvid", "1"),
    developed("libnvidia-encode", "1"),
    developed("libnvidia-opticalflow", "1"),
    // graphics
    versioned("libGLX_nvidia", "0"),
    versioned("libEGL_nvidia", "0"),
    versioned("libGLESv2_nvidia", "2"),
    versioned("libGLESv1_CM_nvidia", "1"),
    internal("libnvidia-eglcore"),
    internal("libnvidia-glcore"),
    internal("libnvidia-glsi"),
    internal("libnvidia-tls"),
    internal("libnvidia-glvkspirv"),
    internal("libnvidia-rtcore"),
    versioned("libnvoptix", "1"),
    internal("libnvidia-cbl"),
    versioned("libnvidia-fbc", "1"),
    versioned("libnvidia-ifr", "1"),
    internal("libnvidia-present"),
    own("libnvidia-api", "1", "1"),
    versioned("libnvidia-vksc-core", "1"),
    Library { dev_link: true, ..internal("libnvidia-vulkan-producer") },
    own("libnvidia-egl-gbm", "1.1.2", "1"),
    own("libnvidia-egl-wayland", "1.1.19", "1"),
    own("libnvidia-egl-wayland2", "1.0.0", "1"),
    own("libnvidia-egl-xcb", "1.0.1", "1"),
    own("libnvidia-egl-xlib", "1.0.1", "1"),
    // ngx
    versioned("libnvidia-ngx", "1"),
];

/// Links below the library directory that are not sonames: the name, and where it points.
pub(super) const EXTRA_LINKS: &[(&str, &str)] = &[
    ("libGLX_indirect.so.0", "libGLX_nvidia.so.0"),
    ("gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1"),
];

/// Programs.
pub(super) const PROGRAMS: &[&str] = &[
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
];

/// Files below `/usr/share` or its stand-in, and their content.
pub(super) const SHARED_DATA: &[(&str, &str)] = &[
    (
        "glvnd/egl_vendor.d/10_nvidia.json",
        "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\": \"libEGL_nvidia.so.0\"}}\n",
    ),
    (
        "egl/egl_external_platform.d/10_nvidia_wayland.json",
        "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\": \"libnvidia-egl-wayland.so.1\"}}\n",
    ),
    (
        "egl/egl_external_platform.d/15_nvidia_gbm.json",
        "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\": \"libnvidia-egl-gbm.so.1\"}}\n",
    ),
    (
        "vulkan/icd.d/nvidia_icd.json",
        "{\"file_format_version\": \"1.0.1\", \"ICD\": {\"library_path\": \"libGLX_nvidia.so.0\", \"api_version\": \"1.4.303\"}}\n",
    ),
    ("vulkan/implicit_layer.d/nvidia_layers.json", "{\"file_format_version\": \"1.0.1\", \"layers\": []}\n"),
    ("nvidia/nvoptix.bin", "simulated OptiX data\n"),
];

/// Files below `/etc`, and their content.
pub(super) const CONFIGURATION: &[(&str, &str)] = &[("OpenCL/vendors/nvidia.icd", "libnvidia-opencl.so.1\n")];

/// Firmware images, below `nvidia/VERSION` of the firmware directory.
pub(super) const FIRMWARE: &[&str] = &["gsp_ga10x.bin", "gsp_tu10x.bin"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_and_sonames_are_the_drivers() {
        let named = |stem: &str| {
            let library = LIBRARIES.iter().find(|l| l.stem == stem).unwrap();
            (library.file("570.172.08"), library.soname("570.172.08"))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(named("libcuda"), pair("libcuda.so.570.172.08", "libcuda.so.1"));
        assert_eq!(
            named("libnvidia-glcore"),
            pair("libnvidia-glcore.so.570.172.08", "libnvidia-glcore.so.570.172.08")
        );
        assert_eq!(named("libnvidia-egl-gbm"), pair("libnvidia-egl-gbm.so.1.1.2", "libnvidia-egl-gbm.so.1"));
    }

    #[test]
    fn no_two_libraries_have_one_name() {
        let mut stems: Vec<_> = LIBRARIES.iter().map(|library| library.stem).collect();
        stems.sort_unstable();
        stems.dedup();
        assert_eq!(stems.len(), LIBRARIES.len());
    }
}
