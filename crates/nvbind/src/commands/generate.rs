//! `nvbind generate`: a command line of `nvbind run` as a file that starts the same container.

use crate::args::{self, Kind};
use crate::failure::Failure;
use crate::generate::{Generated, Start, pod, quadlet, systemd};
use crate::launch::{self, Counts};
use crate::output;
use crate::podman::command_line::{CommandLine, Verb};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::env;
use std::io;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("--dry-run is for `nvbind run`: here nothing is started anyway")]
    NothingToTry,
    #[error("cannot tell the current directory, which relative paths begin at")]
    Directory(#[source] io::Error),
    #[error("cannot tell where nvbind is")]
    Own(#[source] io::Error),
    /// The file's reader has another one, or none.
    #[error("the value of NVIDIA_VISIBLE_DEVICES is this shell's, and the file would be read elsewhere")]
    Inherited,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::NothingToTry | Error::Inherited => Exit::Request,
            Error::Directory(_) | Error::Own(_) => Exit::Permission,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Error::Inherited).then(|| "name the GPUs: `--gpu 0`".to_owned())
    }
}

/// Prints the file, and notes on what is not in it.
pub(crate) fn generate(options: &args::Generate) -> Result<(), Failure> {
    let line = CommandLine::parse(options.arguments.iter().cloned());
    let mut line = line.map_err(|error| launch::explain_arguments(error, "run"))?;
    if line.options.own.dry_run {
        return Err(Error::NothingToTry.into());
    }
    launch::configure(&mut line, Verb::Run)?;
    if line.options.inherits_gpus() {
        return Err(Error::Inherited.into());
    }
    let counts = match options.kind {
        Kind::Systemd => Counts::Keep,
        Kind::Quadlet | Kind::Kube => Counts::Refuse,
    };
    let invocation = launch::preview(&line, Verb::Run, counts)?;
    let directory = env::current_dir().map_err(Error::Directory)?;
    let start = Start::new(&invocation, &directory)?;
    let Generated { text, notes } = match options.kind {
        Kind::Quadlet => quadlet::render(&start)?,
        Kind::Systemd => {
            let own = env::current_exe().map_err(Error::Own)?;
            systemd::render(&start, &line, &own, &directory)?
        }
        Kind::Kube => pod::render(&start)?,
    };
    notes.iter().for_each(|note| log::warn!("{note}"));
    Ok(output::print(text.as_bytes())?)
}
