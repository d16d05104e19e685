//! The language of Docker's `--gpus` (`opts/gpus.go` of docker/cli): fields between commas, quoted as in CSV.
//!
//! Docker refuses `device=0,1` without quotes inside the value, since it reads `1` as a count; here it means both, as
//! nothing else can be meant. What Docker and Podman read differently, as `--gpus 0`, is refused.

use super::Choice;
use nvbind_core::capability::Capabilities;
use nvbind_core::request::{self, Gpus};

/// What `capabilities=` has beside the driver's own: any GPU, and NVIDIA's.
const OF_EVERY_GPU: [&str; 2] = ["gpu", "nvidia"];

/// Docker's drivers that give NVIDIA's GPUs; by default it takes the first that fits.
const DRIVERS: [&str; 3] = ["", "nvidia", "cdi"];

/// What a value of `--gpus` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) choice: Choice,
    /// Parts of the driver, in the grammar of `io.nvbind.capabilities`.
    pub(crate) capabilities: Option<String>,
    /// Whether it has `options=`, which Docker's driver for NVIDIA ignores.
    pub(crate) has_options: bool,
}

/// Why a value cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the value is empty")]
    Empty,
    #[error("its quotes are not those of CSV")]
    Quotes,
    #[error("{0:?} is neither all nor a number of GPUs")]
    Count(String),
    /// Docker gives none; in Podman's own `--gpus` it is the first GPU.
    #[error("0 is no number of GPUs")]
    Zero,
    #[error("a number of GPUs can be given once")]
    Counts,
    #[error("{0}= can be given once")]
    Twice(String),
    #[error("a number of GPUs and device= exclude each other")]
    Both,
    #[error("device= names no GPU")]
    NoDevice,
    #[error("{0:?} is no driver of Docker's for NVIDIA's GPUs")]
    Driver(String),
    #[error("{0:?} is none of device, count, capabilities, driver and options")]
    Key(String),
    #[error(transparent)]
    Request(#[from] request::Error),
}

impl Error {
    /// What to write instead.
    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Empty | Error::NoDevice | Error::Count(_) | Error::Counts => {
                "--gpus is Docker's: all, a number, or device=0,1; names alone are for --gpu, as in `--gpu 0,1`"
            }
            Error::Zero => "`--gpu 0` is the first GPU, `--gpu none` is no GPU",
            Error::Quotes => {
                "write `--gpus device=0,1,capabilities=utility`, or use --gpu and --capabilities"
            }
            Error::Both | Error::Twice(_) | Error::Driver(_) | Error::Key(_) | Error::Request(_) => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

/// A list that goes on in fields without a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Devices,
    Capabilities,
}

/// Reads a value.
pub(crate) fn parse(value: &str) -> Result<Asked, super::Error> {
    if value.is_empty() {
        return Err(Error::Empty.into());
    }
    let mut fields = Fields::default();
    for field in split(value)? {
        fields.add(&field)?;
    }
    let choice = match (fields.count, fields.devices) {
        (Some(_), Some(_)) => return Err(Error::Both.into()),
        (Some(choice), None) => choice,
        (None, Some(devices)) => named(&devices)?,
        // Docker's own default.
        (None, None) => Choice::Any(1),
    };
    let capabilities = fields.capabilities.map(capabilities).transpose()?.flatten();
    Ok(Asked { choice, capabilities, has_options: fields.has_options })
}

/// The fields of a value, as far as they are read.
#[derive(Default)]
struct Fields {
    count: Option<Choice>,
    devices: Option<Vec<String>>,
    capabilities: Option<Vec<String>>,
    driver: Option<()>,
    has_options: bool,
    /// The list that a field without a key belongs to.
    list: Option<List>,
}

impl Fields {
    fn add(&mut self, field: &str) -> Result<(), Error> {
        let Some((key, value)) = field.split_once('=') else { return self.add_word(field) };
        let twice = || Error::Twice(key.to_owned());
        self.list = None;
        match key {
            "count" => self.set_count(value)?,
            "device" => {
                self.list = Some(List::Devices);
                set(&mut self.devices, words(value)).ok_or_else(twice)?;
            }
            // In Docker the name of a CDI device stands after `device=`.
            _ if super::device_name(field).is_some() => {
                self.list = Some(List::Devices);
                self.devices.get_or_insert_default().push(field.to_owned());
            }
            "capabilities" => {
                self.list = Some(List::Capabilities);
                set(&mut self.capabilities, words(value)).ok_or_else(twice)?;
            }
            "driver" if DRIVERS.contains(&value) => set(&mut self.driver, ()).ok_or_else(twice)?,
            "driver" => return Err(Error::Driver(value.to_owned())),
            "options" if self.has_options => return Err(twice()),
            "options" => self.has_options = true,
            _ => return Err(Error::Key(key.to_owned())),
        }
        Ok(())
    }

    /// A field without a key is a count, if it does not go on with a list.
    fn add_word(&mut self, word: &str) -> Result<(), Error> {
        let list = match self.list {
            Some(List::Devices) => &mut self.devices,
            Some(List::Capabilities) if parse_count(word) == Err(Error::Count(word.to_owned())) => {
                &mut self.capabilities
            }
            Some(List::Capabilities) | None => return self.set_count(word),
        };
        list.get_or_insert_default().push(word.to_owned());
        Ok(())
    }

    fn set_count(&mut self, word: &str) -> Result<(), Error> {
        set(&mut self.count, parse_count(word)?).ok_or(Error::Counts)
    }
}

/// Nothing, where something is set already.
fn set<T>(field: &mut Option<T>, value: T) -> Option<()> {
    if field.is_some() {
        return None;
    }
    *field = Some(value);
    Some(())
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// Go's `strconv.Atoi` takes a sign and zeros before the number, too.
fn parse_count(word: &str) -> Result<Choice, Error> {
    match word.parse::<i64>() {
        _ if word == "all" => Ok(Choice::Named(Gpus::All)),
        Ok(-1) => Ok(Choice::Named(Gpus::All)),
        Ok(0) => Err(Error::Zero),
        Ok(number) => match u32::try_from(number) {
            Ok(number) if number <= super::MANY => Ok(Choice::Any(number)),
            Ok(_) | Err(_) => Err(Error::Count(word.to_owned())),
        },
        Err(_) => Err(Error::Count(word.to_owned())),
    }
}

fn named(devices: &[String]) -> Result<Choice, super::Error> {
    if devices.iter().all(|device| device.trim().is_empty()) {
        return Err(Error::NoDevice.into());
    }
    match Choice::parse(&devices.join(","))? {
        Choice::Any(_) => Err(Error::Key(devices.join(",")).into()),
        choice @ (Choice::Nothing | Choice::Named(_)) => Ok(choice),
    }
}

/// The driver's parts among them; none where they are only what every GPU has.
fn capabilities(mut words: Vec<String>) -> Result<Option<String>, Error> {
    words.retain(|word| !OF_EVERY_GPU.contains(&word.as_str()));
    if words.is_empty() {
        return Ok(None);
    }
    let list = words.join(",");
    match Capabilities::parse(&list) {
        (set, unknown) if unknown.is_empty() && !set.is_empty() => Ok(Some(list)),
        (_, unknown) => {
            Err(request::Error::Capability((*unknown.first().unwrap_or(&list.as_str())).to_owned()).into())
        }
    }
}

/// The fields of a line of CSV, as Go's encoding/csv cuts it.
fn split(line: &str) -> Result<Vec<String>, Error> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let (field, after) = match rest.split_once(',') {
                    Some((field, after)) => (field, Some(after)),
                    None => (rest, None),
                };
                if field.contains(['"', '\n', '\r']) {
                    return Err(Error::Quotes);
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// What stands before the closing quote, and what follows the comma after it; a doubled quote is one.
fn quoted_field(text: &str) -> Result<(String, Option<&str>), Error> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or(Error::Quotes)?;
        field.push_str(before);
        match (after.strip_prefix('"'), after.strip_prefix(',')) {
            (Some(more), _) => {
                field.push('"');
                rest = more;
            }
            (None, Some(next)) => return Ok((field, Some(next))),
            (None, None) if after.is_empty() => return Ok((field, None)),
            (None, None) => return Err(Error::Quotes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, String> {
        let asked = parse(value).map_err(|error| nvbind_core::message::line(&error))?;
        let parts = asked.capabilities.map(|list| format!(" {list}")).unwrap_or_default();
        let options = if asked.has_options { " with options" } else { "" };
        Ok(format!("{}{parts}{options}", asked.choice))
    }

    #[test]
    fn what_docker_takes_means_what_it_means_there() {
        for (value, expected) in [
            ("all", "all"),
            ("-1", "all"),
            ("count=all", "all"),
            ("count=-1", "all"),
            ("2", "any:2"),
            ("02", "any:2"),
            ("+2", "any:2"),
            ("count=2", "any:2"),
            ("device=0", "0"),
            ("device=1", "1"),
            ("\"device=0,1\"", "0,1"),
            ("\"device=0,1\",capabilities=utility", "0,1 utility"),
            ("\"device=0,1\",\"capabilities=compute,utility\"", "0,1 compute,utility"),
            ("device=GPU-AB12", "GPU-ab12"),
            ("device=0:1", "0:1"),
            ("device=MIG-ab12", "MIG-ab12"),
            ("device=all", "all"),
            ("device=none", "none"),
            ("all,capabilities=utility", "all utility"),
            ("capabilities=utility,all", "all utility"),
            ("all,capabilities=gpu", "all"),
            ("all,\"capabilities=gpu,nvidia,compute\"", "all compute"),
            (
                "all,\"capabilities=compute,utility,graphics,video,display,compat32,ngx\"",
                "all compute,utility,graphics,video,display,compat32,ngx",
            ),
            ("capabilities=utility", "any:1 utility"),
            ("driver=nvidia", "any:1"),
            ("driver=nvidia,count=2", "any:2"),
            ("driver=,all", "all"),
            ("driver=cdi,device=nvidia.com/gpu=1", "1"),
            ("all,options=a=b", "all with options"),
            ("all,\"options=a=b,c=d\"", "all with options"),
        ] {
            assert_eq!(read(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_docker_refuses_and_can_mean_one_thing_only_means_that() {
        for (value, expected) in [
            ("device=0,1", "0,1"),
            ("device=0,GPU-ab,capabilities=compute,utility", "0,GPU-ab compute,utility"),
            ("capabilities=compute,utility,device=1", "1 compute,utility"),
            ("nvidia.com/gpu=0", "0"),
            ("nvidia.com/gpu=0,nvidia.com/gpu=1", "0,1"),
        ] {
            assert_eq!(read(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for (value, expected) in [
            ("", "the value is empty"),
            ("0", "0 is no number of GPUs"),
            ("count=0", "0 is no number of GPUs"),
            ("-2", "\"-2\" is neither all nor a number of GPUs"),
            ("99999999999", "\"99999999999\" is neither all nor a number of GPUs"),
            ("none", "\"none\" is neither all nor a number of GPUs"),
            ("GPU-ab", "\"GPU-ab\" is neither all nor a number of GPUs"),
            ("any:2", "\"any:2\" is neither all nor a number of GPUs"),
            ("0-3", "\"0-3\" is neither all nor a number of GPUs"),
            ("all,", "\"\" is neither all nor a number of GPUs"),
            ("1,2", "a number of GPUs can be given once"),
            ("all,count=1", "a number of GPUs can be given once"),
            ("count=", "\"\" is neither all nor a number of GPUs"),
            ("device=", "device= names no GPU"),
            ("device=,", "device= names no GPU"),
            ("2,device=0", "a number of GPUs and device= exclude each other"),
            ("device=0,capabilities=utility,1", "a number of GPUs and device= exclude each other"),
            ("device=0,device=1", "device= can be given once"),
            ("all,driver=amd", "\"amd\" is no driver of Docker's for NVIDIA's GPUs"),
            ("all,gpu=1", "\"gpu\" is none of device, count, capabilities, driver and options"),
            ("device=any:1", "\"any:1\" is none of device, count, capabilities, driver and options"),
            ("'device=0'", "\"'device\" is none of device, count, capabilities, driver and options"),
            ("\"device=0,1", "its quotes are not those of CSV"),
            ("device=\"0,1\"", "its quotes are not those of CSV"),
            ("\"device=0\"1", "its quotes are not those of CSV"),
            ("\\\"device=0,1\\\"", "its quotes are not those of CSV"),
        ] {
            assert_eq!(read(value).unwrap_err(), expected, "{value}");
        }
        for value in ["all,capabilities=tpu", "all,capabilities=", "all,capabilities=compute,tpu"] {
            assert!(read(value).unwrap_err().contains("is no driver capability"), "{value}");
        }
        for value in ["device=gpu0", "device=0,all", "device=0,"] {
            assert!(read(value).is_err(), "{value}");
        }
        assert_eq!(split("\"a\"\"b\",c").unwrap(), ["a\"b", "c"]);
    }
}
