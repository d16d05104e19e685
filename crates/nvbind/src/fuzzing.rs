//! What fuzzing calls of what is private here.

use crate::podman::command_line::CommandLine;
use crate::yaml;
use std::ffi::OsString;

/// A file of Kubernetes: what is written is YAML, and stays as it is.
///
/// # Panics
/// When it does not.
#[expect(clippy::unwrap_used, reason = "a panic is a finding")]
pub fn kubernetes(text: &str) {
    if let Ok(documents) = yaml::read(text) {
        let written = yaml::write(&documents);
        let again = yaml::write(&yaml::read(&written).unwrap());
        assert_eq!(again, written);
    }
}

/// The arguments after `nvbind run`: what is printed of them is read in the same way.
///
/// # Panics
/// When it is not.
#[expect(clippy::unwrap_used, reason = "a panic is a finding")]
pub fn command_line(arguments: Vec<OsString>) {
    let Ok(line) = CommandLine::parse(arguments) else { return };
    let printed = print(&line);
    assert_eq!(print(&CommandLine::parse(printed.clone()).unwrap()), printed);
}

fn print(line: &CommandLine) -> Vec<OsString> {
    let options = line.options.groups().flat_map(|group| group.arguments().collect::<Vec<_>>());
    options.chain(line.container.arguments()).collect()
}
