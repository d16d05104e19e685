//! A configuration file key by key, each value with the place where it stands.

use super::Error;
use super::origin::Origin;
use super::suggestion::{suggest_key, suggest_profile_key};
use nvbind_core::settings::{self, Settings, keys};
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// The path of a key: table, name, and for tables of free names the entry's.
pub(crate) type KeyPath = Vec<String>;

/// Values by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(pub(crate) BTreeMap<KeyPath, Set>);

/// A value that a file sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Set {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

impl Values {
    /// Reads a file's text. Whatever is no key of nvbind's, or of a wrong type, is an error.
    pub(crate) fn parse(text: &str, file: &Path) -> Result<Values, Error> {
        let at = |byte| Origin::new(file, text, byte);
        let wrong = |error: &toml::de::Error| {
            let what = error.message().to_owned();
            Error::Wrong { origin: at(error.span().unwrap_or_default().start), what }
        };
        let document = DeTable::parse(text).map_err(|error| wrong(&error))?;
        for (table, content) in document.get_ref() {
            if table.get_ref() == keys::PROFILES {
                profiles(content.get_ref(), &at)?;
                continue;
            }
            let content_table = content.get_ref().as_table();
            for (name, _) in content_table.into_iter().flatten() {
                if keys::find(table.get_ref(), name.get_ref()).is_none() {
                    let (table, name_text) = (table.get_ref(), name.get_ref());
                    let nearest = suggest_key(table, name_text);
                    let key = format!("{table}.{name_text}");
                    return Err(Error::Unknown { origin: at(name.span().start), key, nearest });
                }
            }
            if !keys::KEYS.iter().any(|key| key.table == table.get_ref()) {
                let nearest = suggest_key("", table.get_ref());
                let key = table.get_ref().clone().into_owned();
                return Err(Error::Unknown { origin: at(table.span().start), key, nearest });
            }
        }
        // The types are those of the settings themselves.
        Settings::parse(text, &file.display().to_string()).map_err(|error| match error {
            settings::Error::Syntax { source, .. } => wrong(&source),
            other @ (settings::Error::Read { .. }
            | settings::Error::Untrusted { .. }
            | settings::Error::Relative { .. }) => Error::File(other),
        })?;
        let settings: Table = text.parse().map_err(|error| wrong(&error))?;
        let mut values = Values::default();
        values.collect(&mut Vec::new(), document.get_ref(), &settings, &at);
        Ok(values)
    }

    fn collect(
        &mut self,
        path: &mut KeyPath,
        table: &DeTable<'_>,
        values: &Table,
        at: &dyn Fn(usize) -> Origin,
    ) {
        for (name, content) in table {
            let Some(value) = values.get(name.get_ref().as_ref()) else { continue };
            path.push(name.get_ref().clone().into_owned());
            match (content.get_ref(), value) {
                (DeValue::Table(table), Value::Table(values)) => self.collect(path, table, values, at),
                _ => {
                    let set = Set { value: value.clone(), origin: at(name.span().start) };
                    self.0.insert(path.clone(), set);
                }
            }
            path.pop();
        }
    }

    /// The settings that these values make.
    pub(crate) fn settings(&self) -> Result<Settings, toml::de::Error> {
        let mut all = Table::new();
        for (path, set) in &self.0 {
            insert(&mut all, path, &set.value);
        }
        Value::Table(all).try_into()
    }

    /// Where this key is set.
    pub(crate) fn origin(&self, path: &[&str]) -> Option<&Origin> {
        let found = self.0.iter().find(|(key, _)| key.iter().map(String::as_str).eq(path.iter().copied()));
        found.map(|(_, set)| &set.origin)
    }
}

/// Finds what is no key of a profile, and a profile without any.
fn profiles(table: &DeValue<'_>, at: &dyn Fn(usize) -> Origin) -> Result<(), Error> {
    for (profile, content) in table.as_table().into_iter().flatten() {
        let Some(content) = content.get_ref().as_table() else { continue };
        let path = format!("{}.{}", keys::PROFILES, profile.get_ref());
        if content.is_empty() {
            let why = "it says nothing; `nvbind config init` writes a file with all keys".to_owned();
            return Err(Error::Value { origin: at(profile.span().start), key: path, why });
        }
        let is_key = |name: &str| keys::PROFILE_KEYS.iter().any(|key| key.name == name);
        if let Some((name, _)) = content.iter().find(|(name, _)| !is_key(name.get_ref())) {
            let key = format!("{path}.{}", name.get_ref());
            let nearest = suggest_profile_key(profile.get_ref(), name.get_ref());
            return Err(Error::Unknown { origin: at(name.span().start), key, nearest });
        }
    }
    Ok(())
}

fn insert(table: &mut Table, path: &[String], value: &Value) {
    match path {
        [] => {}
        [name] => {
            table.insert(name.clone(), value.clone());
        }
        [name, rest @ ..] => {
            let next = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(next) = next {
                insert(next, rest, value);
            }
        }
    }
}
