//! `/etc/nvbind/config.toml`: strict about what it does not know, every key optional.
//!
//! The command line reads further files of the same form. The hook uses its part of the system's, but takes no file
//! that has anything wrong in it.

mod error;
pub mod keys;
mod profile;
mod tables;

use crate::host::Roots;
use crate::input;
use crate::security::Security;
use crate::trust;
pub use error::Error;
pub use profile::Profile;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
pub use tables::{Gpu, Runtime};

/// Where the hook and the command line read the system's configuration from.
pub const SYSTEM_FILE: &str = "/etc/nvbind/config.toml";

/// The largest configuration file that is read.
const SIZE_LIMIT: u64 = 1 << 20;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The table `[driver]`.
    pub driver: Roots,
    /// The table `[runtime]`.
    pub runtime: Runtime,
    /// The table `[gpu]`.
    pub gpu: Gpu,
    /// The table `[security]`.
    pub security: Security,
    /// The tables `[profiles.NAME]`, by their names.
    pub profiles: BTreeMap<String, Profile>,
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
        match named {
            Some(file) => Settings::parse(&read(file, as_root)?, &file.display().to_string()),
            None => Settings::system(Path::new(SYSTEM_FILE), as_root),
        }
    }

    /// Reads the system's file, which need not be there, at its place in a machine whose `/` may be a directory.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn system(file: &Path, as_root: bool) -> Result<Settings, Error> {
        let path = file.display().to_string();
        match read(file, as_root) {
            Err(error) if error.is_not_found() => {
                // Who could put one there could also have taken away the one that limits what containers may have.
                file.parent().filter(|_| as_root).map_or(Ok(()), trust::check_directory)?;
                Settings::parse("", &path)
            }
            text => Settings::parse(&text?, &path),
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
            Some(root) => Settings { driver: Roots::below(root), ..self },
            None => self,
        }
    }
}

/// The text of a configuration file; as root, of one that nobody else could change or replace. `as_root` as for
/// [`Settings::load`].
///
/// # Errors
/// When it is not there, cannot be read or trusted, is too large, or is no text.
pub fn read(file: &Path, as_root: bool) -> Result<String, Error> {
    let path = file.display().to_string();
    let (bytes, metadata) = match input::read(file, SIZE_LIMIT) {
        Err(source) => return Err(Error::Read { path, source }),
        Ok(read) => read,
    };
    if as_root && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0) {
        return Err(Error::Untrusted { path });
    }
    if as_root {
        trust::check_file(file)?;
    }
    String::from_utf8(bytes).map_err(|error| Error::Read { path, source: io::Error::other(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_optional_and_default_to_the_machine() {
        let settings = Settings::parse("[driver]\nroot = \"/opt/driver\"\n", "f").unwrap();
        assert_eq!(settings.driver, Roots { root: "/opt/driver".into(), ..Roots::default() });
        let Settings { driver, security, .. } = Settings::parse("", "f").unwrap();
        assert_eq!((driver, security.allowed()), (Roots::default(), None));
    }

    #[test]
    fn gpus_are_restricted_to_a_list_when_asked_for_whatever_the_driver_root() {
        let allowed = |text: &str| {
            let settings = Settings::parse(text, "/f").unwrap().with_driver_root(Some(Path::new("/driver")));
            assert_eq!(settings.driver, Roots::below(Path::new("/driver")));
            settings.security.allowed().map(|allowed| allowed.to_string())
        };
        let list = "allowed_devices = [\"0-1\", \"GPU-AB\", \"1:0\", \"MIG-GPU-ab/1/0\", \"01:00.0\"]";
        assert_eq!(allowed(&format!("[security]\n{list}")), None);
        assert_eq!(
            allowed(&format!("[security]\nrestrict_devices = true\n{list}")).unwrap(),
            "security.allowed_devices of /f allows 0-1,GPU-ab,1:0,MIG-GPU-ab/1/0,0000:01:00.0"
        );
        assert_eq!(
            allowed("[security]\nrestrict_devices = true").unwrap(),
            "security.allowed_devices of /f allows none"
        );
    }

    #[test]
    fn a_missing_file_limits_nothing_only_where_nobody_but_root_could_have_removed_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Settings::system(&file, true).unwrap_err();
        let expected = format!(
            "the configuration {} has to belong to root, and others must not be able to write it",
            directory.path().display()
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(Settings::system(&file, false).unwrap().security.allowed(), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("[driver]\nrot = \"/\"", "unknown field `rot`"),
            ("[driver]\nroot = 1", "invalid type"),
            ("[driver", "TOML parse error"),
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
