//! Where in a configuration file something stands.

use std::fmt;
use std::path::{Path, PathBuf};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
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
}
