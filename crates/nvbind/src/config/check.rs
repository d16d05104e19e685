//! Values of the right type that cannot be used all the same.

use super::Error;
use super::expand::{self, expand};
use super::values::Values;
use crate::podman::command_line::oci_runtime;
use crate::podman::lexer::{self, Item};
use nvbind_core::request::Request;
use std::ffi::OsString;
use std::path::Path;
use toml::Value;

/// Options of nvbind that are for one command line.
const OF_ONE_LINE: &[&str] = &["config", "dry-run", "help"];

/// Finds what is wrong with the values of a file.
pub(super) fn values(values: &Values) -> Result<(), Error> {
    for (path, set) in &values.0 {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let found = match (words.as_slice(), &set.value) {
            (["runtime", "default_runtime"], Value::String(name)) => {
                oci_runtime(name.into()).err().map(|error| error.to_string())
            }
            (["runtime", "default_args"], Value::Array(list)) => arguments(list),
            (["runtime", "environment", name], Value::String(value)) => variable(name, value),
            (["gpu", "default_selection"], Value::String(gpus)) => {
                Request::parse(gpus, None, None).err().map(|error| error.to_string())
            }
            (["gpu", "additional_libraries"], Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).find_map(library)
            }
            _ => None,
        };
        if let Some(why) = found {
            let (origin, key) = (set.origin.clone(), path.join("."));
            return Err(Error::Value { origin, key, why });
        }
    }
    Ok(())
}

fn arguments(list: &[Value]) -> Option<String> {
    let mut words = list.iter().filter_map(Value::as_str).map(OsString::from);
    while let Some(item) = lexer::next(&mut words) {
        let options = match item {
            Item::Options(options) => options,
            Item::End(word) => {
                let word = word.display();
                return Some(format!(
                    "{word} is no option, and would be the image; a value of an option that nvbind does not know is written --option=value"
                ));
            }
        };
        if let Some(given) = options.all.iter().find(|given| given.lacks_its_value()) {
            return Some(format!("--{} needs a value", given.name));
        }
        if let Some(given) = options.long().filter(|given| OF_ONE_LINE.contains(&given.name.as_str())) {
            return Some(format!("--{} is for the command line", given.name));
        }
    }
    None
}

fn variable(name: &str, value: &str) -> Option<String> {
    if name.is_empty() || name.contains('=') {
        return Some("this is no name of a variable".to_owned());
    }
    match expand(value, &|_name| Some(OsString::new())) {
        Err(expand::Error::Dollar) => {
            Some("$ has to be followed by a name; a dollar is written $$".to_owned())
        }
        Err(expand::Error::Unset(_)) | Ok(_) => None,
    }
}

fn library(path: &str) -> Option<String> {
    if !Path::new(path).is_absolute() {
        return Some(format!("{path} is no absolute path"));
    }
    path.contains(':').then(|| format!("podman can't mount {path}: it has a colon"))
}
