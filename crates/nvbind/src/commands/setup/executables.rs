//! The executables that get installed: this program and the hook that came with it.

use super::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The executables that get installed.
#[derive(Debug)]
pub(super) struct Executables {
    pub(super) cli: PathBuf,
    pub(super) hook: PathBuf,
}

/// This program, and the hook beside it (a build) or in the directory where setup puts it.
pub(super) fn find() -> Result<Executables, Error> {
    let cli = PathBuf::from("/proc/self/exe");
    let path = fs::read_link(&cli).map_err(|source| Error::Read { path: cli.clone(), source })?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let beside = directory.join("nvbind-hook");
    let installed = directory.parent().unwrap_or_else(|| Path::new("/")).join("libexec/nvbind/nvbind-hook");
    if let Some(hook) = [&beside, &installed].into_iter().find(|hook| hook.is_file()).cloned() {
        return Ok(Executables { cli, hook });
    }
    Err(Error::NoHook { beside, installed })
}
