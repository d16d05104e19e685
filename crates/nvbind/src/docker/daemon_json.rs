//! `features.cdi` in dockerd's configuration, switched on and taken back.
//!
//! The file is the administrator's, and JSON has no room for a remark. So what it was is kept beside it: by that it is
//! known later that nvbind switched the feature on, and the file is as it was, to the byte, unless somebody edited it.

use serde_json::{Map, Value};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration of the system's daemon (dockerd(8)).
pub(crate) const FILE: &str = "etc/docker/daemon.json";

/// What the name ends in of what it was before; empty where there was none.
const BEFORE: &str = ".before-nvbind";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no JSON that could be changed", path.display())]
    Syntax { path: PathBuf, source: serde_json::Error },
    /// The administrator's own word.
    #[error("{} says features.cdi = {value}, which `docker run --device` needs to be true", path.display())]
    Otherwise { path: PathBuf, value: String },
}

/// How the file has to be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Not at all.
    None,
    /// It is to hold `text`, and `before` is kept.
    Write { path: PathBuf, text: String, before: Vec<u8>, kept: PathBuf },
}

/// What it takes to switch the feature on, on a machine whose `/` is that directory.
///
/// # Errors
/// When the file cannot be read, or says otherwise.
pub(crate) fn switch_on(root: &Path) -> Result<Change, Error> {
    let path = root.join(FILE);
    let (before, mut document) = read(&path)?;
    let features = document.entry("features").or_insert_with(|| Value::Object(Map::new()));
    let otherwise = |value: &Value| Error::Otherwise { path: path.clone(), value: value.to_string() };
    let Value::Object(features) = features else { return Err(otherwise(features)) };
    match features.get("cdi") {
        Some(Value::Bool(true)) => return Ok(Change::None),
        Some(other) => return Err(otherwise(other)),
        None => drop(features.insert("cdi".to_owned(), Value::Bool(true))),
    }
    Ok(Change::Write { text: pretty(&document), kept: kept(&path), path, before })
}

/// Whether the feature is on.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn is_on(root: &Path) -> Result<bool, Error> {
    let (_, document) = read(&root.join(FILE))?;
    Ok(document.get("features").and_then(|features| features.get("cdi")) == Some(&Value::Bool(true)))
}

/// How the file is as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// nvbind did not change it.
    None,
    /// It was not there: it goes, with what was kept.
    Remove { path: PathBuf, kept: PathBuf },
    /// What was kept, or what was edited since without the feature, stands in its place.
    Write { path: PathBuf, text: Vec<u8>, kept: PathBuf },
}

/// What it takes to switch the feature off again, where nvbind switched it on.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn switch_off(root: &Path) -> Result<Undo, Error> {
    let path = root.join(FILE);
    let kept = kept(&path);
    let before = match fs::read(&kept) {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Undo::None),
        Err(source) => return Err(Error::Read { path: kept, source }),
    };
    let (_, mut document) = read(&path)?;
    if let Some(Value::Object(features)) = document.get_mut("features") {
        features.remove("cdi");
        if features.is_empty() {
            document.remove("features");
        }
    }
    Ok(if before.is_empty() && document.is_empty() {
        Undo::Remove { path, kept }
    } else if parse(&kept, &before).is_ok_and(|before| before == document) {
        Undo::Write { path, text: before, kept }
    } else {
        Undo::Write { path, text: pretty(&document).into_bytes(), kept }
    })
}

fn kept(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BEFORE);
    PathBuf::from(name)
}

/// What a file says, as it is and as an object; nothing where there is none.
fn read(path: &Path) -> Result<(Vec<u8>, Map<String, Value>), Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
    };
    let document = parse(path, &bytes)?;
    Ok((bytes, document))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    serde_json::from_slice(bytes).map_err(|source| Error::Syntax { path: path.to_owned(), source })
}

fn pretty(document: &Map<String, Value>) -> String {
    // A value of serde_json's own is always JSON.
    format!("{:#}\n", Value::Object(document.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A machine with this file.
    fn machine(text: Option<&str>) -> TempDir {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("etc/docker")).unwrap();
        if let Some(text) = text {
            fs::write(root.path().join(FILE), text).unwrap();
        }
        root
    }

    fn apply(change: Change) -> bool {
        let Change::Write { path, text, before, kept } = change else { return false };
        fs::write(kept, before).unwrap();
        fs::write(path, text).unwrap();
        true
    }

    fn undo(undo: Undo) -> bool {
        match undo {
            Undo::None => false,
            Undo::Remove { path, kept } => {
                fs::remove_file(path).unwrap();
                fs::remove_file(kept).unwrap();
                true
            }
            Undo::Write { path, text, kept } => {
                fs::write(path, text).unwrap();
                fs::remove_file(kept).unwrap();
                true
            }
        }
    }

    #[test]
    fn the_feature_is_switched_on_beside_all_else_and_the_file_is_as_it_was_afterwards() {
        for text in [None, Some(""), Some("{\"log-level\":  \"warn\", \"features\": {\"buildkit\": true}}\n")]
        {
            let root = machine(text);
            let path = root.path().join(FILE);
            assert!(apply(switch_on(root.path()).unwrap()), "{text:?}");
            assert!(is_on(root.path()).unwrap());
            let now = fs::read_to_string(&path).unwrap();
            assert_eq!(now.contains("buildkit"), text.is_some_and(|text| text.contains("buildkit")), "{now}");
            assert_eq!(switch_on(root.path()).unwrap(), Change::None);
            assert!(undo(switch_off(root.path()).unwrap()));
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), text.filter(|text| !text.is_empty()));
            assert_eq!(switch_off(root.path()).unwrap(), Undo::None);
        }
    }

    #[test]
    fn what_was_edited_since_stays() {
        let root = machine(None);
        let path = root.path().join(FILE);
        apply(switch_on(root.path()).unwrap());
        fs::write(&path, "{\"debug\": true, \"features\": {\"cdi\": true}}").unwrap();
        assert!(undo(switch_off(root.path()).unwrap()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"debug\": true\n}\n");
    }

    #[test]
    fn what_the_administrator_says_stays() {
        let root = machine(Some("{\"features\": {\"cdi\": true}}"));
        assert_eq!(switch_on(root.path()).unwrap(), Change::None);
        assert_eq!(switch_off(root.path()).unwrap(), Undo::None);
        for (text, says) in [
            ("{\"features\": {\"cdi\": false}}", "says features.cdi = false"),
            ("{\"features\": 1}", "says features.cdi = 1"),
            ("[", "is no JSON"),
        ] {
            let error = switch_on(machine(Some(text)).path()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
