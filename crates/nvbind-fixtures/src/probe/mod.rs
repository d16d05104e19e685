//! The questions that `nvbind-probe` asks in a container, and its answers.
mod devices;
mod libraries;
mod sockets;
mod table;
mod view;

pub use devices::Device;
pub use libraries::{Library, load};
use serde::Serialize;
pub use sockets::Socket;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
pub use view::View;

/// Where nvbind puts the driver.
const VIEWS: &[&str] = &["/usr/local/nvidia", "/run/nvbind", "/dev/nvbind"];

/// What to look at, and what is expected; an empty list: whatever is found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Question {
    view: Option<PathBuf>,
    devices: Vec<Expected>,
    libraries: Vec<Expected>,
    sockets: Vec<Expected>,
}

/// A name and the result that it should have, if one was said.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    name: String,
    result: Option<String>,
}

impl Question {
    /// From the command line; also whether a table is wanted.
    pub fn parse(arguments: &[&str]) -> Result<(Self, bool), String> {
        let mut question = Self::default();
        let mut table = false;
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            if *option == "--table" {
                table = true;
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{option}: unknown, or its value is missing"))?;
            match *option {
                "--view" => question.view = Some(value.into()),
                "--device" => question.devices.push(Expected::parse(value)),
                "--library" => question.libraries.push(Expected::parse(value)),
                "--socket" => question.sockets.push(Expected::parse(value)),
                _ => return Err(format!("{option}: unknown option")),
            }
        }
        Ok((question, table))
    }

    /// With these libraries, between spaces, if none was named: where each takes long to load.
    #[must_use]
    pub fn or_libraries(mut self, names: &str) -> Self {
        if self.libraries.is_empty() {
            self.libraries = names.split_whitespace().map(|name| Expected::any(name.to_owned())).collect();
        }
        self
    }

    pub fn ask(&self) -> Report {
        let path = self
            .view
            .clone()
            .or_else(|| VIEWS.iter().map(PathBuf::from).find(|dir| dir.join("lib64").is_dir()));
        let mut unexpected = Vec::new();
        // First of all: loading a driver library as root can make device nodes.
        let devices = devices::look(&self.devices, &mut unexpected);
        let view = path.as_deref().map(|path| view::look(path, &mut unexpected));
        if view.is_none() && self.libraries.is_empty() {
            unexpected.push(format!("no driver view: neither {}", VIEWS.join("/lib64 nor ") + "/lib64"));
        }
        let libraries = libraries::look(path.as_deref(), &self.libraries, &mut unexpected);
        let sockets = sockets::look(&self.sockets, &mut unexpected);
        Report {
            arguments: std::env::args_os().map(lossy).collect(),
            directory: std::env::current_dir().map(|path| lossy(path.into())).unwrap_or_default(),
            devices,
            libraries,
            sockets,
            view,
            mounts: view::places(),
            env: std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect(),
            unexpected,
        }
    }
}

impl Expected {
    fn parse(text: &str) -> Self {
        let (name, result) = match text.split_once('=') {
            Some((name, result)) => (name, Some(result.to_owned())),
            None => (text, None),
        };
        Self { name: name.into(), result }
    }

    fn any(name: String) -> Self {
        Self { name, result: None }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it was called with, its own name first.
    pub arguments: Vec<String>,
    /// The working directory.
    pub directory: String,
    pub devices: Vec<Device>,
    pub libraries: Vec<Library>,
    pub sockets: Vec<Socket>,
    /// The driver view, if there is one.
    pub view: Option<View>,
    /// Every mount: its directory on the file system that it is of, and its place.
    pub mounts: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// What was not as expected, a sentence each.
    pub unexpected: Vec<String>,
}

impl Report {
    pub fn json(&self) -> String {
        // Only strings, numbers and lists: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub fn table(&self) -> String {
        table::render(self)
    }
}

fn lossy(text: std::ffi::OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// The names of the files in a directory, sorted; none if it cannot be read.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| lossy(entry.file_name()))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_follows_an_equals_sign() {
        let (question, table) =
            Question::parse(&["--table", "--device", "/dev/nvidia0=EPERM", "--library", "libcuda.so.1"])
                .unwrap();
        assert!(table);
        assert_eq!(
            question,
            Question {
                view: None,
                devices: vec![Expected { name: "/dev/nvidia0".into(), result: Some("EPERM".into()) }],
                libraries: vec![Expected::any("libcuda.so.1".into())],
                sockets: vec![],
            }
        );
    }

    #[test]
    fn libraries_of_the_command_line_come_before_those_of_the_environment() {
        let of =
            |arguments: &[&str]| Question::parse(arguments).unwrap().0.or_libraries("a.so b.so").libraries;
        assert_eq!(of(&["--library", "c.so"]), [Expected::any("c.so".into())]);
        assert_eq!(of(&[]), ["a.so", "b.so"].map(|name| Expected::any(name.into())));
    }

    #[test]
    fn an_option_that_it_does_not_know_is_refused() {
        assert_eq!(
            Question::parse(&["--devcie", "/dev/nvidia0"]),
            Err("--devcie: unknown option".to_owned())
        );
    }
}
