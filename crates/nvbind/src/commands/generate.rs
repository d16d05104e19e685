//! `nvbind generate`: a command line of `nvbind run` as a file that starts the same container.

use super::run;
use crate::args::{self, Kind};
use crate::failure::Failure;
use crate::generate::{self, Asked, Generated, kube, quadlet, systemd};
use crate::output;
use nvbind_core::exit::Exit;
use std::env;
use std::ffi::OsString;
use std::io;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Generate(#[from] generate::Error),
    #[error("cannot tell the current directory, which relative paths begin at")]
    Directory(#[source] io::Error),
    #[error("cannot tell where nvbind is")]
    Own(#[source] io::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Prints the file, and tells what is not in it.
pub(crate) fn generate(options: &args::Generate) -> Result<(), Failure> {
    let arguments = run::arguments(&options.words)?;
    print(options, arguments).map_err(|error| {
        let (code, hint) = match &error {
            Error::Generate(error) => (Exit::Request, error.hint()),
            Error::Directory(_) | Error::Own(_) | Error::Output(_) => (Exit::Permission, None),
        };
        Failure::new(error, code as u8).hint(hint)
    })
}

fn print(options: &args::Generate, arguments: Vec<OsString>) -> Result<(), Error> {
    let directory = env::current_dir().map_err(Error::Directory)?;
    let asked = Asked::parse(arguments, &directory)?;
    let Generated { text, notes } = match options.kind {
        Kind::Quadlet => quadlet::render(&asked)?,
        Kind::Systemd => {
            let own = env::current_exe().map_err(Error::Own)?;
            systemd::render(&asked, options.words.clone(), &own, &directory)?
        }
        Kind::Kube => kube::render(&asked)?,
    };
    notes.iter().for_each(|note| log::warn!("{note}"));
    Ok(output::print(text.as_bytes())?)
}
