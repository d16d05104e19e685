//! The configuration of the command line: the system's file, the user's, and one that the command line names, each over
//! the one before it, key by key.

mod check;
pub(crate) mod expand;
mod origin;
pub(crate) mod suggestion;
mod values;

use crate::podman::shell;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::settings::keys::{self, Key, Reader};
use nvbind_core::settings::{self, SYSTEM_FILE, Settings};
pub(crate) use origin::Origin;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
pub(crate) use values::{KeyPath, Set, Values};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    File(#[from] settings::Error),
    /// A key or table that there is not.
    #[error("{origin}:{}: there is no {key} in the configuration", origin.column)]
    Unknown { origin: Origin, key: String, nearest: String },
    /// Not TOML, or a value of the wrong type.
    #[error("{origin}:{}: {}", origin.column, what.trim_end())]
    Wrong { origin: Origin, what: String },
    /// A value of the right type that cannot be used.
    #[error("{origin}:{}: {key} cannot be used: {why}", origin.column)]
    Value { origin: Origin, key: String, why: String },
    /// Each file is right, and together they are not.
    #[error("the configuration files do not fit together")]
    Merged(#[source] toml::de::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::File(error) => error.exit(),
            Error::Unknown { .. } | Error::Wrong { .. } | Error::Value { .. } | Error::Merged(_) => {
                Exit::Request
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Unknown { nearest, .. } => Some(nearest.clone()),
            Error::File(settings::Error::Untrusted { path }) => {
                let path = shell::quote([OsStr::new(path)]);
                let path = String::from_utf8_lossy(&path);
                Some(format!("`chown root: {path} && chmod go-w {path}`, where what it says is right"))
            }
            Error::File(_) | Error::Wrong { .. } | Error::Value { .. } | Error::Merged(_) => None,
        }
    }
}

/// A file that may hold configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) path: PathBuf,
    /// Whose it is.
    pub(crate) kind: Kind,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The machine's, which the hook reads as well.
    System,
    User,
    /// Named on the command line.
    Named,
}

/// The files that are looked at, in the order in which they override.
pub(crate) fn layers(named: Option<&Path>) -> Vec<Layer> {
    let layer = |kind| move |path| Layer { path, kind };
    let system = Some(PathBuf::from(SYSTEM_FILE)).map(layer(Kind::System));
    let user = user_file().map(layer(Kind::User));
    let named = named.map(Path::to_owned).map(layer(Kind::Named));
    [system, user, named].into_iter().flatten().collect()
}

/// The user's file, if the user has a home directory.
pub(crate) fn user_file() -> Option<PathBuf> {
    // A relative one is to be ignored (XDG Base Directory Specification).
    let home = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".config")))?;
    Some(home.join("nvbind/config.toml"))
}

impl Layer {
    /// What the file sets; nothing, if it need not be there and is not.
    pub(crate) fn read(&self) -> Result<Option<Values>, Error> {
        // Who is root acts on what is written there; a file that root names, root has chosen.
        let as_root = self.kind != Kind::Named && nix::unistd::geteuid().is_root();
        let text = match settings::read(&self.path, as_root) {
            Err(error) if error.is_not_found() && self.kind != Kind::Named => {
                log::debug!("there is no configuration {}", self.path.display());
                return Ok(None);
            }
            text => text?,
        };
        log::debug!("reads the configuration {}", self.path.display());
        parse(&text, &self.path).map(Some)
    }
}

/// What this text of a file sets, where all of it can be used.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Values, Error> {
    let values = Values::parse(text, file)?;
    check::values(&values)?;
    Ok(values)
}

/// All files together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    pub(crate) settings: Settings,
    /// Those that a file sets.
    pub(crate) values: Values,
    /// What does not reach the hook from where it was written.
    pub(crate) lost: Vec<String>,
}

impl Configuration {
    /// Reads the files and lays them over each other.
    pub(crate) fn load(layers: &[Layer]) -> Result<Configuration, Error> {
        let mut values = Values::default();
        let mut lost = Values::default();
        for layer in layers {
            for (path, set) in layer.read()?.unwrap_or_default().0 {
                let is_lost = layer.kind != Kind::System && is_for_hook(&path);
                if is_lost { &mut lost } else { &mut values }.0.insert(path, set);
            }
        }
        Configuration::new(values, &lost)
    }

    fn new(values: Values, lost: &Values) -> Result<Configuration, Error> {
        let settings = values.settings().map_err(Error::Merged)?;
        let differing =
            lost.0.iter().filter(|(path, set)| effective(&values, path).as_ref() != Some(&set.value));
        let lost = differing
            .map(|(path, set)| {
                let key = path.join(".");
                format!("{key} of {} does not reach the hook, which reads {SYSTEM_FILE} alone", set.origin)
            })
            .collect();
        Ok(Configuration { settings, values, lost })
    }

    /// Whether a file sets this key.
    pub(crate) fn is_set(&self, path: &[&str]) -> bool {
        self.values.origin(path).is_some()
    }

    /// A key with its file and line, for a message.
    pub(crate) fn locate(&self, path: &[&str]) -> String {
        let key = path.join(".");
        self.values.origin(path).map_or_else(|| key.clone(), |origin| format!("{key} ({origin})"))
    }
}

fn key(path: &[String]) -> Option<&'static Key> {
    match path {
        [table, name, ..] => keys::find(table, name),
        _ => None,
    }
}

fn is_for_hook(path: &[String]) -> bool {
    key(path).is_some_and(|key| key.reader == Reader::Hook)
}

/// The value that holds for this key, whether or not a file sets it.
fn effective(values: &Values, path: &[String]) -> Option<toml::Value> {
    let set = values.0.get(path).map(|set| set.value.clone());
    set.or_else(|| default(key(path)?))
}

/// A key's value where no file has it.
pub(crate) fn default(key: &Key) -> Option<toml::Value> {
    let table: toml::Table = format!("x = {}", key.default).parse().ok()?;
    table.get("x").cloned()
}

#[cfg(test)]
mod tests;
