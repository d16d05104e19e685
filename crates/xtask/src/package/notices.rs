//! The licences of the crates that are linked into the programs: who passes the programs on has to pass these on, too.
use crate::release;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What `cargo metadata` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// None for those that are linked; `dev` and `build` are the others.
    kind: Option<String>,
}

/// How files with a licence, or with what belongs to one, are called.
const NAMES: &[&str] = &["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// The text: each crate with its version and its licences.
pub(super) fn of(project: &Path) -> Result<String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let words = ["metadata", "--locked", "--format-version=1", "--filter-platform", &target];
    let json = process::read(Command::new("cargo").args(words).current_dir(project))?;
    let metadata: Metadata =
        serde_json::from_str(&json).map_err(|error| Error::failed(format!("cargo metadata: {error}")))?;
    let mut text = String::from("The crates that nvbind's programs are linked with, and their licences.\n");
    for package in linked(&metadata) {
        let licence = package.license.as_deref().unwrap_or("a licence of its own");
        text.push_str(&format!("\n==== {} {}: {licence}\n", package.name, package.version));
        let folder = Path::new(&package.manifest_path).parent().unwrap_or(project);
        for file in licences(folder)? {
            text.push('\n');
            text.push_str(&file);
        }
    }
    Ok(text)
}

/// The crates of others that the programs are made of, by name.
fn linked(metadata: &Metadata) -> Vec<&Package> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let is_ours = |package: &&Package| package.source.is_none();
    let programs =
        metadata.packages.iter().filter(|package| release::PROGRAMS.contains(&package.name.as_str()));
    let mut left: Vec<&str> = programs.filter(is_ours).map(|package| package.id.as_str()).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let linked =
            dependencies.filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        left.extend(linked.map(|dependency| dependency.pkg.as_str()));
    }
    let mut found: Vec<&Package> =
        seen.iter().filter_map(|id| packages.get(id).copied()).filter(|package| !is_ours(package)).collect();
    found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    found
}

/// The texts in a crate's folder. Of a choice that includes it the MIT licence is taken, which is the one with names in
/// it.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).on("list", folder)? {
        let name = entry.on("list", folder)?.file_name().to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        if NAMES.iter().any(|start| lower.starts_with(start)) && folder.join(&name).is_file() {
            names.push(name);
        }
    }
    names.sort();
    if names.iter().any(|name| name.ends_with("-MIT")) {
        names.retain(|name| !name.to_lowercase().contains("apache"));
    }
    names.iter().map(|name| fs::read_to_string(folder.join(name)).on("read", &folder.join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds_or_tests_a_program_is_not_in_it() {
        let json = r#"{
            "packages": [
                {"id": "h", "name": "nvbind-hook", "version": "1", "license": "MIT", "source": null, "manifest_path": "/h/Cargo.toml"},
                {"id": "o", "name": "ours", "version": "1", "license": "MIT", "source": null, "manifest_path": "/o/Cargo.toml"},
                {"id": "x", "name": "xtask", "version": "1", "license": "MIT", "source": null, "manifest_path": "/x/Cargo.toml"},
                {"id": "l", "name": "linked", "version": "1", "license": "MIT", "source": "r", "manifest_path": "/l/Cargo.toml"},
                {"id": "b", "name": "both", "version": "1", "license": "MIT", "source": "r", "manifest_path": "/b/Cargo.toml"},
                {"id": "t", "name": "tests", "version": "1", "license": "MIT", "source": "r", "manifest_path": "/t/Cargo.toml"}
            ],
            "resolve": {"nodes": [
                {"id": "h", "deps": [
                    {"pkg": "o", "dep_kinds": [{"kind": null}]},
                    {"pkg": "t", "dep_kinds": [{"kind": "dev"}]}
                ]},
                {"id": "o", "deps": [
                    {"pkg": "l", "dep_kinds": [{"kind": null}]},
                    {"pkg": "b", "dep_kinds": [{"kind": "build"}, {"kind": null}]}
                ]},
                {"id": "x", "deps": [{"pkg": "t", "dep_kinds": [{"kind": null}]}]}
            ]}
        }"#;
        let metadata: Metadata = serde_json::from_str(json).unwrap();
        let names: Vec<&str> = linked(&metadata).iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["both", "linked"]);
    }

    #[test]
    fn of_two_licences_the_one_that_names_people_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["LICENSE-APACHE", "LICENSE-MIT", "COPYRIGHT", "Cargo.toml"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(licences(folder.path()).unwrap(), ["COPYRIGHT", "LICENSE-MIT"]);
        fs::remove_file(folder.path().join("LICENSE-MIT")).unwrap();
        assert_eq!(licences(folder.path()).unwrap(), ["COPYRIGHT", "LICENSE-APACHE"]);
    }
}
