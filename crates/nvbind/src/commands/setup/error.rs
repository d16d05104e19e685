//! Why nothing was installed or removed, and what to do about it.

use crate::args;
use crate::docker;
use crate::driver;
use crate::failure::Failure;
use crate::podman::containers_conf;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::trust;
use std::io;
use std::path::PathBuf;

/// Why nothing was installed or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("nvbind-hook is neither at {} nor at {}", beside.display(), installed.display())]
    NoHook { beside: PathBuf, installed: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is another installation's, with the hook {}", json.display(), hook.display())]
    OtherInstallation { json: PathBuf, hook: PathBuf },
    #[error("{} is in the way: it is no regular file", path.display())]
    InTheWay { path: PathBuf },
    #[error("--prefix {} leads up again by `..`, and where to is not clear before it is there", path.display())]
    Upwards { path: PathBuf },
    #[error("others could replace the hook, which root's podman would run")]
    Untrusted(#[source] trust::Error),
    #[error("cannot install {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("a path in an installed file must be text, which {} is not", path.display())]
    NotText { path: PathBuf },
    #[error("the driver root {} is not a directory", path.display())]
    DriverRoot { path: PathBuf },
    #[error("--device-mode {value} is none of 0600 (root alone), 0660 (a group) and 0666 (everybody)")]
    DeviceMode { value: String },
    #[error("--device-mode 0660 gives the nodes to a group: name it with --device-group")]
    NoGroup,
    #[error("--device-group goes with --device-mode 0660, not with {mode:04o}")]
    GroupUnused { mode: u32 },
    #[error("there is no group {name}")]
    UnknownGroup { name: String },
    #[error("cannot look up the group {name}")]
    Group { name: String, source: nix::Error },
    #[error("cannot make the man pages")]
    ManPages(#[source] io::Error),
    #[error("the user has no home directory")]
    NoHome,
    #[error("--user is for a user's own podman, and this is root")]
    UserIsRoot,
    #[error(transparent)]
    Configuration(#[from] containers_conf::Error),
    #[error(transparent)]
    Driver(#[from] driver::Error),
    #[error("dockerd is in none of {}", docker::PATH.join(", "))]
    NoDocker,
    #[error("{} --version does not tell a version", path.display())]
    DockersVersion { path: PathBuf },
    #[error(transparent)]
    Docker(#[from] docker::daemon_json::Error),
    #[error("nvbind's own hook JSON is broken")]
    Template(#[source] serde_json::Error),
}

impl Error {
    /// Turns it into what a person reads; what helps depends on what was asked for.
    pub(super) fn into_failure(self, options: &args::Setup) -> Failure {
        let remedy = self.remedy(options);
        Failure::from(self).with_hint(remedy)
    }

    fn cause(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Read { source, .. } | Error::Write { source, .. } | Error::Remove { source, .. } => {
                Some(source.kind())
            }
            Error::Driver(_)
            | Error::NoDocker
            | Error::DockersVersion { .. }
            | Error::Docker(_)
            | Error::NoHook { .. }
            | Error::OtherInstallation { .. }
            | Error::InTheWay { .. }
            | Error::Upwards { .. }
            | Error::Untrusted(_)
            | Error::NotText { .. }
            | Error::DriverRoot { .. }
            | Error::DeviceMode { .. }
            | Error::NoGroup
            | Error::GroupUnused { .. }
            | Error::UnknownGroup { .. }
            | Error::Group { .. }
            | Error::ManPages(_)
            | Error::NoHome
            | Error::UserIsRoot
            | Error::Configuration(_)
            | Error::Template(_) => None,
        }
    }

    fn remedy(&self, options: &args::Setup) -> Option<String> {
        let hint = match (self, self.cause()) {
            (_, Some(io::ErrorKind::PermissionDenied)) if !options.user => {
                "run it as root, or `nvbind setup --user` for this user's containers"
            }
            (_, Some(io::ErrorKind::ReadOnlyFilesystem)) => {
                "`nvbind setup --prefix DIR --etc` installs on a file system that can be written"
            }
            (Error::NoHook { .. }, _) => "build both, with `cargo build --release`",
            (Error::OtherInstallation { .. }, _) => {
                "remove that first: with the package manager, or by its `nvbind setup --uninstall`"
            }
            (Error::InTheWay { .. }, _) => "move it away first",
            (Error::Upwards { .. }, _) => "write the directory that is meant",
            (Error::Untrusted(_), _) => {
                "choose a --prefix where root alone can write, and every directory above it is root's"
            }
            (Error::UserIsRoot, _) => "run `nvbind setup`",
            (Error::UnknownGroup { .. }, _) => {
                "`getent group` lists them, `groupadd --system NAME` makes one"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match (self, self.cause()) {
            (_, Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)) => {
                Exit::Permission
            }
            (Error::Untrusted(_), _) => Exit::Permission,
            (Error::Driver(error), _) => error.exit(),
            (Error::Template(_) | Error::ManPages(_), _) => Exit::Bug,
            _ => Exit::Request,
        }
    }
}
