//! What the programs are made of, for who looks for a component with a known fault: a bill of materials in CycloneDX's
//! JSON (version 1.5, <https://cyclonedx.org/docs/1.5/json/>), without a time or a serial number, so that the same
//! source gives the same.
use super::linked::{Metadata, Package};
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// `Cargo.lock`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The document, for this version of nvbind.
pub(super) fn of(project: &Path, version: &str) -> Result<String> {
    let path = project.join("Cargo.lock");
    let text = fs::read_to_string(&path).on("read", &path)?;
    let lock: Lock = toml::from_str(&text).map_err(|error| Error::failed(format!("Cargo.lock: {error}")))?;
    let sums = lock
        .package
        .into_iter()
        .filter_map(|package| Some(((package.name, package.version), package.checksum?)));
    let sums: BTreeMap<(String, String), String> = sums.collect();
    let metadata = Metadata::read(project)?;
    let crates = metadata.linked().into_iter().map(|package| component(package, &sums));
    let components: Vec<Value> = crates.chain([rust()?, glibc()?]).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": "nvbind", "name": "nvbind", "version": version,
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
        }},
        "components": components,
    });
    let text = serde_json::to_string_pretty(&document).map_err(|error| Error::failed(error.to_string()))?;
    Ok(format!("{text}\n"))
}

fn component(package: &Package, sums: &BTreeMap<(String, String), String>) -> Value {
    let Package { name, version, license, .. } = package;
    let url = format!("pkg:cargo/{name}@{version}");
    let mut component = Map::new();
    for (key, value) in
        [("type", "library"), ("bom-ref", &url), ("name", name), ("version", version), ("purl", &url)]
    {
        component.insert(key.to_owned(), value.into());
    }
    if let Some(license) = license {
        // Cargo still takes a slash for the OR of SPDX.
        let license = license.replace('/', " OR ");
        component.insert("licenses".to_owned(), json!([{"expression": license}]));
    }
    if let Some(sum) = sums.get(&(name.clone(), version.clone())) {
        component.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": sum}]));
    }
    component.into()
}

/// The standard library of the compiler.
fn rust() -> Result<Value> {
    let text = process::read(Command::new("rustc").args(["--version", "--verbose"]))?;
    let version = text.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or_default();
    Ok(json!({
        "type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": version,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }))
}

/// The C library, which is inside the hook.
fn glibc() -> Result<Value> {
    let text = process::read(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let version = text.trim().strip_prefix("glibc ").unwrap_or_default().to_owned();
    Ok(json!({
        "type": "library", "bom-ref": "glibc", "name": "glibc", "version": version,
        "licenses": [{"expression": "LGPL-2.1-or-later"}],
        "cpe": format!("cpe:2.3:a:gnu:glibc:{version}:*:*:*:*:*:*:*"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_that_is_linked_is_a_component_with_its_checksum() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let document: Value = serde_json::from_str(&of(&project, "1").unwrap()).unwrap();
        let components = document["components"].as_array().unwrap();
        let of_crates: Vec<&Value> =
            components.iter().filter(|component| component["purl"].is_string()).collect();
        assert_eq!(of_crates.len() + 2, components.len());
        for component in of_crates {
            assert_eq!(component["hashes"][0]["content"].as_str().map(str::len), Some(64), "{component}");
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        }
        let version = |name: &str| {
            let found = components.iter().find(|component| component["name"] == name).unwrap();
            found["version"].as_str().unwrap().to_owned()
        };
        assert!(version("rustix").starts_with("1."));
        assert!(version("glibc").starts_with("2."));
        assert!(!components.iter().any(|component| component["name"] == "proptest"));
    }
}
