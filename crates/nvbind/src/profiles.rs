//! Profiles: what `nvbind run --profile NAME` adds to a command line. The built-in ones are files of the same form as the
//! user's.

use crate::config::suggestion::find_nearest;
use crate::config::{self, Configuration, Values};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::settings::Profile;
use nvbind_core::settings::keys::PROFILES;
use std::collections::BTreeMap;
use std::path::Path;

/// The built-in ones, each with the file that messages name.
const BUILT_IN: &[(&str, &str)] = &[
    ("built-in/ai-ml.toml", include_str!("../profiles/ai-ml.toml")),
    ("built-in/gaming.toml", include_str!("../profiles/gaming.toml")),
    ("built-in/shared.toml", include_str!("../profiles/shared.toml")),
];

/// Why there is no such profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no profile {name}; there are {all}")]
pub(crate) struct Unknown {
    name: String,
    all: String,
    nearest: Option<String>,
}

impl Explain for Unknown {
    fn exit(&self) -> Exit {
        Exit::Request
    }

    fn hint(&self) -> Option<String> {
        self.nearest.as_ref().map(|name| format!("did you mean {name}?"))
    }
}

/// All profiles: the built-in ones, and over them, key by key, those of the configuration.
#[derive(Debug)]
pub(crate) struct Profiles {
    /// Their keys, with the place of each.
    values: Values,
    all: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Those that this configuration makes.
    pub(crate) fn of(configuration: &Configuration) -> Result<Profiles, config::Error> {
        let mut values = Values::default();
        for (place, text) in BUILT_IN {
            values.0.extend(config::parse(text, Path::new(place))?.0);
        }
        let is_profile = |path: &[String]| path.first().is_some_and(|table| table == PROFILES);
        let own = configuration.values.0.iter().filter(|(path, _)| is_profile(path));
        values.0.extend(own.map(|(path, set)| (path.clone(), set.clone())));
        let all = values.settings().map_err(config::Error::Merged)?.profiles;
        Ok(Profiles { values, all })
    }

    /// All of them by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.all.iter().map(|(name, profile)| (name.as_str(), profile))
    }

    /// One of them, with its name.
    pub(crate) fn find(&self, name: &str) -> Result<(&str, &Profile), Unknown> {
        let found = self.all.get_key_value(name);
        found.map(|(name, profile)| (name.as_str(), profile)).ok_or_else(|| self.unknown(name))
    }

    /// The keys of one of them.
    pub(crate) fn keys(&self, name: &str) -> Values {
        let of_it = |path: &[String]| matches!(path, [_, profile, ..] if profile == name);
        let keys = self.values.0.iter().filter(|(path, _)| of_it(path));
        Values(keys.map(|(path, set)| (path.clone(), set.clone())).collect())
    }

    fn unknown(&self, name: &str) -> Unknown {
        let all: Vec<&str> = self.all.keys().map(String::as_str).collect();
        let nearest = find_nearest(name, all.iter().map(|known| (*known, (*known).to_owned())));
        Unknown { name: name.to_owned(), all: all.join(", "), nearest }
    }
}
