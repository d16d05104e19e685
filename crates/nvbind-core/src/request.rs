//! What a container asks for: the grammar of `io.nvbind.gpu`, `io.nvbind.capabilities` and
//! `io.nvbind.extras`.
//!
//! ```text
//! gpu          = "all" | "none" | name *( separator name )
//! name         = index            position in PCI order, as nvidia-smi counts
//!              | "GPU-" hex…      UUID, or a prefix that only one GPU has
//!              | [domain ":"] bus ":" device "." function      PCI address; NVIDIA's 8-digit domain, too
//! capabilities = "all" | word *( separator word )              see [`Capability`](crate::capability::Capability)
//! extras       = word *( separator word )                      see [`Extra`](crate::extras::Extra); "imex:" number
//! separator    = "," | "+"        podman before 5.0 cuts the value of `--annotation` at commas
//! ```

use crate::capability::Capabilities;
use crate::extras::Extras;
use crate::inventory::PciAddress;
use serde::Serialize;
use std::fmt;

/// The annotation that asks for GPUs; without it the hook does nothing.
pub const GPU_ANNOTATION: &str = "io.nvbind.gpu";

/// The annotation that says which parts of the driver are wanted.
pub const CAPABILITIES_ANNOTATION: &str = "io.nvbind.capabilities";

/// The annotation that asks for what goes beyond the GPUs, or is shared with other containers.
pub const EXTRAS_ANNOTATION: &str = "io.nvbind.extras";

/// The variable of the container's environment that narrows the capabilities where the annotation is absent.
pub const CAPABILITIES_VARIABLE: &str = "NVIDIA_DRIVER_CAPABILITIES";

/// What stands between the words of a list.
pub(crate) const SEPARATORS: [char; 2] = [',', '+'];

/// Why a request cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing between two separators, or nothing at all.
    #[error("the GPU selection {0:?} has an empty entry; write all, none, or a list such as 0,1")]
    Empty(String),
    /// Neither an index nor a UUID nor a PCI address.
    #[error("{0:?} is no GPU: write an index (0), a UUID (GPU-…), a PCI address (0000:01:00.0), all or none")]
    Name(String),
    /// Not a capability.
    #[error(
        "{0:?} is no driver capability: there are compute, utility, graphics, video, display, ngx, compat32, all"
    )]
    Capability(String),
    /// Not an extra.
    #[error(
        "{0:?} is no extra: there are mps, imex, imex:N (a channel below 1048576), nvswitch, gds, gdrcopy, infiniband"
    )]
    Extra(String),
    /// Neither yes nor no.
    #[error("io.nvbind.isolate is {0:?}: write true or false")]
    Isolate(String),
}

/// The annotation by which a container shares nothing of the driver's with others, and is refused where it could see the
/// GPUs that it did not ask for.
pub const ISOLATE_ANNOTATION: &str = "io.nvbind.isolate";

/// Which GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// Every GPU of the machine.
    All,
    /// The driver's files without any GPU.
    None,
    /// These.
    Listed(Vec<GpuName>),
}

/// One way to name a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuName {
    /// Position in PCI order.
    Index(u32),
    /// UUID or a prefix of it, with `GPU-`.
    Uuid(String),
    /// PCI address.
    Pci(PciAddress),
}

impl fmt::Display for GpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuName::Index(index) => write!(f, "{index}"),
            GpuName::Uuid(uuid) => f.write_str(uuid),
            GpuName::Pci(address) => write!(f, "{address}"),
        }
    }
}

/// What a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which GPUs.
    pub gpus: Gpus,
    /// Which parts of the driver.
    pub capabilities: Capabilities,
    /// What else.
    pub extras: Extras,
    /// Whether it is isolated.
    pub isolate: bool,
}

impl Request {
    /// Reads a request.
    ///
    /// `capabilities` is the annotation's or the option's list; without one `environment`, the container's
    /// `NVIDIA_DRIVER_CAPABILITIES`, narrows the default `all`. The environment is the image's word: what it names
    /// beyond the known capabilities is ignored, not refused.
    ///
    /// # Errors
    /// When a word is not in the grammar.
    pub fn parse(
        gpus: &str,
        capabilities: Option<&str>,
        environment: Option<&str>,
    ) -> Result<Request, Error> {
        let capabilities = match (capabilities, environment) {
            (Some(list), _) => match Capabilities::parse(list) {
                (set, unknown) if unknown.is_empty() && !set.is_empty() => set,
                (_, unknown) => {
                    return Err(Error::Capability((*unknown.first().unwrap_or(&list)).to_owned()));
                }
            },
            (None, Some(list)) => match Capabilities::parse(list).0 {
                set if set.is_empty() => Capabilities::ALL,
                set => set,
            },
            (None, None) => Capabilities::ALL,
        };
        Ok(Request { gpus: parse_gpus(gpus)?, capabilities, extras: Extras::default(), isolate: false })
    }

    /// Isolated, if the annotation says so.
    ///
    /// # Errors
    /// When it says neither `true` nor `false`.
    pub fn with_isolation(self, value: Option<&str>) -> Result<Request, Error> {
        match value {
            None | Some("false") => Ok(self),
            Some("true") => Ok(Request { isolate: true, ..self }),
            Some(other) => Err(Error::Isolate(other.to_owned())),
        }
    }

    /// With the extras of a list, if there is one. No variable of the environment asks for any.
    ///
    /// # Errors
    /// When a word of the list is not in the grammar, or there is none.
    pub fn with_extras(self, list: Option<&str>) -> Result<Request, Error> {
        let Some(list) = list else { return Ok(self) };
        match Extras::parse(list) {
            (extras, unknown) if unknown.is_empty() && !extras.is_empty() => Ok(Request { extras, ..self }),
            (_, unknown) => Err(Error::Extra((*unknown.first().unwrap_or(&list)).to_owned())),
        }
    }
}

fn parse_gpus(selection: &str) -> Result<Gpus, Error> {
    match selection.trim() {
        "all" => return Ok(Gpus::All),
        "none" => return Ok(Gpus::None),
        _ => {}
    }
    let names = selection.split(SEPARATORS).map(str::trim).map(|word| {
        if word.is_empty() {
            return Err(Error::Empty(selection.to_owned()));
        }
        parse_name(word).ok_or_else(|| Error::Name(word.to_owned()))
    });
    names.collect::<Result<_, _>>().map(Gpus::Listed)
}

fn parse_name(word: &str) -> Option<GpuName> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse().ok().map(GpuName::Index);
    }
    if let Some(rest) = word.strip_prefix("GPU-") {
        let hex = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        return hex.then(|| GpuName::Uuid(format!("GPU-{}", rest.to_ascii_lowercase())));
    }
    PciAddress::parse(word).map(GpuName::Pci)
}

impl Serialize for Gpus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gpus::All => f.write_str("all"),
            Gpus::None => f.write_str("none"),
            Gpus::Listed(names) => {
                for (position, name) in names.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma}{name}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;

    #[test]
    fn selections_are_read_in_every_form() {
        for (text, same) in [
            ("all", "all"),
            ("none", "none"),
            ("0", "0"),
            (" 0 , 1", "0,1"),
            ("0+1", "0,1"),
            ("GPU-AB12,0000:01:00.0", "GPU-ab12,0000:01:00.0"),
            ("00000000:C1:00.0", "0000:c1:00.0"),
            ("c1:00.0", "0000:c1:00.0"),
        ] {
            assert_eq!(parse_gpus(text).unwrap().to_string(), same);
        }
    }

    #[test]
    fn isolation_is_a_word_of_two() {
        let request = |value| Request::parse("all", None, None).unwrap().with_isolation(value);
        assert!(!request(None).unwrap().isolate);
        assert!(!request(Some("false")).unwrap().isolate);
        assert!(request(Some("true")).unwrap().isolate);
        assert_eq!(request(Some("yes")), Err(Error::Isolate("yes".to_owned())));
    }

    #[test]
    fn what_is_no_selection_is_named() {
        for (text, word) in [
            ("gpu0", "gpu0"),
            ("0,-1", "-1"),
            ("GPU-", "GPU-"),
            ("all,0", "all"),
            ("99999999999", "99999999999"),
        ] {
            assert_eq!(parse_gpus(text).unwrap_err(), Error::Name(word.to_owned()), "{text}");
        }
        for text in ["", ",", "0,,1", " "] {
            assert_eq!(parse_gpus(text).unwrap_err(), Error::Empty(text.to_owned()));
        }
    }

    #[test]
    fn the_environment_narrows_and_never_refuses() {
        let capabilities =
            |list, environment| Request::parse("all", list, environment).map(|r| r.capabilities.to_string());
        assert_eq!(capabilities(None, None).unwrap(), "all");
        assert_eq!(capabilities(None, Some("compute,utility")).unwrap(), "compute,utility");
        assert_eq!(capabilities(None, Some("compute,next-year")).unwrap(), "compute");
        assert_eq!(capabilities(None, Some("")).unwrap(), "all");
        assert_eq!(capabilities(Some("graphics"), Some("compute")).unwrap(), "graphics");
        assert_eq!(capabilities(Some("compute,x"), None).unwrap_err(), Error::Capability("x".into()));
        assert_eq!(capabilities(Some(""), None).unwrap_err(), Error::Capability(String::new()));
        assert_eq!(Capabilities::ALL.iter().count(), Capability::ALL.len());
    }

    #[test]
    fn extras_are_those_of_a_list_and_none_without() {
        let extras = |list| {
            let request = Request::parse("all", None, Some("mps"))?.with_extras(list)?;
            Ok(request.extras.to_string())
        };
        assert_eq!(extras(None), Ok(String::new()));
        assert_eq!(extras(Some("imex:3+mps")), Ok("mps,imex:3".to_owned()));
        assert_eq!(extras(Some("mps,sockets")), Err(Error::Extra("sockets".to_owned())));
        assert_eq!(extras(Some("")), Err(Error::Extra(String::new())));
    }
}
