//! `/etc/nvbind/config.toml`: strict about what it does not know, every key optional.

use crate::exit::Exit;
use crate::input;
use crate::security::Security;
use serde::Deserialize;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the hook and the command line read the system's configuration from.
pub const SYSTEM_FILE: &str = "/etc/nvbind/config.toml";

/// The largest configuration file that is read.
const SIZE_LIMIT: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not there, not readable, no text.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else than root could have written it.
    #[error("the configuration {path} has to belong to root, and others must not be able to write it")]
    Untrusted {
        /// The file.
        path: String,
    },
    /// Not TOML, an unknown key or a wrong type; the source says line and column.
    #[error("{path} is not a valid configuration")]
    Syntax {
        /// The file.
        path: String,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A directory that would depend on the caller's working directory.
    #[error("{path}: driver.{key} has to be an absolute path, not {value:?}")]
    Relative {
        /// The file.
        path: String,
        /// The key below `[driver]`.
        key: &'static str,
        /// What it was set to.
        value: PathBuf,
    },
}

impl Error {
    /// The exit code of this failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Error::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Error::Read { .. } | Error::Untrusted { .. } | Error::Syntax { .. } | Error::Relative { .. } => {
                Exit::Request
            }
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `[driver]`
    pub driver: Driver,
    /// `[security]`
    pub security: Security,
}

/// Where the driver is: each key is a directory that stands in for `/`, the machine's own by default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Driver {
    /// Libraries, programs, data files.
    pub root: PathBuf,
    /// Device nodes (`dev/` below it).
    pub dev_root: PathBuf,
    /// The driver's state (`proc/` below it).
    pub proc_root: PathBuf,
    /// PCI devices (`sys/` below it).
    pub sys_root: PathBuf,
}

impl Default for Driver {
    fn default() -> Driver {
        Driver::below(Path::new("/"))
    }
}

impl Driver {
    /// All four below one directory.
    #[must_use]
    pub fn below(root: &Path) -> Driver {
        Driver {
            root: root.to_path_buf(),
            dev_root: root.to_path_buf(),
            proc_root: root.to_path_buf(),
            sys_root: root.to_path_buf(),
        }
    }
}

impl Settings {
    /// Reads the named file, else the system's, which need not be there.
    ///
    /// `as_root` is whether it decides for the machine's root, and not for a user in a namespace of their own: then
    /// root has to own it, and others must not be able to write it.
    ///
    /// # Errors
    /// When it cannot be read or trusted, or is not valid.
    pub fn load(named: Option<&Path>, as_root: bool) -> Result<Settings, Error> {
        let file = named.unwrap_or_else(|| Path::new(SYSTEM_FILE));
        let path = file.display().to_string();
        let (bytes, metadata) = match input::read(file, SIZE_LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                return Settings::parse("", &path);
            }
            Err(source) => return Err(Error::Read { path, source }),
            Ok(read) => read,
        };
        if as_root && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0) {
            return Err(Error::Untrusted { path });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Settings::parse(&text, &path),
            Err(error) => Err(Error::Read { path, source: io::Error::other(error) }),
        }
    }

    /// Reads the text of a configuration file; `path` is for the messages.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key, a wrong type, a relative path, or what is no name of a GPU.
    pub fn parse(text: &str, path: &str) -> Result<Settings, Error> {
        let settings: Settings = toml::from_str(text)
            .map_err(|source| Error::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        let driver = &settings.driver;
        for (key, value) in [
            ("root", &driver.root),
            ("dev_root", &driver.dev_root),
            ("proc_root", &driver.proc_root),
            ("sys_root", &driver.sys_root),
        ] {
            if !value.is_absolute() {
                return Err(Error::Relative { path: path.to_owned(), key, value: value.clone() });
            }
        }
        Ok(Settings { security: settings.security.of(path), ..settings })
    }

    /// With the driver below this directory, if there is one: what `--driver-root DIR` means. It takes the place of
    /// `[driver]` alone.
    #[must_use]
    pub fn with_driver_root(self, root: Option<&Path>) -> Settings {
        match root {
            Some(root) => Settings { driver: Driver::below(root), ..self },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_optional_and_default_to_the_machine() {
        let settings = Settings::parse("[driver]\nroot = \"/opt/driver\"\n", "f").unwrap();
        assert_eq!(settings.driver, Driver { root: "/opt/driver".into(), ..Driver::default() });
        let Settings { driver, security } = Settings::parse("", "f").unwrap();
        assert_eq!((driver, security.allowed()), (Driver::default(), None));
    }

    #[test]
    fn gpus_are_restricted_to_a_list_when_asked_for_whatever_the_driver_root() {
        let allowed = |text: &str| {
            let settings = Settings::parse(text, "/f").unwrap().with_driver_root(Some(Path::new("/driver")));
            assert_eq!(settings.driver, Driver::below(Path::new("/driver")));
            settings.security.allowed().map(|allowed| allowed.to_string())
        };
        let list = "allowed_devices = [\"0-1\", \"GPU-AB\", \"1:0\", \"MIG-GPU-ab/1/0\", \"01:00.0\"]";
        assert_eq!(allowed(&format!("[security]\n{list}")), None);
        assert_eq!(
            allowed(&format!("[security]\nrestrict_devices = true\n{list}")).unwrap(),
            "/f allows 0-1,GPU-ab,1:0,MIG-GPU-ab/1/0,0000:01:00.0 (security.allowed_devices)"
        );
        assert_eq!(
            allowed("[security]\nrestrict_devices = true").unwrap(),
            "/f allows none (security.allowed_devices)"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("[driver]\nrot = \"/\"", "unknown field `rot`"),
            ("[driver]\nroot = 1", "invalid type"),
            ("[driver", "TOML parse error"),
            ("[security]\nrestrict = true", "unknown field `restrict`"),
            (
                "[security]\nallowed_devices = [\"0\",\n\"gpu1\"]",
                "security.allowed_devices: \"gpu1\" is no GPU: write an index",
            ),
            ("[security]\nallowed_devices = [\"all\"]", "security.allowed_devices: \"all\" is no GPU"),
            ("[security]\nallowed_devices = [\"\"]", "security.allowed_devices: \"\" is no GPU"),
            ("[security]\nallowed_devices = [0]", "invalid type"),
        ] {
            let error = Settings::parse(text, "/etc/x.toml").unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(says), "{source}");
            assert_eq!(error.to_string(), "/etc/x.toml is not a valid configuration");
        }
        let error = Settings::parse("[driver]\ndev_root = \"dev\"", "f").unwrap_err();
        assert_eq!(error.to_string(), "f: driver.dev_root has to be an absolute path, not \"dev\"");
    }
}
