//! The files that are neither libraries nor programs: manifests by which loaders find the driver, data that its libraries
//! read, modules of the X server, firmware; and the well-known places of whole directories.
//!
//! Sources: the search paths of the Vulkan loader (its `LoaderDriverInterface.md`, `LoaderLayerInterface.md`), of libglvnd
//! (`egl_vendor.d`), of NVIDIA's EGL external platform interface, of the OpenCL ICD loader (`cl_khr_icd`), of Proton
//! (`nvidia/wine` beside libGLX_nvidia), and the strings of NVIDIA's libraries for the rest.

use super::places::{WellKnownPlace, always, over, with};
use crate::capability::Capabilities;
use crate::capability::Capability::{self, Compute, Display, Graphics, Ngx, Utility};
use crate::extras::Extra;

/// What to make of a host's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The host's file itself.
    AsIs,
    /// A JSON manifest that names a library: the container gets a copy that names it without a path of the host.
    Manifest {
        /// What it names where it says nothing.
        soname: &'static str,
        /// The manifest for hosts that have none.
        generated: Option<&'static str>,
    },
    /// A line with the library's name.
    Line(&'static str),
}

/// Where hosts keep a file: each of the names below each of the roots, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Directories of the host.
    pub roots: &'static [&'static str],
    /// Paths below them. `{version}` stands for the driver's version; the last part may have one `*`.
    pub names: &'static [&'static str],
}

impl Hosts {
    /// The paths, the most likely first.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        self.roots.iter().flat_map(|root| self.names.iter().map(move |name| format!("{root}/{name}")))
    }
}

/// A file of the driver, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// Where hosts keep it; the first that is there counts.
    pub hosts: &'static [Hosts],
    /// Path below the view; with a `/` at the end a directory, for all files that a `*` stands for.
    pub inside: &'static str,
    /// What to make of it.
    pub content: Content,
    /// Who needs it.
    pub capability: Capability,
    /// The extra that has to be asked for as well, if it belongs to one.
    pub extra: Option<Extra>,
    /// The library family without which it is of no use.
    pub library: Option<&'static str>,
    /// Where programs look for it: a link is made at the first of these that applies, and files of the image at any of
    /// them are covered.
    pub places: &'static [WellKnownPlace],
}

const fn file(
    capability: Capability,
    inside: &'static str,
    hosts: &'static [Hosts],
    places: &'static [WellKnownPlace],
) -> Data {
    Data { hosts, inside, content: Content::AsIs, capability, extra: None, library: None, places }
}

const fn below(roots: &'static [&'static str], names: &'static [&'static str]) -> Hosts {
    Hosts { roots, names }
}

impl Data {
    const fn naming(self, library: &'static str, content: Content) -> Data {
        Data { library: Some(library), content, ..self }
    }

    const fn of(self, extra: Extra) -> Data {
        Data { extra: Some(extra), ..self }
    }

    /// Its capabilities as a set.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[self.capability])
    }
}

/// Where distributions have what others have in `/usr/share`; the second is that of NixOS, as in the lists below.
const SHARE: &[&str] = &["/usr/share", "/run/opengl-driver/share"];

/// The same for what an administrator may have put into `/etc`.
const SHARE_OR_ETC: &[&str] = &["/usr/share", "/etc", "/run/opengl-driver/share"];

const ETC: &[&str] = &["/etc", "/run/opengl-driver/etc"];

/// Where libGLX_nvidia is, beside which Proton looks.
const LIBRARIES: &[&str] = &[
    concat!("/usr/lib/", triplet!()),
    concat!("/usr/lib/", triplet!(), "/nvidia/current"),
    "/usr/lib64",
    "/usr/lib",
    "/run/opengl-driver/lib",
    "/usr/local/nvidia/lib64",
];

const FIRMWARE: &[&str] = &["/lib/firmware/updates", "/lib/firmware", "/run/current-system/firmware"];

/// The X server's module directories, and those of drivers that are chosen by links from there.
const XORG: &[&str] = &["/usr/lib/xorg/modules", "/usr/lib64/xorg/modules"];
const XORG_ALTERNATIVES: &[&str] =
    &["/usr/lib/nvidia/xorg", "/usr/lib64/nvidia/xorg", "/usr/lib/nvidia/current"];

/// A manifest for hosts that have none.
macro_rules! manifest {
    ($soname:expr) => {
        concat!(r#"{"file_format_version":"1.0.0","ICD":{"library_path":""#, $soname, r#""}}"#)
    };
}

/// The manifest of an EGL external platform, a library which GLVND's vendor library loads by it.
macro_rules! platform {
    ($name:literal, $library:literal) => {
        platform!($name, $library, &[concat!("egl/egl_external_platform.d/", $name)])
    };
    ($name:literal, $library:literal, $hosts:expr) => {
        file(
            Graphics,
            concat!("share/egl/egl_external_platform.d/", $name),
            &[below(SHARE, $hosts)],
            &[always(concat!("/usr/share/egl/egl_external_platform.d/", $name))],
        )
        .naming(
            $library,
            Content::Manifest {
                soname: concat!($library, ".so.1"),
                generated: Some(manifest!(concat!($library, ".so.1"))),
            },
        )
    };
}

/// All of the driver's data files.
pub const DATA: &[Data] = &[
    // One manifest serves both architectures, since each loader finds its own library by the soname; two would show every
    // GPU twice. What a device can do it says itself: the generated `api_version` is the oldest of a supported driver.
    file(
        Graphics,
        "share/vulkan/icd.d/nvidia_icd.json",
        &[
            below(
                SHARE_OR_ETC,
                &[
                    "vulkan/icd.d/nvidia_icd.json",
                    "vulkan/icd.d/nvidia_icd.x86_64.json",
                    "vulkan/icd.d/nvidia_icd.aarch64.json",
                ],
            ),
            below(&["/usr/local/nvidia"], &["vulkan/icd.d/nvidia_icd.json"]),
        ],
        &[
            always("/usr/share/vulkan/icd.d/nvidia_icd.json"),
            over("/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json"),
            over("/etc/vulkan/icd.d/nvidia_icd.json"),
        ],
    )
    .naming(
        "libGLX_nvidia",
        Content::Manifest {
            soname: "libGLX_nvidia.so.0",
            generated: Some(
                r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.2.175"}}"#,
            ),
        },
    ),
    file(
        Graphics,
        "share/vulkan/implicit_layer.d/nvidia_layers.json",
        &[below(SHARE_OR_ETC, &["vulkan/implicit_layer.d/nvidia_layers.json"])],
        &[
            always("/usr/share/vulkan/implicit_layer.d/nvidia_layers.json"),
            over("/etc/vulkan/implicit_layer.d/nvidia_layers.json"),
        ],
    )
    .naming("libGLX_nvidia", Content::Manifest { soname: "libGLX_nvidia.so.0", generated: None }),
    file(
        Graphics,
        "share/vulkansc/icd.d/nvidia_icd_vksc.json",
        &[below(SHARE_OR_ETC, &["vulkansc/icd.d/nvidia_icd*.json"])],
        &[with("/usr/share/vulkansc", "/usr/share/vulkansc/icd.d/nvidia_icd_vksc.json")],
    )
    .naming(
        "libnvidia-vksc-core",
        Content::Manifest { soname: "libnvidia-vksc-core.so.1", generated: None },
    ),
    file(
        Graphics,
        "share/glvnd/egl_vendor.d/10_nvidia.json",
        &[below(SHARE_OR_ETC, &["glvnd/egl_vendor.d/10_nvidia.json"])],
        &[
            always("/usr/share/glvnd/egl_vendor.d/10_nvidia.json"),
            over("/etc/glvnd/egl_vendor.d/10_nvidia.json"),
        ],
    )
    .naming(
        "libEGL_nvidia",
        Content::Manifest {
            soname: "libEGL_nvidia.so.0",
            generated: Some(manifest!("libEGL_nvidia.so.0")),
        },
    ),
    platform!("15_nvidia_gbm.json", "libnvidia-egl-gbm"),
    platform!("10_nvidia_wayland.json", "libnvidia-egl-wayland"),
    platform!(
        "09_nvidia_wayland2.json",
        "libnvidia-egl-wayland2",
        &[
            "egl/egl_external_platform.d/09_nvidia_wayland2.json",
            "egl/egl_external_platform.d/99_nvidia_wayland2.json",
        ]
    ),
    platform!("20_nvidia_xcb.json", "libnvidia-egl-xcb"),
    platform!("20_nvidia_xlib.json", "libnvidia-egl-xlib"),
    file(
        Compute,
        "share/OpenCL/vendors/nvidia.icd",
        &[below(ETC, &["OpenCL/vendors/nvidia.icd"])],
        &[always("/etc/OpenCL/vendors/nvidia.icd")],
    )
    .naming("libnvidia-opencl", Content::Line("libnvidia-opencl.so.1")),
    file(
        Graphics,
        "share/nvidia/nvoptix.bin",
        &[
            below(SHARE, &["nvidia/nvoptix.bin"]),
            below(&[concat!("/usr/lib/", triplet!(), "/nvidia/current")], &["nvoptix.bin"]),
        ],
        &[always("/usr/share/nvidia/nvoptix.bin")],
    )
    .naming("libnvoptix", Content::AsIs),
    // The driver looks for the name with its version, and then for the one without.
    file(
        Graphics,
        "share/nvidia/nvidia-application-profiles-rc",
        &[below(
            SHARE,
            &["nvidia/nvidia-application-profiles-{version}-rc", "nvidia/nvidia-application-profiles-rc"],
        )],
        &[always("/usr/share/nvidia/nvidia-application-profiles-rc")],
    ),
    file(
        Graphics,
        "share/nvidia/nvidia-application-profiles-key-documentation",
        &[below(
            SHARE,
            &[
                "nvidia/nvidia-application-profiles-{version}-key-documentation",
                "nvidia/nvidia-application-profiles-key-documentation",
            ],
        )],
        &[],
    ),
    file(Ngx, "lib64/nvidia/wine/", &[below(LIBRARIES, &["nvidia/wine/*.dll"])], &[]),
    file(
        Utility,
        "firmware/nvidia/{version}/",
        &[below(FIRMWARE, &["nvidia/{version}/gsp*.bin"])],
        &[],
    ),
    file(
        Compute,
        "etc/cufile.json",
        &[below(&["/etc"], &["cufile.json"])],
        &[always("/etc/cufile.json")],
    )
    .of(Extra::Gds),
    file(
        Display,
        "xorg/drivers/nvidia_drv.so",
        &[
            below(XORG, &["drivers/nvidia_drv.so"]),
            below(
                &["/usr/lib/nvidia/current", concat!("/usr/lib/", triplet!(), "/nvidia/xorg")],
                &["nvidia_drv.so"],
            ),
        ],
        &[
            with("/usr/lib/xorg/modules", "/usr/lib/xorg/modules/drivers/nvidia_drv.so"),
            with("/usr/lib64/xorg/modules", "/usr/lib64/xorg/modules/drivers/nvidia_drv.so"),
        ],
    ),
    file(
        Display,
        "xorg/extensions/libglxserver_nvidia.so",
        &[
            below(XORG, &["extensions/libglxserver_nvidia.so"]),
            below(XORG_ALTERNATIVES, &["libglxserver_nvidia.so"]),
        ],
        &[
            with("/usr/lib/xorg/modules", "/usr/lib/xorg/modules/extensions/libglxserver_nvidia.so"),
            with("/usr/lib64/xorg/modules", "/usr/lib64/xorg/modules/extensions/libglxserver_nvidia.so"),
        ],
    ),
    file(
        Display,
        "share/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
        &[
            below(&["/usr/share", "/etc"], &["X11/xorg.conf.d/nvidia-drm-outputclass.conf"]),
            below(&["/usr/share"], &["X11/xorg.conf.d/10-nvidia.conf"]),
            below(&["/etc"], &["nvidia/nvidia-drm-outputclass.conf"]),
        ],
        &[with(
            "/usr/share/X11/xorg.conf.d",
            "/usr/share/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
        )],
    ),
];

/// A directory of the view that programs look for as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataDirectory {
    /// Path below the view.
    pub inside: &'static str,
    /// Where programs look for it.
    pub places: &'static [WellKnownPlace],
}

const fn directory(inside: &'static str, places: &'static [WellKnownPlace]) -> DataDirectory {
    DataDirectory { inside, places }
}

/// All directories of the view that programs look for.
pub const DIRECTORIES: &[DataDirectory] = &[
    // Programs built by Nix ignore the ld.so.cache.
    directory("lib64", &[with("/nix/store", "/run/opengl-driver/lib")]),
    directory("share", &[with("/nix/store", "/run/opengl-driver/share")]),
    directory("lib", &[with("/nix/store", "/run/opengl-driver-32/lib")]),
    directory("firmware/nvidia", &[with("/lib/firmware", "/lib/firmware/nvidia")]),
    directory("run/nvidia-persistenced", &[always("/run/nvidia-persistenced")]),
    directory("run/nvidia-fabricmanager", &[always("/run/nvidia-fabricmanager")]),
    directory("wsl", &[always("/usr/lib/wsl")]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::LIBRARIES;
    use std::collections::HashSet;

    #[test]
    fn every_row_has_a_place_of_its_own_in_the_view() {
        let inside: HashSet<_> = DATA.iter().map(|data| data.inside).collect();
        assert_eq!(inside.len(), DATA.len());
        let places: Vec<_> = DATA.iter().flat_map(|data| data.places).map(|place| place.path).collect();
        assert_eq!(places.iter().collect::<HashSet<_>>().len(), places.len());
    }

    #[test]
    fn a_row_s_library_is_one_that_comes_with_its_capability() {
        for data in DATA {
            let Some(stem) = data.library else { continue };
            let family = LIBRARIES.iter().find(|family| family.stem == stem).unwrap();
            assert!(family.capabilities.intersects(data.capabilities()), "{}", data.inside);
        }
    }

    #[test]
    fn a_star_stands_in_a_last_part_and_for_files_of_a_directory() {
        for data in DATA {
            for path in data.hosts.iter().flat_map(Hosts::paths) {
                let (parent, name) = path.rsplit_once('/').unwrap();
                assert!(path.starts_with('/') && !parent.contains('*'), "{path}");
                assert!(name.matches('*').count() <= 1, "{path}");
                assert!(!data.inside.ends_with('/') || name.contains('*'), "{path}");
            }
        }
    }

    #[test]
    fn a_generated_manifest_names_its_soname() {
        for data in DATA {
            if let Content::Manifest { soname, generated: Some(text) } = data.content {
                let manifest: serde_json::Value = serde_json::from_str(text).unwrap();
                assert_eq!(manifest["ICD"]["library_path"], soname);
            }
        }
    }
}
