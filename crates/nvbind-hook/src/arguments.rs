//! The hook's command line, as the hook JSON gives it.

use crate::source::Source;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::oci::DOCKERS_NAME;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Why the command line is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The stage is missing or unknown.
    #[error(
        "usage: nvbind-hook prestart|createContainer [--cdi|--visible-devices] [--driver-root DIR] [--config FILE] < STATE"
    )]
    Usage,
    /// Not an option.
    #[error(
        "{0:?} is no option of nvbind-hook; there are --cdi, --visible-devices, --driver-root DIR and --config FILE"
    )]
    Unknown(OsString),
    /// An option without its value, or with a relative one.
    #[error("{0} needs an absolute path")]
    Path(&'static str),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// The stage in the container's namespaces (OCI runtime-spec, config.md, "createContainer Hooks").
pub(crate) const CREATE_CONTAINER: &str = "createContainer";

/// Which hook this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageName {
    Prestart,
    CreateContainer,
}

/// The command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) stage: StageName,
    pub(crate) source: Source,
    pub(crate) driver_root: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

/// Reads the program's name and the arguments after it.
pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
    let is_dockers =
        words.next().is_some_and(|name| Path::new(&name).file_name() == Some(DOCKERS_NAME.as_ref()));
    let stage = match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("prestart") => StageName::Prestart,
        Some(CREATE_CONTAINER) => StageName::CreateContainer,
        _ => return Err(Error::Usage),
    };
    let source = if is_dockers { Source::Docker } else { Source::Annotation };
    let mut arguments = Arguments { stage, source, driver_root: None, config: None };
    while let Some(word) = words.next() {
        let (option, value) = match word.to_str() {
            Some("--visible-devices") => {
                arguments.source = Source::Environment;
                continue;
            }
            Some("--cdi") => {
                arguments.source = Source::Cdi;
                continue;
            }
            Some("--driver-root") => ("--driver-root", &mut arguments.driver_root),
            Some("--config") => ("--config", &mut arguments.config),
            _ => return Err(Error::Unknown(word)),
        };
        *value = words.next().map(PathBuf::from).filter(|path| path.is_absolute());
        if value.is_none() {
            return Err(Error::Path(option));
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, Error> {
        parse(["nvbind-hook"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn under_the_name_that_docker_knows_it_is_dockers() {
        for (name, source) in [
            ("nvbind-hook", Source::Annotation),
            ("nvidia-container-runtime-hook", Source::Docker),
            ("/usr/bin/nvidia-container-runtime-hook", Source::Docker),
        ] {
            assert_eq!(parse([name, "prestart"].map(OsString::from).into_iter()).unwrap().source, source);
        }
    }

    #[test]
    fn both_stages_and_all_options_are_read() {
        let plain = Arguments {
            stage: StageName::Prestart,
            source: Source::Annotation,
            driver_root: None,
            config: None,
        };
        assert_eq!(read("prestart").unwrap(), plain);
        let full = Arguments {
            stage: StageName::CreateContainer,
            source: Source::Environment,
            driver_root: Some("/d".into()),
            config: Some("/c.toml".into()),
        };
        assert_eq!(
            read("createContainer --config /c.toml --visible-devices --driver-root /d").unwrap(),
            full
        );
    }

    #[test]
    fn anything_else_is_refused_with_what_there_is() {
        for (line, error) in [
            ("", Error::Usage),
            ("poststop", Error::Usage),
            ("prestart --root /", Error::Unknown("--root".into())),
            ("prestart --config", Error::Path("--config")),
            ("prestart --driver-root relative", Error::Path("--driver-root")),
        ] {
            assert_eq!(read(line).unwrap_err(), error, "{line}");
        }
    }
}
