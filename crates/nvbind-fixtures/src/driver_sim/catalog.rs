//! The programs and libraries of an NVIDIA driver for x86_64 and aarch64, by family, as its packages have them.

/// What follows `.so.` in a library's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    /// The exact driver version.
    Driver,
    /// A number of its own, whatever the driver's version.
    Own(&'static str),
}

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
    /// Whether the driver for x86_64 has it for 32-bit programs, too.
    pub both: bool,
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
    Library { stem, suffix: Suffix::Driver, soname: Some(soname), dev_link: false, folder: "", both: false }
}

const fn developed(stem: &'static str, soname: &'static str) -> Library {
    Library { dev_link: true, ..versioned(stem, soname) }
}

/// Libraries that only other driver libraries load, by their full name.
const fn internal(stem: &'static str) -> Library {
    Library { stem, suffix: Suffix::Driver, soname: None, dev_link: false, folder: "", both: false }
}

/// Libraries of NVIDIA's that have releases of their own.
const fn own(stem: &'static str, suffix: &'static str, soname: &'static str) -> Library {
    Library {
        stem,
        suffix: Suffix::Own(suffix),
        soname: Some(soname),
        dev_link: false,
        folder: "",
        both: false,
    }
}

/// Libraries that 32-bit programs have as well.
const fn both(library: Library) -> Library {
    Library { both: true, ..library }
}

/// Every library of the families utility, compute, video, graphics and ngx, of old drivers and new ones.
pub(super) const LIBRARIES: &[Library] = &[
    // utility
    both(versioned("libnvidia-ml", "1")),
    versioned("libnvidia-cfg", "1"),
    versioned("libnvidia-nscq", "2"),
    versioned("libnvidia-sandboxutils", "1"),
    // compute
    both(developed("libcuda", "1")),
    versioned("libcudadebugger", "1"),
    both(versioned("libnvidia-opencl", "1")),
    both(internal("libnvidia-gpucomp")),
    both(versioned("libnvidia-ptxjitcompiler", "1")),
    both(versioned("libnvidia-nvvm", "4")),
    own("libnvidia-nvvm70", "4", "4"),
    both(internal("libnvidia-tileiras")),
    both(versioned("libnvidia-allocator", "1")),
    internal("libnvidia-pkcs11"),
    internal("libnvidia-pkcs11-openssl3"),
    both(internal("libnvidia-fatbinaryloader")),
    both(internal("libnvidia-compiler")),
    // video
    both(Library { folder: "vdpau", ..versioned("libvdpau_nvidia", "1") }),
    both(developed("libnvcuvid", "1")),
    both(developed("libnvidia-encode", "1")),
    both(developed("libnvidia-opticalflow", "1")),
    // graphics
    both(versioned("libGLX_nvidia", "0")),
    both(versioned("libEGL_nvidia", "0")),
    both(versioned("libGLESv2_nvidia", "2")),
    both(versioned("libGLESv1_CM_nvidia", "1")),
    both(internal("libnvidia-eglcore")),
    both(internal("libnvidia-glcore")),
    both(internal("libnvidia-glsi")),
    both(internal("libnvidia-tls")),
    both(internal("libnvidia-glvkspirv")),
    internal("libnvidia-rtcore"),
    versioned("libnvoptix", "1"),
    internal("libnvidia-cbl"),
    both(versioned("libnvidia-fbc", "1")),
    both(versioned("libnvidia-ifr", "1")),
    internal("libnvidia-present"),
    own("libnvidia-api", "1", "1"),
    versioned("libnvidia-vksc-core", "1"),
    Library { dev_link: true, ..internal("libnvidia-vulkan-producer") },
    both(own("libnvidia-egl-gbm", "1.1.2", "1")),
    both(own("libnvidia-egl-wayland", "1.1.19", "1")),
    both(own("libnvidia-egl-wayland2", "1.0.0", "1")),
    both(own("libnvidia-egl-xcb", "1.0.1", "1")),
    both(own("libnvidia-egl-xlib", "1.0.1", "1")),
    // ngx
    versioned("libnvidia-ngx", "1"),
];

/// Links below the library directory that are not sonames: the name, and where it points.
pub(super) const EXTRA_LINKS: &[(&str, &str)] = &[
    ("libGLX_indirect.so.0", "libGLX_nvidia.so.0"),
    ("gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1"),
];

pub(super) const PROGRAMS: &[&str] = &[
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
];

/// A module of the X server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Module {
    /// Its name, up to `.so`: the soname and what the server loads is this with `.so`.
    pub stem: &'static str,
    /// Whether that is a link to a file with the driver's version.
    pub versioned: bool,
    /// The server's directory for its kind.
    pub folder: &'static str,
}

/// The modules of the X server, which no loader's cache has.
pub(super) const MODULES: &[Module] = &[
    Module { stem: "nvidia_drv", versioned: false, folder: "drivers" },
    Module { stem: "libglxserver_nvidia", versioned: true, folder: "extensions" },
];

/// Libraries of Windows programs under Wine, below `nvidia/wine` of the library directory.
pub(super) const WINE: &[&str] = &["nvngx.dll", "_nvngx.dll", "nvngx_dlssg.dll"];

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
