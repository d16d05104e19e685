//! Everything below a directory, as lines to compare.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Path, type and mode, owner, device number, and a hash of the content or the link's target; sorted.
pub(crate) fn of(directory: &Path) -> Vec<String> {
    below(directory).into_iter().map(|line| format!("{}/{line}", directory.display())).collect()
}

/// The same with paths from the directory, which may have another name at the next start.
pub(crate) fn below(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    add(directory, directory, &mut lines);
    lines.sort();
    lines
}

/// What is only in one of two listings, for a test's message; nothing when they are the same.
pub(crate) fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let lost = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    lost.chain(new).collect()
}

fn add(top: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if metadata.is_file() {
            let mut hasher = DefaultHasher::new();
            fs::read(&path).unwrap().hash(&mut hasher);
            format!("{} {:x}", metadata.len(), hasher.finish())
        } else {
            String::new()
        };
        let name = path.strip_prefix(top).unwrap().display();
        let (mode, device) = (metadata.mode(), metadata.rdev());
        let (user, group) = (metadata.uid(), metadata.gid());
        lines.push(format!("{name} {mode:o} {user}:{group} {device} {content}"));
        if metadata.is_dir() {
            add(top, &path, lines);
        }
    }
}
