//! The simulated driver's data files: what the loaders of Vulkan, EGL and OpenCL, the X server, OptiX and Wine read.
//!
//! Formats: the Vulkan loader's driver and layer interfaces, libglvnd's and the EGL external platforms' manifests, the
//! ICD files of cl_khr_icd, xorg.conf(5), and the appendix on application profiles of the driver's README.
use super::catalog::WINE;
use super::layout::{Layout, Width, alternative, both_stages};
use serde_json::{Value, json};

/// The version of Vulkan that the manifests state.
const VULKAN: &str = "1.4.303";

/// Manifests of one library each, besides Vulkan's: the directory below the shared data, the name, the library.
const MANIFESTS: &[(&str, &str, &str)] = &[
    ("glvnd/egl_vendor.d", "10_nvidia.json", "libEGL_nvidia.so.0"),
    ("egl/egl_external_platform.d", "09_nvidia_wayland2.json", "libnvidia-egl-wayland2.so.1"),
    ("egl/egl_external_platform.d", "10_nvidia_wayland.json", "libnvidia-egl-wayland.so.1"),
    ("egl/egl_external_platform.d", "15_nvidia_gbm.json", "libnvidia-egl-gbm.so.1"),
    ("egl/egl_external_platform.d", "20_nvidia_xcb.json", "libnvidia-egl-xcb.so.1"),
    ("egl/egl_external_platform.d", "20_nvidia_xlib.json", "libnvidia-egl-xlib.so.1"),
];

const VULKAN_LIBRARY: &str = "libGLX_nvidia.so.0";

const OUTPUT_CLASS: &str = "# simulated\n\
    Section \"OutputClass\"\n    \
        Identifier \"nvidia\"\n    \
        MatchDriver \"nvidia-drm\"\n    \
        Driver \"nvidia\"\n\
    EndSection\n";

/// A file, with the links that lead to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) path: String,
    /// What is in it.
    pub(super) content: String,
    /// Paths and targets of links.
    pub(super) links: Vec<(String, String)>,
}

impl Data {
    fn new(path: String, content: impl Into<String>) -> Self {
        Self { path, content: content.into(), links: Vec::new() }
    }
}

/// Which manifests a distribution ships, and how they name their libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manifests {
    /// None: whoever uses the driver writes them.
    None,
    /// One for programs of all word sizes, by the soname.
    Sonames,
    /// Vulkan's one for each word size with the library's path, the others by the soname.
    VulkanPaths,
    /// All for each word size, with the library's path.
    Paths,
}

impl Manifests {
    fn of(layout: Layout) -> Self {
        match layout {
            Layout::DebianAlternatives | Layout::Multiarch | Layout::Lib => Self::Sonames,
            Layout::Lib64 => Self::VulkanPaths,
            Layout::Nix => Self::Paths,
            Layout::LocalNvidia => Self::None,
        }
    }
}

/// All of them, of a driver of `version`.
pub(super) fn files(layout: Layout, version: &str) -> Vec<Data> {
    let mut files = manifests(layout, version);
    files.push(opencl(layout));
    files.extend(profiles(layout, version));
    files.push(optix(layout));
    files.extend(output_class(layout));
    let own = layout.own_files();
    files.extend(WINE.iter().map(|name| Data::new(format!("{own}/nvidia/wine/{name}"), "MZ simulated\n")));
    files
}

fn manifests(layout: Layout, version: &str) -> Vec<Data> {
    let mut files = Vec::new();
    let by_path = |width, name: &str| format!("/{}/{name}", layout.libraries(width));
    match Manifests::of(layout) {
        Manifests::None => {}
        Manifests::Sonames => {
            files.extend(plain(layout, Width::W64, str::to_owned));
            files.push(icd(layout, Width::W64, "nvidia_icd.json", vulkan_driver(VULKAN_LIBRARY)));
            files.push(layers(layout, VULKAN_LIBRARY, version));
        }
        Manifests::VulkanPaths => {
            files.extend(plain(layout, Width::W64, str::to_owned));
            files.extend(Width::ALL.iter().map(|width| icd_by_path(layout, *width)));
            files.push(layers(layout, VULKAN_LIBRARY, version));
        }
        Manifests::Paths => {
            for width in Width::ALL {
                files.extend(plain(layout, *width, |library| by_path(*width, library)));
                files.push(icd_by_path(layout, *width));
            }
            files.push(layers(layout, &by_path(Width::W64, VULKAN_LIBRARY), version));
        }
    }
    files
}

/// [`MANIFESTS`], with what `library_path` makes of a soname.
fn plain(layout: Layout, width: Width, library_path: impl Fn(&str) -> String) -> Vec<Data> {
    let data = layout.shared_data(width);
    MANIFESTS
        .iter()
        .map(|(folder, name, library)| {
            let content =
                json!({"file_format_version": "1.0.0", "ICD": {"library_path": library_path(library)}});
            Data::new(format!("{data}/{folder}/{name}"), text(&content))
        })
        .collect()
}

fn vulkan_driver(library_path: &str) -> Value {
    json!({"file_format_version": "1.0.1", "ICD": {"library_path": library_path, "api_version": VULKAN}})
}

fn icd(layout: Layout, width: Width, name: &str, content: Value) -> Data {
    Data::new(format!("{}/icd.d/{name}", vulkan(layout, width)), text(&content))
}

/// The loader passes over a driver whose `library_arch` is not its own.
fn icd_by_path(layout: Layout, width: Width) -> Data {
    let (machine, bits) = match width {
        Width::W64 => (std::env::consts::ARCH, "64"),
        Width::W32 => ("i686", "32"),
    };
    let mut content = vulkan_driver(&format!("/{}/{VULKAN_LIBRARY}", layout.libraries(width)));
    if let Some(driver) = content.get_mut("ICD").and_then(Value::as_object_mut) {
        driver.insert("library_arch".into(), bits.into());
    }
    icd(layout, width, &format!("nvidia_icd.{machine}.json"), content)
}

/// Vulkan's layers for 64-bit programs, or for all where the library has no path.
fn layers(layout: Layout, library_path: &str, version: &str) -> Data {
    let layer = |name: &str, library_path: &str, switch: &str| {
        json!({
            "name": name,
            "type": "INSTANCE",
            "library_path": library_path,
            "api_version": VULKAN,
            "implementation_version": "1",
            "description": "simulated",
            "enable_environment": {switch: "1"},
            "disable_environment": {format!("DISABLE_{name}"): "1"},
        })
    };
    let present = library_path.replace(VULKAN_LIBRARY, &format!("libnvidia-present.so.{version}"));
    let content = json!({
        "file_format_version": "1.0.1",
        "layers": [
            layer("VK_LAYER_NV_optimus", library_path, "__NV_PRIME_RENDER_OFFLOAD"),
            layer("VK_LAYER_NV_present", &present, "NVPRESENT_ENABLE_SMOOTH_MOTION"),
        ],
    });
    Data::new(format!("{}/implicit_layer.d/nvidia_layers.json", vulkan(layout, Width::W64)), text(&content))
}

/// NVIDIA's installer writes to /etc, packages to the shared data.
fn vulkan(layout: Layout, width: Width) -> String {
    match layout {
        Layout::Multiarch => format!("{}/vulkan", layout.configuration()),
        Layout::DebianAlternatives | Layout::Lib64 | Layout::Lib | Layout::Nix | Layout::LocalNvidia => {
            format!("{}/vulkan", layout.shared_data(width))
        }
    }
}

fn opencl(layout: Layout) -> Data {
    let library = "libnvidia-opencl.so.1";
    let content = match Manifests::of(layout) {
        Manifests::Paths => format!("/{}/{library}\n", layout.libraries(Width::W64)),
        Manifests::None | Manifests::Sonames | Manifests::VulkanPaths => format!("{library}\n"),
    };
    Data::new(format!("{}/OpenCL/vendors/nvidia.icd", layout.configuration()), content)
}

fn profiles(layout: Layout, version: &str) -> [Data; 2] {
    let folder = format!("{}/nvidia", layout.shared_data(Width::W64));
    let name = format!("nvidia-application-profiles-{version}");
    let rules = json!({
        "rules": [{"pattern": {"feature": "procname", "matches": "simulated"}, "profile": "Simulated"}],
        "profiles": [{"name": "Simulated", "settings": [{"key": "GLThreadedOptimizations", "value": false}]}],
    });
    let keys = json!({"registry_keys": [
        {"key": "GLThreadedOptimizations", "description": "simulated", "type": "boolean"},
        {"key": "EGLVisibleDGPUDevices", "description": "simulated", "type": "integer"},
    ]});
    let rules = Data::new(format!("{folder}/{name}-rc"), text(&rules));
    let mut keys = Data::new(format!("{folder}/{name}-key-documentation"), text(&keys));
    if layout == Layout::DebianAlternatives {
        let public = "nvidia-application-profiles-key-documentation";
        keys.links = alternative("nvidia", &format!("{folder}/{public}"), public, &keys.path);
    }
    [rules, keys]
}

fn optix(layout: Layout) -> Data {
    let name = "nvoptix.bin";
    let public = format!("{}/nvidia/{name}", layout.shared_data(Width::W64));
    let content = "simulated OptiX data\n";
    if layout != Layout::DebianAlternatives {
        return Data::new(public, content);
    }
    let path = format!("{}/{name}", layout.own_files());
    Data { links: alternative("nvidia", &public, name, &path), ..Data::new(path, content) }
}

/// Where nothing of an X server is configured by files, there is none.
fn output_class(layout: Layout) -> Option<Data> {
    let name = match layout {
        Layout::DebianAlternatives => "nvidia-drm-outputclass.conf",
        Layout::Multiarch | Layout::Lib64 => "10-nvidia.conf",
        Layout::Lib => "10-nvidia-drm-outputclass.conf",
        Layout::Nix | Layout::LocalNvidia => return None,
    };
    let public = format!("{}/X11/xorg.conf.d/{name}", layout.shared_data(Width::W64));
    if layout != Layout::DebianAlternatives {
        return Some(Data::new(public, OUTPUT_CLASS));
    }
    let path = format!("etc/nvidia/current/{name}");
    let links = both_stages(&public, &format!("etc/nvidia/{name}"), &path);
    Some(Data { links, ..Data::new(path, OUTPUT_CLASS) })
}

fn text(content: &Value) -> String {
    format!("{content:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(layout: Layout, end: &str) -> Option<String> {
        files(layout, "570.1").into_iter().find(|data| data.path.ends_with(end)).map(|data| data.content)
    }

    fn library_path(layout: Layout, end: &str) -> Option<String> {
        let manifest: Value = serde_json::from_str(&content(layout, end)?).unwrap();
        Some(manifest.pointer("/ICD/library_path")?.as_str()?.to_owned())
    }

    #[test]
    fn no_two_files_of_a_layout_have_one_path() {
        for (name, layout) in Layout::ALL {
            let mut paths: Vec<String> = files(*layout, "570.1").into_iter().map(|data| data.path).collect();
            let count = paths.len();
            paths.sort_unstable();
            paths.dedup();
            assert_eq!(paths.len(), count, "{name}");
        }
    }

    #[test]
    fn a_debian_manifest_names_the_soname() {
        let path = library_path(Layout::DebianAlternatives, "usr/share/vulkan/icd.d/nvidia_icd.json");
        assert_eq!(path.as_deref(), Some("libGLX_nvidia.so.0"));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_manifests_of_rpms_name_a_path_for_each_word_size() {
        let path = |name| library_path(Layout::Lib64, name);
        assert_eq!(path("nvidia_icd.x86_64.json").as_deref(), Some("/usr/lib64/libGLX_nvidia.so.0"));
        assert_eq!(path("nvidia_icd.i686.json").as_deref(), Some("/usr/lib/libGLX_nvidia.so.0"));
        assert_eq!(path("nvidia_icd.json"), None);
        let narrow = content(Layout::Lib64, "nvidia_icd.i686.json").unwrap();
        assert!(narrow.contains("\"library_arch\": \"32\""), "{narrow}");
    }

    #[test]
    fn a_nix_manifest_names_a_store_path() {
        let path = library_path(Layout::Nix, "egl_vendor.d/10_nvidia.json").unwrap();
        assert!(path.starts_with("/nix/store/") && path.ends_with("/lib/libEGL_nvidia.so.0"), "{path}");
    }

    #[test]
    fn a_driver_container_has_no_manifest_for_graphics() {
        let manifests = files(Layout::LocalNvidia, "570.1");
        assert!(!manifests.iter().any(|data| data.path.ends_with(".json")));
    }
}
