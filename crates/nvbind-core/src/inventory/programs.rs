//! The driver's programs.

use crate::capability::Capabilities;
use crate::catalogue::{PROGRAMS, Program};
use crate::host::Tree;

/// A program that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFile {
    /// Its row in the catalogue.
    pub program: &'static Program,
    /// Path inside the driver root, without links.
    pub host: String,
}

/// The programs for these capabilities, each from the first of the directories that has it.
pub(super) fn read(files: &Tree, wanted: Capabilities, directories: &[&str]) -> Vec<ProgramFile> {
    let find = |program: &'static Program| {
        directories.iter().find_map(|directory| {
            let (_file, host) = files.resolved_file(&format!("{directory}/{}", program.name)).ok()?;
            Some(ProgramFile { program, host })
        })
    };
    let rows = PROGRAMS.iter().filter(|program| program.capabilities.intersects(wanted));
    rows.filter_map(find).collect()
}
