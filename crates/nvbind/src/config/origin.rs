//! Where in a configuration file something stands, and what is wrong there.

use nvbind_core::settings::keys::{KEYS, Key, PROFILE_KEYS, PROFILES};
use std::fmt;
use std::path::{Path, PathBuf};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The character in the line, from 1.
    pub(crate) column: usize,
}

impl Origin {
    /// The place of the byte `at` of a file's text.
    pub(crate) fn new(file: &Path, text: &str, at: usize) -> Origin {
        let before = text.get(..at).unwrap_or(text);
        let (lines, last) = before.rsplit_once('\n').unwrap_or(("", before));
        let line = if before.contains('\n') { lines.matches('\n').count() + 2 } else { 1 };
        Origin { file: file.to_owned(), line, column: last.chars().count() + 1 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What to write in place of a key or a table that there is not.
pub(crate) fn nearest(table: &str, name: &str) -> String {
    let near = |word: &str| strsim::normalized_damerau_levenshtein(name, word);
    let is_here = |key: &Key| key.table == table;
    let tables =
        KEYS.iter().filter(|_key| table.is_empty()).map(|key| (near(key.table), format!("[{}]", key.table)));
    let profiles = table.is_empty().then(|| (near(PROFILES), format!("[{PROFILES}.NAME]")));
    let keys = KEYS.iter().map(|key| {
        // Of two that are as near, the one of the same table.
        let score = near(key.name) - if is_here(key) { 0.0 } else { 0.01 };
        (score, format!("{}.{}", key.table, key.name))
    });
    let best = tables.chain(profiles).chain(keys).max_by(|left, right| left.0.total_cmp(&right.0));
    match best {
        Some((score, text)) if score >= 0.5 => format!("did you mean {text}?"),
        _ => {
            let mut all: Vec<&str> = KEYS.iter().filter(|key| is_here(key)).map(|key| key.name).collect();
            if all.is_empty() {
                all.extend(KEYS.iter().map(|key| key.table));
                all.dedup();
                all.push(PROFILES);
            }
            format!("there are {}", all.join(", "))
        }
    }
}

/// The same for a key of a profile.
pub(super) fn nearest_of_profile(profile: &str, name: &str) -> String {
    let near = |word: &str| strsim::normalized_damerau_levenshtein(name, word);
    let names = || PROFILE_KEYS.iter().map(|key| key.name);
    match names().max_by(|left, right| near(left).total_cmp(&near(right))) {
        Some(best) if near(best) >= 0.5 => format!("did you mean {PROFILES}.{profile}.{best}?"),
        _ => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let text = "a\nbü c\n\nd";
        for (at, expected) in [(0, (1, 1)), (2, (2, 1)), (6, (2, 4)), (8, (3, 1)), (9, (4, 1)), (99, (4, 2))]
        {
            let Origin { line, column, .. } = Origin::new(Path::new("f"), text, at);
            assert_eq!((line, column), expected, "byte {at}");
        }
    }

    #[test]
    fn the_nearest_key_is_offered() {
        for (table, name, expected) in [
            ("runtime", "defualt_args", "did you mean runtime.default_args?"),
            ("runtime", "args", "there are default_runtime, default_args, environment"),
            ("gpu", "default_runtime", "did you mean runtime.default_runtime?"),
            ("", "gpus", "did you mean [gpu]?"),
            ("", "default_args", "did you mean runtime.default_args?"),
            ("", "x", "there are driver, runtime, gpu, security, profiles"),
            ("", "profile", "did you mean [profiles.NAME]?"),
        ] {
            assert_eq!(nearest(table, name), expected, "{table} {name}");
        }
        assert_eq!(nearest_of_profile("x", "volume"), "did you mean profiles.x.volumes?");
        assert!(nearest_of_profile("x", "y").starts_with("there are description, capabilities, isolate, "));
    }
}
