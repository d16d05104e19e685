//! `nvbind kube play`: turns what the pods of Kubernetes files ask for into annotations and variables, and becomes podman.

use super::run::{self, PODMAN_FAILED};
use crate::config::{self, Configuration};
use crate::driver::{self, Machine, Place};
use crate::failure::Failure;
use crate::kube::{self, Documents};
use crate::messages::Messages;
use crate::output;
use crate::podman::engine::{self, NotStarted};
use crate::podman::kube_play::KubePlay;
use crate::podman::{command_line, containers_conf, hooks};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nvbind_core::failure::Explain as _;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The file that is stdin.
const STDIN: &str = "-";

/// The largest file: Kubernetes takes objects of about 1.5 MiB.
const LIMIT: u64 = 16 << 20;

/// What podman downloads.
const URLS: [&str; 2] = ["http://", "https://"];

/// Why no pod was started.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    CommandLine(#[from] command_line::Error),
    #[error(transparent)]
    Configuration(#[from] config::Error),
    #[error(transparent)]
    Caller(#[from] run::Caller),
    #[error("nvbind does not download {url}")]
    Url { url: String },
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} is larger than 16 MiB", file.display())]
    TooLarge { file: PathBuf },
    #[error("{} is not UTF-8", file.display())]
    NotText { file: PathBuf },
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Podmans(#[from] containers_conf::Error),
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    #[error(transparent)]
    Driver(#[from] driver::Error),
    #[error("cannot hand podman the changed file")]
    Memory(#[source] io::Error),
    #[error(transparent)]
    Podman(NotStarted),
    #[error(transparent)]
    Output(#[from] output::Error),
}

impl Error {
    fn hint(&self) -> Option<String> {
        match self {
            Error::CommandLine(_) => Some("see `nvbind kube play --help`".into()),
            Error::Configuration(error) => error.hint(),
            Error::Caller(error) => error.hint(),
            Error::Url { url } => Some(format!("`curl -fsSL {url} | nvbind kube play -` does")),
            Error::Kube(error) => error.hint(),
            Error::Hook(error) => error.hint(),
            Error::Driver(error) => error.hint(),
            Error::Podman(error) => error.hint(),
            Error::Read { .. }
            | Error::TooLarge { .. }
            | Error::NotText { .. }
            | Error::Podmans(_)
            | Error::Memory(_)
            | Error::Output(_) => None,
        }
    }
}

/// Runs podman in place of this process.
pub(crate) fn play(words: Vec<OsString>, messages: Messages) -> Result<(), Failure> {
    start(words, messages).map_err(|error| {
        let hint = error.hint();
        Failure::new(error, PODMAN_FAILED).hint(hint)
    })
}

fn start(words: Vec<OsString>, messages: Messages) -> Result<(), Error> {
    let line = KubePlay::parse(words)?;
    Messages { verbose: messages.verbose || line.verbose, color: line.color.unwrap_or(messages.color) }
        .apply();
    if line.help {
        return Ok(run::help(&["kube", "play"])?);
    }
    let configuration = Configuration::load(&config::layers(line.config.as_deref()))?;
    run::may_start(&configuration, line.rootless)?;
    let runtime = configuration.settings.runtime.default_runtime.into();
    // It tells pods by their names alone, which stay.
    let files = if line.down { Files::default() } else { Files::read(&line.files)? };
    let changed = changed(&line, &files)?;
    if line.dry_run {
        return Ok(output::print(changed.unwrap_or_else(|| files.whole()).as_bytes())?);
    }
    let given = match changed.or_else(|| files.has_stdin().then(|| files.whole())) {
        Some(text) => vec![in_memory(&text).map_err(Error::Memory)?],
        None => line.files.clone(),
    };
    let arguments = line.podman_arguments(Some(runtime), &given)?;
    log::debug!("runs {}", run::command(&arguments).to_string_lossy());
    Err(Error::Podman(engine::become_podman(&arguments)))
}

/// The text that podman is to have instead of the files; none where they ask for nothing that it does not understand. Fails
/// where a container would start without its GPUs, or not start for a reason that crun does not tell.
fn changed(line: &KubePlay, files: &Files) -> Result<Option<String>, Error> {
    let mut documents = Documents::default();
    for (file, text) in &files.0 {
        documents.add(&file.display().to_string(), text)?;
    }
    line.annotations.iter().for_each(|(name, value)| documents.annotate(name, value));
    let is_to_change = documents.is_to_change();
    if !is_to_change && !documents.has_annotation() {
        return Ok(None);
    }
    let directories = engine::hooks_dirs(line.remote, &line.modules, &line.hooks_dirs)?;
    let mut machine = directories.as_deref().map(opened).transpose()?;
    let has_nvidias = directories.as_deref().is_some_and(hooks::has_nvidias);
    let changes = documents.share(machine.as_mut(), has_nvidias)?;
    for asked in documents.requests(&changes)? {
        let Some(machine) = machine.as_ref().filter(|_| !line.dry_run) else { continue };
        let ready = machine.make_ready(asked.request, asked.keeps_groups);
        ready.map_err(|source| kube::Error::Driver { owner: asked.container, source })?;
    }
    Ok(is_to_change.then(|| documents.changed(&changes)).transpose()?)
}

fn opened(directories: &[PathBuf]) -> Result<Machine, Error> {
    Ok(Machine::open(&Place::from(engine::hook(directories)?))?)
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
    fn whole(&self) -> String {
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
        io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        File::open(&file).and_then(|opened| opened.take(LIMIT + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(source) => Err(Error::Read { file, source }),
        Ok(size) if size as u64 > LIMIT => Err(Error::TooLarge { file }),
        Ok(_) => String::from_utf8(bytes).map_err(|_bytes| Error::NotText { file }),
    }
}

/// A file without a name, which lives as long as podman. Not stdin: podman reads that once and, with `--wait`, its file twice;
/// and it stays the terminal where podman asks which registry a short name is of.
fn in_memory(text: &str) -> io::Result<OsString> {
    let mut file = File::from(memfd_create(c"nvbind-kube", MFdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    let number = OwnedFd::from(file).into_raw_fd();
    Ok(format!("/proc/self/fd/{number}").into())
}
