//! `nvbind cdi`: the specifications by which engines are asked for GPUs as devices.

use super::{setup, to_json};
use crate::args;
use crate::cdi::{self, File, Kind, Registry, Serves, Specification, Verdict};
use crate::driver;
use crate::failure::Failure;
use crate::output;
use crate::podman::shell;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why `nvbind cdi` ends with an error.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Unfit(String),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Remove { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Error::Remove { .. } | Error::Unfit(_) => Exit::Request,
        }
    }
}

/// Does what the subcommand says.
pub(crate) fn cdi(command: &args::Cdi) -> Result<(), Failure> {
    match command {
        args::Cdi::Print { kind, hook, names } => print(*kind, hook.as_deref(), *names),
        args::Cdi::List => Ok(output::print(list(&Registry::read(Path::new("/"))).as_bytes())?),
        args::Cdi::Check => check(),
        args::Cdi::Remove => remove(),
    }
}

fn print(kind: Kind, hook: Option<&Path>, with_names: bool) -> Result<(), Failure> {
    let hook = match hook {
        Some(hook) => hook.to_owned(),
        None => setup::find_hook()?,
    };
    let names = if with_names { driver::device_names(None)? } else { Vec::new() };
    let hook = hook.display().to_string();
    let specification = Specification { kind, hook: &hook, options: &[], names: &names };
    Ok(output::print(to_json(&specification.document())?.as_bytes())?)
}

/// A line for each file: whose it is, its kind, how many devices it has, and how many of those engines take from it.
fn list(registry: &Registry) -> String {
    let mut text = String::new();
    for file in &registry.files {
        let whose = if file.hook.is_some() { "nvbind's" } else { "another's" };
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == file.kind);
        let serves = |name: &&String| kind.is_none_or(|kind| registry.find(kind, name) == Serves::File(file));
        // Into a String, which never fails.
        let _ = writeln!(
            text,
            "{}  {whose}  {}  {} of {} devices count",
            file.path.display(),
            file.kind,
            file.names.iter().filter(serves).count(),
            file.names.len()
        );
    }
    for (path, why) in &registry.unusable {
        let _ = writeln!(text, "{}  cannot be read: {why}", path.display());
    }
    if text.is_empty() {
        text.push_str("there are none: `nvbind setup --cdi` installs nvbind's\n");
    }
    text
}

/// Fails where an engine would not take nvbind's devices, or run another's that cannot work.
fn check() -> Result<(), Failure> {
    let registry = Registry::read(Path::new("/"));
    let mut broken = Vec::new();
    for finding in cdi::judge(&registry, Path::new("/")) {
        let remedy = shell::quote(finding.remedy.iter().map(OsStr::new));
        let text = match String::from_utf8_lossy(&remedy) {
            command if command.is_empty() => finding.text,
            command => format!("{}; as root: `{command}`", finding.text),
        };
        match finding.verdict {
            Verdict::Fine => output::print(format!("{text}\n").as_bytes())?,
            Verdict::Warning => log::warn!("{text}"),
            Verdict::Broken => broken.push(text),
        }
    }
    match broken.pop() {
        None => Ok(()),
        Some(last) => {
            broken.iter().for_each(|text| log::error!("{text}"));
            Err(Error::Unfit(last).into())
        }
    }
}

/// Removes nvbind's, and others' nothing.
fn remove() -> Result<(), Failure> {
    let registry = Registry::read(Path::new("/"));
    let is_nvbinds = |file: &&File| file.hook.is_some();
    let mut text = String::new();
    for File { path, .. } in registry.files.iter().filter(is_nvbinds) {
        fs::remove_file(path).map_err(|source| Error::Remove { path: path.clone(), source })?;
        let _ = writeln!(text, "removed {}", path.display());
    }
    Ok(output::print(text.as_bytes())?)
}
