//! The driver's programs.

use crate::capability::Capabilities;
use crate::catalogue::{PROGRAMS, Program};
use crate::host::{self, Tree};

/// A program that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFile {
    /// Its row in the catalogue.
    pub program: &'static Program,
    /// Path inside the driver root, without links.
    pub host: String,
}

/// The programs for these capabilities, each from the first of the directories that has it.
pub(super) fn read(
    files: &Tree,
    wanted: Capabilities,
    directories: &[&str],
) -> Result<Vec<ProgramFile>, host::Error> {
    let find = |program: &'static Program| {
        let paths = directories.iter().map(|directory| format!("{directory}/{}", program.name));
        let mut files = paths.filter_map(|path| files.find_file(&path).transpose());
        files.next().map(|file| file.map(|(_file, host)| ProgramFile { program, host }))
    };
    let rows = PROGRAMS.iter().filter(|program| program.capabilities.intersects(wanted));
    rows.filter_map(find).collect()
}
