//! Values of the right type that cannot be used all the same.

use super::Error;
use super::expand::{self, expand};
use super::values::Values;
use crate::choice::{self, Choice};
use crate::podman::lexer::Origin;
use crate::podman::options::Options;
use crate::podman::own::Runtime;
use nvbind_core::message::line;
use nvbind_core::request::Request;
use nvbind_core::visible_devices;
use std::ffi::OsString;
use std::path::Path;
use toml::Value;

/// Options of nvbind that are for one command line only.
const OF_ONE_LINE: &[&str] = &["config", "dry-run", "help"];

/// The same of a profile, which names no other one.
const NOT_OF_A_PROFILE: &[&str] = &["config", "dry-run", "help", "profile"];

/// Finds what is wrong with the values of a file.
pub(super) fn values(values: &Values) -> Result<(), Error> {
    for (path, set) in &values.0 {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let found = match (names.as_slice(), &set.value) {
            (["runtime", "default_runtime"], Value::String(name)) => {
                Runtime::parse(name.into()).err().map(|error| error.to_string())
            }
            (["runtime", "default_args"], Value::Array(list)) => arguments(list, OF_ONE_LINE),
            (["runtime", "environment", name], Value::String(value)) => variable(name, value),
            (["gpu", "default_selection"], Value::String(gpus)) => {
                Choice::parse(gpus).err().map(|error| error.to_string())
            }
            (["gpu", "additional_devices"], Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).find_map(device)
            }
            (["gpu", "additional_libraries"], Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).find_map(library)
            }
            (["profiles", _, key, rest @ ..], value) => of_profile(key, rest, value),
            _ => None,
        };
        if let Some(why) = found {
            let (origin, key) = (set.origin.clone(), path.join("."));
            return Err(Error::Value { origin, key, why });
        }
    }
    Ok(())
}

fn of_profile(key: &str, rest: &[&str], value: &Value) -> Option<String> {
    match (key, rest, value) {
        ("capabilities", [], Value::String(list)) => {
            Request::parse("all", Some(list), None).err().map(|error| error.to_string())
        }
        ("extras", [], Value::Array(list)) => {
            let mut names = list.iter().filter_map(Value::as_str);
            let parse = |name| Request::parse("all", None, None)?.with_extras(Some(name));
            names.find_map(|name| parse(name).err().map(|error| error.to_string()))
        }
        ("args", [], Value::Array(list)) => arguments(list, NOT_OF_A_PROFILE),
        ("environment", [visible_devices::VARIABLE], _) => Some("--gpu names the GPUs".to_owned()),
        ("environment", [name], Value::String(value)) => variable(name, value),
        ("volumes", [], Value::Array(list)) => list.iter().filter_map(Value::as_str).find_map(volume),
        ("devices", [], Value::Array(list)) => list.iter().filter_map(Value::as_str).find_map(dollar),
        ("ulimits", [], Value::Array(list)) => list.iter().filter_map(Value::as_str).find_map(limit),
        _ => None,
    }
}

fn volume(entry: &str) -> Option<String> {
    let mut parts = entry.split(':');
    let is_whole = parts.next().is_some_and(|host| !host.is_empty())
        && parts.next().is_some_and(|place| place.starts_with('/'));
    let what = || format!("{entry} is no volume: write HOST:CONTAINER or HOST:CONTAINER:OPTIONS");
    (!is_whole).then(what).or_else(|| dollar(entry))
}

fn limit(entry: &str) -> Option<String> {
    let is_whole = entry.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    (!is_whole).then(|| format!("{entry} is no limit: write NAME=SOFT or NAME=SOFT:HARD"))
}

fn arguments(list: &[Value], not_here: &[&str]) -> Option<String> {
    let mut arguments = list.iter().filter_map(Value::as_str).map(OsString::from);
    let origin = Origin::Setting("args".to_owned());
    let (options, end) = match Options::parse(&mut arguments, &origin) {
        Ok(parsed) => parsed,
        Err(error) => return Some(line(&error)),
    };
    if let Some(argument) = end {
        return Some(format!(
            "{} is no option, and would be the image; a value of an option that nvbind does not know is written --option=value",
            argument.display()
        ));
    }
    if let Some(given) = options.iter().find(|given| given.lacks_its_value()) {
        return Some(format!("--{} needs a value", given.name));
    }
    let own = options.own_names().find(|name| not_here.contains(name));
    own.map(|name| format!("--{name} is for the command line"))
}

fn variable(name: &str, value: &str) -> Option<String> {
    if name.is_empty() || name.contains('=') {
        return Some("this is no name of a variable".to_owned());
    }
    dollar(value)
}

fn dollar(value: &str) -> Option<String> {
    match expand(value, &|_name| Some(OsString::new())) {
        Err(expand::Error::Dollar) => {
            Some("$ has to be followed by a name; a dollar is written $$".to_owned())
        }
        Err(expand::Error::Unset(_)) | Ok(_) => None,
    }
}

/// Of CDI's devices nvbind knows its own.
fn device(device: &str) -> Option<String> {
    choice::device_name(device)?.and_then(Choice::parse).err().map(|error| error.to_string())
}

fn library(path: &str) -> Option<String> {
    if !Path::new(path).is_absolute() {
        return Some(format!("{path} is no absolute path"));
    }
    path.contains(':').then(|| format!("podman can't mount {path}: it has a colon"))
}
