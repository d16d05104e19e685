//! The driver's data files, and the manifests as a container gets them.

use crate::capability::Capabilities;
use crate::catalogue::{Content, DATA, Data, Hosts};
use crate::extras::Extras;
use crate::host::{self, Found as _, Tree};
use serde_json::Value;

/// No manifest has more; the largest of NVIDIA's has 1 KiB.
const MANIFEST_LIMIT: u64 = 64 << 10;

/// A data file of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its row in the catalogue.
    pub data: &'static Data,
    /// Its path below the view.
    pub inside: String,
    /// What the container gets there.
    pub source: Source,
}

/// Where a data file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of the host: its path inside the driver root, without links.
    Host(String),
    /// A text of our own, and the host's file that it was made from, if there is one.
    Text {
        /// What the container reads there.
        text: String,
        /// Path inside the driver root.
        from: Option<String>,
    },
}

impl DataFile {
    /// The host's file that it is or was made from: path inside the driver root.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match &self.source {
            Source::Host(host) => Some(host),
            Source::Text { from, .. } => from.as_deref(),
        }
    }
}

/// The files for these capabilities and extras.
pub(super) fn read(
    files: &Tree,
    version: &str,
    wanted: Capabilities,
    extras: &Extras,
) -> Result<Vec<DataFile>, host::Error> {
    let rows = DATA.iter().filter(|data| data.capabilities().intersects(wanted));
    let rows = rows.filter(|data| data.extra.is_none_or(|extra| extras.has(extra)));
    let mut found = Vec::new();
    for data in rows {
        found.extend(find(files, version, data)?);
    }
    Ok(found)
}

fn find(files: &Tree, version: &str, data: &'static Data) -> Result<Vec<DataFile>, host::Error> {
    let with_version = |text: &str| text.replace("{version}", version);
    let inside = with_version(data.inside);
    let candidates = data.hosts.iter().flat_map(Hosts::paths);
    let mut found = candidates.map(|path| matches(files, &with_version(&path)));
    let is_some = |paths: &Result<Vec<String>, _>| !matches!(paths, Ok(paths) if paths.is_empty());
    let paths = found.find(is_some).transpose()?.unwrap_or_default();
    let from = paths.first();
    let text = match data.content {
        Content::AsIs if inside.ends_with('/') => {
            let file = |host: String| {
                let name = host.rsplit_once('/').map_or(host.as_str(), |(_, name)| name);
                DataFile { data, inside: format!("{inside}{name}"), source: Source::Host(host) }
            };
            return Ok(paths.into_iter().map(file).collect());
        }
        Content::AsIs => {
            let source = from.cloned().map(Source::Host);
            return Ok(source.map(|source| DataFile { data, inside, source }).into_iter().collect());
        }
        Content::Line(soname) => Some(format!("{soname}\n")),
        Content::Manifest { soname, generated } => {
            let host = match from {
                Some(path) => read_manifest(files, path, soname)?,
                None => None,
            };
            host.or_else(|| generated.map(str::to_owned))
        }
    };
    let file = |text| DataFile { data, inside, source: Source::Text { text, from: from.cloned() } };
    Ok(text.map(file).into_iter().collect())
}

/// A manifest of the host's as a container gets it; none, and a warning, for what is no manifest.
fn read_manifest(files: &Tree, path: &str, soname: &str) -> Result<Option<String>, host::Error> {
    let text = manifest(&files.read(path, MANIFEST_LIMIT)?, soname);
    if text.is_none() {
        log::warn!("{} is no usable manifest and left out", files.display(path));
    }
    Ok(text)
}

/// The regular files that a path of the catalogue stands for, without links.
fn matches(files: &Tree, path: &str) -> Result<Vec<String>, host::Error> {
    let resolved = |path: &str| {
        let file = files.find_file(path).transpose()?;
        Some(file.map(|(_file, real)| real))
    };
    let Some((before, after)) = path.split_once('*') else { return resolved(path).into_iter().collect() };
    let Some((directory, start)) = before.rsplit_once('/') else { return Ok(Vec::new()) };
    let mut names = files.names(directory).found()?.unwrap_or_default();
    let fits = |name: &String| {
        name.len() >= start.len() + after.len() && name.starts_with(start) && name.ends_with(after)
    };
    names.retain(fits);
    names.sort_unstable();
    names.iter().filter_map(|name| resolved(&format!("{directory}/{name}"))).collect()
}

/// A manifest of the Vulkan or EGL loader as a container gets it: libraries without a path of the host, and for
/// programs of any width. None for what is no such manifest.
pub(super) fn manifest(bytes: &[u8], soname: &str) -> Option<String> {
    let mut root: Value = serde_json::from_slice(bytes).ok()?;
    let root_object = root.as_object_mut()?;
    if let Some(driver) = root_object.get_mut("ICD") {
        let driver = driver.as_object_mut()?;
        // `library_arch` would keep the loader of the other width from a soname that serves both.
        driver.remove("library_arch");
        let named = driver.get("library_path").and_then(Value::as_str).map(file_name);
        let named = named.filter(|name| !name.is_empty()).unwrap_or(soname).to_owned();
        driver.insert("library_path".to_owned(), named.into());
        return Some(root.to_string());
    }
    let layers: Vec<&mut Value> = match root_object.get_mut("layers") {
        Some(layers) => layers.as_array_mut()?.iter_mut().collect(),
        None => root_object.get_mut("layer").into_iter().collect(),
    };
    if layers.is_empty() {
        return None;
    }
    for layer in layers {
        // A layer made of others names no library.
        if let Some(path) = layer.as_object_mut()?.get_mut("library_path") {
            *path = file_name(path.as_str()?).into();
        }
    }
    Some(root.to_string())
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Machine, VERSION};

    fn found(machine: &Machine, inside: &str) -> Option<Source> {
        let files = Tree::open(&machine.path("/")).unwrap();
        let mut data = read(&files, VERSION, Capabilities::ALL, &Extras::default()).unwrap().into_iter();
        data.find(|file| file.inside == inside).map(|file| file.source)
    }

    fn text(source: Option<Source>) -> Value {
        let Some(Source::Text { text, .. }) = source else { panic!("{source:?}") };
        serde_json::from_str(&text).unwrap()
    }

    const ICD: &str = "share/vulkan/icd.d/nvidia_icd.json";

    #[test]
    fn a_manifest_names_its_library_without_a_path() {
        for (given, library) in [
            (
                r#"{"ICD":{"library_path":"/usr/lib64/libGLX_nvidia.so.0","library_arch":"64"}}"#,
                "libGLX_nvidia.so.0",
            ),
            (r#"{"ICD":{"library_path":"libEGL_nvidia.so.0"}}"#, "libEGL_nvidia.so.0"),
            (r#"{"ICD":{"library_path":"/usr/lib/"}}"#, "libGLX_nvidia.so.0"),
            (r#"{"ICD":{"api_version":"1.4.303"}}"#, "libGLX_nvidia.so.0"),
            (r#"{"ICD":{"library_path":7}}"#, "libGLX_nvidia.so.0"),
        ] {
            let machine = Machine::new();
            machine.write("usr/share/vulkan/icd.d/nvidia_icd.x86_64.json", given);
            let icd = text(found(&machine, ICD));
            assert_eq!(icd["ICD"]["library_path"], library, "{given}");
            assert_eq!(icd["ICD"].get("library_arch"), None);
        }
    }

    #[test]
    fn what_a_manifest_says_besides_stays() {
        let machine = Machine::new();
        let given = r#"{"file_format_version":"1.0.1","ICD":{"library_path":"x.so","api_version":"1.4.303","new":[1]}}"#;
        machine.write("etc/vulkan/icd.d/nvidia_icd.json", given);
        assert_eq!(text(found(&machine, ICD)), serde_json::from_str::<Value>(given).unwrap());
    }

    #[test]
    fn a_missing_or_useless_manifest_is_generated_and_a_layer_s_is_not() {
        for given in [None, Some("not JSON"), Some("[]"), Some("{}"), Some(r#"{"ICD":"x"}"#)] {
            let machine = Machine::new();
            if let Some(given) = given {
                machine.write("usr/share/vulkan/icd.d/nvidia_icd.json", given);
                machine.write("usr/share/vulkan/implicit_layer.d/nvidia_layers.json", given);
            }
            assert_eq!(text(found(&machine, ICD))["ICD"]["library_path"], "libGLX_nvidia.so.0");
            assert_eq!(found(&machine, "share/vulkan/implicit_layer.d/nvidia_layers.json"), None);
        }
    }

    #[test]
    fn layers_are_rewritten_one_by_one() {
        let machine = Machine::new();
        let given = r#"{"layers":[{"name":"a","library_path":"/x/libGLX_nvidia.so.0"},{"name":"b","component_layers":[]}]}"#;
        machine.write("usr/share/vulkan/implicit_layer.d/nvidia_layers.json", given);
        let layers = text(found(&machine, "share/vulkan/implicit_layer.d/nvidia_layers.json"));
        assert_eq!(layers["layers"][0]["library_path"], "libGLX_nvidia.so.0");
        assert_eq!(layers["layers"][1]["name"], "b");
    }

    #[test]
    fn a_star_finds_all_files_and_links_are_followed_inside_the_root() {
        let machine = Machine::new();
        for name in ["nvngx.dll", "_nvngx.dll", "nvngx.txt"] {
            machine.write(&format!("usr/lib64/nvidia/wine/{name}"), "");
        }
        machine.write(&format!("opt/fw/nvidia/{VERSION}/gsp_ga10x.bin"), "");
        machine.link("/lib/firmware", "/opt/fw");
        let files = Tree::open(&machine.path("/")).unwrap();
        let hosts: Vec<(String, Source)> =
            read(&files, VERSION, Capabilities::parse("ngx,utility").0, &Extras::default())
                .unwrap()
                .into_iter()
                .map(|file| (file.inside, file.source))
                .collect();
        let host = |inside: &str, path: &str| (inside.to_owned(), Source::Host(path.to_owned()));
        let firmware = format!("nvidia/{VERSION}/gsp_ga10x.bin");
        assert_eq!(
            hosts,
            [
                host("lib64/nvidia/wine/_nvngx.dll", "/usr/lib64/nvidia/wine/_nvngx.dll"),
                host("lib64/nvidia/wine/nvngx.dll", "/usr/lib64/nvidia/wine/nvngx.dll"),
                host(&format!("firmware/{firmware}"), &format!("/opt/fw/{firmware}")),
            ]
        );
    }
}
