//! The licences of the crates that are linked into the programs: who passes the programs on has to pass these on, too.
use super::linked::Metadata;
use nvbind_fixtures::error::{Doing, Result};
use std::fs;
use std::path::Path;

/// How files with a licence, or with what belongs to one, are called.
const NAMES: &[&str] = &["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// The text: each crate with its version and its licences.
pub(super) fn of(project: &Path) -> Result<String> {
    let metadata = Metadata::read(project)?;
    let mut text = String::from("The crates that nvbind's programs are linked with, and their licences.\n");
    for package in metadata.linked() {
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
