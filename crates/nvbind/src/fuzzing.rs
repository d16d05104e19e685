//! What fuzzing calls of what is private here.

use crate::podman::asked::Caller;
use crate::podman::command_line::CommandLine;
use crate::podman::{mistakes, nested};
use crate::pods::Documents;
use crate::yaml;
use std::ffi::OsString;

/// A file of Kubernetes: what is written is YAML, and stays as it is. Its pods are read.
///
/// # Panics
/// When it does not.
#[expect(clippy::unwrap_used, reason = "a panic is a finding")]
pub fn kubernetes(text: &str) {
    if let Ok(documents) = yaml::read(text) {
        let written = yaml::write(&documents);
        let again = yaml::write(&yaml::read(&written).unwrap());
        assert_eq!(again, written);
        let _ = Documents::default().add("fuzz", text);
    }
}

/// The arguments after `nvbind run`: what is printed of them is read in the same way, and asks for the same.
///
/// # Panics
/// When it is not.
#[expect(clippy::unwrap_used, reason = "a panic is a finding")]
pub fn command_line(arguments: Vec<OsString>) {
    let Ok(line) = CommandLine::parse(arguments) else { return };
    let printed = print(&line);
    let again = CommandLine::parse(printed.clone()).unwrap();
    assert_eq!(print(&again), printed);
    let caller = Caller { variable: &|_name| Some("0,1".into()), file: &|_path| None };
    let asked = line.options.asked(caller);
    assert_eq!(again.options.asked(caller), asked);
    if let Ok(asked) = asked {
        let _ = mistakes::find(&line.options, &asked);
    }
    let words = line.container.command.iter().map(|word| word.to_string_lossy().into_owned());
    let _ = nested::find(&words.collect::<Vec<_>>());
}

fn print(line: &CommandLine) -> Vec<OsString> {
    let options = line.options.groups().flat_map(|group| group.arguments().collect::<Vec<_>>());
    options.chain(line.container.arguments()).collect()
}
