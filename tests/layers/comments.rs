//! Comments fit their width: stable rustfmt leaves them as they are.

use std::fs;
use std::path::{Path, PathBuf};

/// In characters, the indentation among them. Code has 110, by `rustfmt.toml`.
const WIDTH: usize = 120;

#[test]
fn comments_are_no_wider_than_they_may_be() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut files = Vec::new();
    for folder in ["benches", "crates", "tests"] {
        collect(&project.join(folder), &mut files);
    }
    assert!(files.len() > 100, "only {} files", files.len());
    let wide: Vec<String> = files.iter().flat_map(|file| find_wide(file)).collect();
    assert!(wide.is_empty(), "wider than {WIDTH}:\n{}", wide.join("\n"));
}

/// The source files below a folder.
pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The places of comments that are too wide.
fn find_wide(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let is_wide = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > WIDTH;
    let lines = text.lines().enumerate().filter(|(_, line)| is_wide(line));
    lines.map(|(number, _)| format!("{}:{}", file.display(), number + 1)).collect()
}
