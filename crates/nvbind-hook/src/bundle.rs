//! The bundle: where config.json and the root filesystem are.

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::input;
use nvbind_core::oci::{self, CONFIG_LIMIT, Config, State};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why the bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the container's {path}")]
    Read { path: String, source: io::Error },
    #[error(transparent)]
    Content(#[from] oci::Error),
    #[error("the container's state names the bundle /, and the runtime's command line names no other")]
    NoBundle,
    #[error("neither the container's state nor its config.json says where the root filesystem is")]
    NoRoot,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            // Podman 5 keeps the bundle of a container with a user namespace from hooks of stage createContainer.
            Error::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Error::Content(error) => error.exit(),
            Error::Read { .. } | Error::NoBundle | Error::NoRoot => Exit::Request,
        }
    }
}

/// A container's bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) root: PathBuf,
}

/// Reads config.json and tells the root filesystem: the state's, which only crun gives, else config.json's.
pub(crate) fn read(state: &State) -> Result<Bundle, Error> {
    let path = if state.bundle == Path::new("/") { parent_bundle()? } else { state.bundle.clone() };
    let config = read_config(&path)?;
    let given = |root: &Path| !root.as_os_str().is_empty();
    let named =
        config.root.as_ref().map(|root| root.path()).filter(|root| given(root)).map(|root| path.join(root));
    let stated = state.root.clone().filter(|root| given(root));
    let root = stated.or(named).ok_or(Error::NoRoot)?;
    Ok(Bundle { path, config, root })
}

fn read_config(bundle: &Path) -> Result<Config, Error> {
    let path = bundle.join("config.json");
    let (bytes, _) = input::read(&path, CONFIG_LIMIT)
        .map_err(|source| Error::Read { path: path.display().to_string(), source })?;
    Ok(Config::parse(&bytes, &path)?)
}

/// crun says `/` for a privileged container with a user namespace; its own command line has the bundle.
fn parent_bundle() -> Result<PathBuf, Error> {
    let path = format!("/proc/{}/cmdline", nix::unistd::getppid());
    let line = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
    bundle_argument(&line).filter(|bundle| bundle.is_absolute()).ok_or(Error::NoBundle)
}

/// The value of `--bundle` or `-b` in a NUL-separated command line.
fn bundle_argument(line: &[u8]) -> Option<PathBuf> {
    let mut words = line.split(|byte| *byte == 0);
    while let Some(word) = words.next() {
        let value = match word {
            b"--bundle" | b"-b" => words.next(),
            _ => word.strip_prefix(b"--bundle="),
        };
        if let Some(value) = value {
            return Some(PathBuf::from(std::ffi::OsStr::from_bytes(value)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_found_on_a_runtimes_command_line() {
        for (line, bundle) in [
            (
                &b"/usr/bin/crun\0--systemd-cgroup\0create\0--bundle\0/b/userdata\0--pid-file\0/p\0id\0"[..],
                Some("/b/userdata"),
            ),
            (b"crun\0create\0-b\0/b\0id\0", Some("/b")),
            (b"crun\0create\0--bundle=/b\0id\0", Some("/b")),
            (b"crun\0create\0id\0", None),
            (b"crun\0create\0--bundle", None),
        ] {
            assert_eq!(bundle_argument(line), bundle.map(PathBuf::from));
        }
    }
}
