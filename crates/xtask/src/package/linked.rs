//! The crates that are linked into the programs, as cargo knows them.
use crate::release;
use nvbind_fixtures::error::{Error, Result};
use nvbind_fixtures::process;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What `cargo metadata` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    source: Option<String>,
    pub(super) manifest_path: String,
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

impl Metadata {
    /// Of this machine's architecture.
    pub(super) fn read(project: &Path) -> Result<Self> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let words = ["metadata", "--locked", "--format-version=1", "--filter-platform", &target];
        let json = process::read(Command::new("cargo").args(words).current_dir(project))?;
        serde_json::from_str(&json).map_err(|error| Error::failed(format!("cargo metadata: {error}")))
    }

    /// The crates of others that the programs are made of, by name.
    pub(super) fn linked(&self) -> Vec<&Package> {
        let packages: BTreeMap<&str, &Package> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let is_ours = |package: &&Package| package.source.is_none();
        let programs =
            self.packages.iter().filter(|package| release::PROGRAMS.contains(&package.name.as_str()));
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
        let mut found: Vec<&Package> = seen
            .iter()
            .filter_map(|id| packages.get(id).copied())
            .filter(|package| !is_ours(package))
            .collect();
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        found
    }
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
        let names: Vec<&str> = metadata.linked().iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["both", "linked"]);
    }
}
