//! The files that are neither libraries nor programs: manifests by which loaders find the driver, data that its libraries
//! read, modules of the X server, firmware; and the well-known places of whole directories.
//!
//! Sources: the search paths of the Vulkan loader (its `LoaderDriverInterface.md`, `LoaderLayerInterface.md`), of libglvnd
//! (`egl_vendor.d`), of NVIDIA's EGL external platform interface, of the OpenCL ICD loader (`cl_khr_icd`), of Proton
//! (`nvidia/wine` beside libGLX_nvidia), and the strings of NVIDIA's libraries for the rest.

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

/// When a file is put at a well-known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always; directories are made as needed.
    Always,
    /// Where the image has this: nothing looks there otherwise.
    With(&'static str),
    /// Over a file of the image, which would be used beside ours.
    Over,
}

/// A file of the driver, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// Where hosts keep it; the first that is there counts. `{version}` stands for the driver's version, `{triplet}` for
    /// [`TRIPLET`](super::TRIPLET); the last part may have one `*`.
    pub host: &'static [&'static str],
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
    pub places: &'static [(&'static str, When)],
}

const fn file(
    capability: Capability,
    inside: &'static str,
    host: &'static [&'static str],
    places: &'static [(&'static str, When)],
) -> Data {
    Data { host, inside, content: Content::AsIs, capability, extra: None, library: None, places }
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

/// A manifest of an EGL external platform: `libnvidia-egl-NAME`, which GLVND's vendor library loads by it.
const fn platform(
    inside: &'static str,
    host: &'static [&'static str],
    places: &'static [(&'static str, When)],
    library: &'static str,
    soname: &'static str,
    generated: &'static str,
) -> Data {
    file(Graphics, inside, host, places)
        .naming(library, Content::Manifest { soname, generated: Some(generated) })
}

/// The files.
pub const DATA: &[Data] = &[
    // One manifest serves both architectures, since each loader finds its own library by the soname; two would show every
    // GPU twice. What a device can do it says itself: the generated `api_version` is the oldest of a supported driver.
    file(
        Graphics,
        "share/vulkan/icd.d/nvidia_icd.json",
        &[
            "/usr/share/vulkan/icd.d/nvidia_icd.json",
            "/etc/vulkan/icd.d/nvidia_icd.json",
            "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
            "/usr/share/vulkan/icd.d/nvidia_icd.aarch64.json",
            "/run/opengl-driver/share/vulkan/icd.d/nvidia_icd.json",
            "/run/opengl-driver/share/vulkan/icd.d/nvidia_icd.x86_64.json",
            "/run/opengl-driver/share/vulkan/icd.d/nvidia_icd.aarch64.json",
            "/usr/local/nvidia/vulkan/icd.d/nvidia_icd.json",
        ],
        &[
            ("/usr/share/vulkan/icd.d/nvidia_icd.json", When::Always),
            ("/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json", When::Over),
            ("/etc/vulkan/icd.d/nvidia_icd.json", When::Over),
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
        &[
            "/usr/share/vulkan/implicit_layer.d/nvidia_layers.json",
            "/etc/vulkan/implicit_layer.d/nvidia_layers.json",
            "/run/opengl-driver/share/vulkan/implicit_layer.d/nvidia_layers.json",
        ],
        &[
            ("/usr/share/vulkan/implicit_layer.d/nvidia_layers.json", When::Always),
            ("/etc/vulkan/implicit_layer.d/nvidia_layers.json", When::Over),
        ],
    )
    .naming("libGLX_nvidia", Content::Manifest { soname: "libGLX_nvidia.so.0", generated: None }),
    file(
        Graphics,
        "share/vulkansc/icd.d/nvidia_icd_vksc.json",
        &["/usr/share/vulkansc/icd.d/nvidia_icd*.json", "/etc/vulkansc/icd.d/nvidia_icd*.json"],
        &[("/usr/share/vulkansc/icd.d/nvidia_icd_vksc.json", When::With("/usr/share/vulkansc"))],
    )
    .naming(
        "libnvidia-vksc-core",
        Content::Manifest { soname: "libnvidia-vksc-core.so.1", generated: None },
    ),
    file(
        Graphics,
        "share/glvnd/egl_vendor.d/10_nvidia.json",
        &[
            "/usr/share/glvnd/egl_vendor.d/10_nvidia.json",
            "/etc/glvnd/egl_vendor.d/10_nvidia.json",
            "/run/opengl-driver/share/glvnd/egl_vendor.d/10_nvidia.json",
        ],
        &[
            ("/usr/share/glvnd/egl_vendor.d/10_nvidia.json", When::Always),
            ("/etc/glvnd/egl_vendor.d/10_nvidia.json", When::Over),
        ],
    )
    .naming(
        "libEGL_nvidia",
        Content::Manifest {
            soname: "libEGL_nvidia.so.0",
            generated: Some(
                r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libEGL_nvidia.so.0"}}"#,
            ),
        },
    ),
    platform(
        "share/egl/egl_external_platform.d/15_nvidia_gbm.json",
        &[
            "/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json",
            "/run/opengl-driver/share/egl/egl_external_platform.d/15_nvidia_gbm.json",
        ],
        &[("/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json", When::Always)],
        "libnvidia-egl-gbm",
        "libnvidia-egl-gbm.so.1",
        r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libnvidia-egl-gbm.so.1"}}"#,
    ),
    platform(
        "share/egl/egl_external_platform.d/10_nvidia_wayland.json",
        &[
            "/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json",
            "/run/opengl-driver/share/egl/egl_external_platform.d/10_nvidia_wayland.json",
        ],
        &[("/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json", When::Always)],
        "libnvidia-egl-wayland",
        "libnvidia-egl-wayland.so.1",
        r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libnvidia-egl-wayland.so.1"}}"#,
    ),
    platform(
        "share/egl/egl_external_platform.d/09_nvidia_wayland2.json",
        &[
            "/usr/share/egl/egl_external_platform.d/09_nvidia_wayland2.json",
            "/usr/share/egl/egl_external_platform.d/99_nvidia_wayland2.json",
            "/run/opengl-driver/share/egl/egl_external_platform.d/09_nvidia_wayland2.json",
        ],
        &[("/usr/share/egl/egl_external_platform.d/09_nvidia_wayland2.json", When::Always)],
        "libnvidia-egl-wayland2",
        "libnvidia-egl-wayland2.so.1",
        r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libnvidia-egl-wayland2.so.1"}}"#,
    ),
    platform(
        "share/egl/egl_external_platform.d/20_nvidia_xcb.json",
        &[
            "/usr/share/egl/egl_external_platform.d/20_nvidia_xcb.json",
            "/run/opengl-driver/share/egl/egl_external_platform.d/20_nvidia_xcb.json",
        ],
        &[("/usr/share/egl/egl_external_platform.d/20_nvidia_xcb.json", When::Always)],
        "libnvidia-egl-xcb",
        "libnvidia-egl-xcb.so.1",
        r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libnvidia-egl-xcb.so.1"}}"#,
    ),
    platform(
        "share/egl/egl_external_platform.d/20_nvidia_xlib.json",
        &[
            "/usr/share/egl/egl_external_platform.d/20_nvidia_xlib.json",
            "/run/opengl-driver/share/egl/egl_external_platform.d/20_nvidia_xlib.json",
        ],
        &[("/usr/share/egl/egl_external_platform.d/20_nvidia_xlib.json", When::Always)],
        "libnvidia-egl-xlib",
        "libnvidia-egl-xlib.so.1",
        r#"{"file_format_version":"1.0.0","ICD":{"library_path":"libnvidia-egl-xlib.so.1"}}"#,
    ),
    file(
        Compute,
        "share/OpenCL/vendors/nvidia.icd",
        &["/etc/OpenCL/vendors/nvidia.icd", "/run/opengl-driver/etc/OpenCL/vendors/nvidia.icd"],
        &[("/etc/OpenCL/vendors/nvidia.icd", When::Always)],
    )
    .naming("libnvidia-opencl", Content::Line("libnvidia-opencl.so.1")),
    file(
        Graphics,
        "share/nvidia/nvoptix.bin",
        &[
            "/usr/share/nvidia/nvoptix.bin",
            "/usr/lib/{triplet}/nvidia/current/nvoptix.bin",
            "/run/opengl-driver/share/nvidia/nvoptix.bin",
        ],
        &[("/usr/share/nvidia/nvoptix.bin", When::Always)],
    )
    .naming("libnvoptix", Content::AsIs),
    // The driver looks for the name with its version, and then for the one without.
    file(
        Graphics,
        "share/nvidia/nvidia-application-profiles-rc",
        &[
            "/usr/share/nvidia/nvidia-application-profiles-{version}-rc",
            "/usr/share/nvidia/nvidia-application-profiles-rc",
            "/run/opengl-driver/share/nvidia/nvidia-application-profiles-{version}-rc",
        ],
        &[("/usr/share/nvidia/nvidia-application-profiles-rc", When::Always)],
    ),
    file(
        Graphics,
        "share/nvidia/nvidia-application-profiles-key-documentation",
        &[
            "/usr/share/nvidia/nvidia-application-profiles-{version}-key-documentation",
            "/usr/share/nvidia/nvidia-application-profiles-key-documentation",
        ],
        &[],
    ),
    file(
        Ngx,
        "lib64/nvidia/wine/",
        &[
            "/usr/lib/{triplet}/nvidia/wine/*.dll",
            "/usr/lib/{triplet}/nvidia/current/nvidia/wine/*.dll",
            "/usr/lib64/nvidia/wine/*.dll",
            "/usr/lib/nvidia/wine/*.dll",
            "/run/opengl-driver/lib/nvidia/wine/*.dll",
            "/usr/local/nvidia/lib64/nvidia/wine/*.dll",
        ],
        &[],
    ),
    file(
        Utility,
        "firmware/nvidia/{version}/",
        &[
            "/lib/firmware/updates/nvidia/{version}/gsp*.bin",
            "/lib/firmware/nvidia/{version}/gsp*.bin",
            "/run/current-system/firmware/nvidia/{version}/gsp*.bin",
        ],
        &[],
    ),
    file(Compute, "etc/cufile.json", &["/etc/cufile.json"], &[("/etc/cufile.json", When::Always)]).of(Extra::Gds),
    file(
        Display,
        "xorg/drivers/nvidia_drv.so",
        &[
            "/usr/lib/xorg/modules/drivers/nvidia_drv.so",
            "/usr/lib64/xorg/modules/drivers/nvidia_drv.so",
            "/usr/lib/nvidia/current/nvidia_drv.so",
            "/usr/lib/x86_64-linux-gnu/nvidia/xorg/nvidia_drv.so",
        ],
        &[
            ("/usr/lib/xorg/modules/drivers/nvidia_drv.so", When::With("/usr/lib/xorg/modules")),
            ("/usr/lib64/xorg/modules/drivers/nvidia_drv.so", When::With("/usr/lib64/xorg/modules")),
        ],
    ),
    file(
        Display,
        "xorg/extensions/libglxserver_nvidia.so",
        &[
            "/usr/lib/xorg/modules/extensions/libglxserver_nvidia.so",
            "/usr/lib64/xorg/modules/extensions/libglxserver_nvidia.so",
            "/usr/lib/nvidia/xorg/libglxserver_nvidia.so",
            "/usr/lib64/nvidia/xorg/libglxserver_nvidia.so",
            "/usr/lib/nvidia/current/libglxserver_nvidia.so",
        ],
        &[
            (
                "/usr/lib/xorg/modules/extensions/libglxserver_nvidia.so",
                When::With("/usr/lib/xorg/modules"),
            ),
            (
                "/usr/lib64/xorg/modules/extensions/libglxserver_nvidia.so",
                When::With("/usr/lib64/xorg/modules"),
            ),
        ],
    ),
    file(
        Display,
        "share/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
        &[
            "/usr/share/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
            "/etc/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
            "/usr/share/X11/xorg.conf.d/10-nvidia.conf",
            "/etc/nvidia/nvidia-drm-outputclass.conf",
        ],
        &[(
            "/usr/share/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
            When::With("/usr/share/X11/xorg.conf.d"),
        )],
    ),
];

/// Well-known places of whole directories: the path, what it leads to below the view, and when.
pub const DIRECTORIES: &[(&str, &str, When)] = &[
    // Programs built by Nix ignore the ld.so.cache.
    ("/run/opengl-driver/lib", "lib64", When::With("/nix/store")),
    ("/run/opengl-driver/share", "share", When::With("/nix/store")),
    ("/run/opengl-driver-32/lib", "lib", When::With("/nix/store")),
    ("/lib/firmware/nvidia", "firmware/nvidia", When::With("/lib/firmware")),
    ("/run/nvidia-persistenced", "run/nvidia-persistenced", When::Always),
    ("/run/nvidia-fabricmanager", "run/nvidia-fabricmanager", When::Always),
    ("/usr/lib/wsl", "wsl", When::Always),
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
        let places: Vec<_> = DATA.iter().flat_map(|data| data.places).map(|(path, _)| path).collect();
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
            for path in data.host {
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
