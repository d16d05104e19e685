//! `nvbind kube play`: turns what the pods of Kubernetes files ask for into annotations and variables, and becomes
//! podman.

use crate::driver::{HookOptions, Machine, UnitId};
use crate::failure::Failure;
use crate::free::Free;
use crate::launch::{self, PODMAN_FAILED};
use crate::messages::Messages;
use crate::output;
use crate::podman::kube_play::KubePlay;
use crate::podman::own::Runtime;
use crate::podman::{engine, hooks};
use crate::pods::{self, Documents};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::inventory::DeviceNode;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The file that is stdin.
const STDIN: &str = "-";

/// Kubernetes takes objects of about 1.5 MiB.
const MAX_SIZE: u64 = 16 << 20;

/// What podman downloads.
const URLS: [&str; 2] = ["http://", "https://"];

/// Why a file is not played.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("nvbind does not download {url}")]
    Url { url: String },
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} is larger than 16 MiB", file.display())]
    TooLarge { file: PathBuf },
    #[error("{} is not UTF-8", file.display())]
    NotText { file: PathBuf },
    #[error("cannot hand podman the changed file")]
    Memory(#[source] io::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Url { .. } | Error::TooLarge { .. } | Error::NotText { .. } => Exit::Request,
            Error::Read { .. } | Error::Memory(_) => Exit::Permission,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Url { url } => Some(format!("`curl -fsSL {url} | nvbind kube play -` does")),
            Error::Read { .. } | Error::TooLarge { .. } | Error::NotText { .. } | Error::Memory(_) => None,
        }
    }
}

/// Runs podman in place of this process.
pub(crate) fn play(arguments: Vec<OsString>, messages: Messages) -> Result<(), Failure> {
    start(arguments, messages).map_err(|failure| failure.with_code(PODMAN_FAILED))
}

fn start(arguments: Vec<OsString>, messages: Messages) -> Result<(), Failure> {
    let line = KubePlay::parse(arguments);
    let line = line.map_err(|error| launch::explain_arguments(error, "kube play"))?;
    launch::apply_messages(messages, &line.options.own);
    if line.options.own.help {
        return Ok(launch::print_help(&["kube", "play"])?);
    }
    let configuration = launch::load_configuration(&line.options.own)?;
    launch::require_user(&line.options.own)?;
    let runtime = Runtime::parse(configuration.settings.runtime.default_runtime.into())?;
    // `--down` finds pods only by their names, which stay.
    let files = if line.options.is_on("down") { Files::default() } else { Files::read(&line.files)? };
    let changed = change(&line, &files)?;
    if line.options.own.dry_run {
        return Ok(output::print(changed.unwrap_or_else(|| files.join()).as_bytes())?);
    }
    let given = match changed.or_else(|| files.has_stdin().then(|| files.join())) {
        Some(text) => vec![in_memory(&text).map_err(Error::Memory)?],
        None => line.files.clone(),
    };
    let arguments = line.podman_arguments(&runtime, &given);
    log::debug!("runs {}", launch::command(&arguments).to_string_lossy());
    Err(engine::become_podman(&arguments).into())
}

/// The text that podman is to have instead of the files; none where they ask for nothing that it does not understand.
/// Fails where a container would start without its GPUs, or not start for a reason that crun does not tell.
fn change(line: &KubePlay, files: &Files) -> Result<Option<String>, Failure> {
    let mut documents = Documents::default();
    for (file, text) in &files.0 {
        documents.add(&file.display().to_string(), text)?;
    }
    line.annotations().try_for_each(|(name, value)| documents.annotate(name, value))?;
    let is_to_change = documents.is_to_change();
    if !is_to_change && !documents.has_annotation() {
        return Ok(None);
    }
    let directories = engine::hooks_dirs(&line.options)?;
    let mut machine = directories.as_deref().map(open).transpose()?;
    let has_nvidias = directories.as_deref().is_some_and(hooks::has_nvidias);
    let is_counted = documents.asks_for_numbers();
    let nodes: Vec<(UnitId, DeviceNode)> = machine.iter().flat_map(Machine::nodes).collect();
    let replaced = || -> Vec<u32> {
        let filters: Vec<String> = documents.names().map(|name| format!("--filter=pod={name}")).collect();
        let of_pod = |filter: &String| engine::processes(&line.options, &["ps", "--format={{.Pid}}", filter]);
        filters.iter().filter(|_| line.options.is_on("replace")).flat_map(of_pod).collect()
    };
    let free = is_counted.then(|| Free::look(nodes.iter().map(|(_, node)| node), &replaced()));
    let is_busy = |node: &DeviceNode| free.as_ref().is_some_and(|free| !free.has(node));
    let busy = nodes.iter().filter(|(_, node)| is_busy(node)).map(|(id, _)| *id).collect();
    let (changes, given) = documents.share(machine.as_mut(), busy, has_nvidias)?;
    for asked in documents.requests(&changes)? {
        let Some(machine) = machine.as_ref().filter(|_| !line.options.own.dry_run) else { continue };
        let ready = machine.make_ready(asked.request, asked.keeps_groups);
        ready.map_err(|source| pods::Error::Driver { owner: asked.container, source })?;
    }
    // Until podman ends: then the containers run and can be seen.
    if let Some(free) = free.filter(|_| !line.options.own.dry_run) {
        free.keep(nodes.iter().filter(|(id, _)| given.contains(id)).map(|(_, node)| node));
    }
    Ok(is_to_change.then(|| documents.write(&changes)).transpose()?)
}

fn open(directories: &[PathBuf]) -> Result<Machine, Failure> {
    Ok(Machine::open(&HookOptions::from(engine::hook(directories)?))?)
}

/// The files of the command line, with what is in them.
#[derive(Debug, Default)]
struct Files(Vec<(PathBuf, String)>);

impl Files {
    fn read(files: &[OsString]) -> Result<Files, Error> {
        files
            .iter()
            .map(|file| read(file).map(|text| (PathBuf::from(file), text)))
            .collect::<Result<_, _>>()
            .map(Files)
    }

    /// Whether one of them is gone now that it is read.
    fn has_stdin(&self) -> bool {
        self.0.iter().any(|(file, _)| file == Path::new(STDIN))
    }

    /// All of them, as podman puts several together.
    fn join(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n---\n")
    }
}

fn read(name: &OsStr) -> Result<String, Error> {
    let file = PathBuf::from(name);
    if let Some(url) = name.to_str().filter(|name| URLS.iter().any(|start| name.starts_with(start))) {
        return Err(Error::Url { url: url.to_owned() });
    }
    let mut bytes = Vec::new();
    let read = if name == STDIN {
        io::stdin().lock().take(MAX_SIZE + 1).read_to_end(&mut bytes)
    } else {
        File::open(&file).and_then(|opened| opened.take(MAX_SIZE + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(source) => Err(Error::Read { file, source }),
        Ok(size) if size as u64 > MAX_SIZE => Err(Error::TooLarge { file }),
        Ok(_) => String::from_utf8(bytes).map_err(|_bytes| Error::NotText { file }),
    }
}

/// A file without a name, which lives as long as podman. Not stdin: podman reads that once and, with `--wait`, its file
/// twice; and it stays the terminal where podman asks which registry a short name is of.
fn in_memory(text: &str) -> io::Result<OsString> {
    let mut file = File::from(memfd_create(c"nvbind-kube", MFdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    let number = OwnedFd::from(file).into_raw_fd();
    Ok(format!("/proc/self/fd/{number}").into())
}
