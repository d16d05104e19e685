//! What a container asks for: the grammar of `io.nvbind.gpu`, `io.nvbind.capabilities` and
//! `io.nvbind.extras`.
//!
//! ```text
//! gpu          = "all" | "none" | name *( separator name )
//! name         = index            position in PCI order, as nvidia-smi counts
//!              | index "-" index  all of these
//!              | "GPU-" hex…      UUID, or a prefix that only one GPU has
//!              | [domain ":"] bus ":" device "." function      PCI address; NVIDIA's 8-digit domain, too
//!              | index ":" index  a MIG device by the GPU's position and its own on that, as nvidia-smi counts
//!              | "MIG-" hex…      a MIG device by UUID, or a prefix that only one has
//!              | "MIG-GPU-" hex… "/" number "/" number         a MIG device by GPU, GPU instance, compute instance:
//!                                 its UUID in drivers before 470, and understood with every driver
//! capabilities = "all" | word *( separator word )              see [`Capability`](crate::capability::Capability)
//! extras       = word *( separator word )                      see [`Extra`](crate::extras::Extra); "imex:" number
//! separator    = "," | "+"        podman before 5.0 cuts the value of `--annotation` at commas
//! ```

use crate::capability::Capabilities;
use crate::exit::Exit;
use crate::extras::Extras;
use crate::failure::Explain;
use crate::gpu_name::{self, GpuName};
use crate::list;
use crate::security::{Allowed, Numbers, Security};
use serde::Serialize;
use std::fmt;

/// The annotation that asks for GPUs; without it the hook does nothing.
pub const GPU_ANNOTATION: &str = "io.nvbind.gpu";

/// The annotation that says which parts of the driver are wanted.
pub const CAPABILITIES_ANNOTATION: &str = "io.nvbind.capabilities";

/// The annotation that asks for what goes beyond the GPUs, or is shared with other containers.
pub const EXTRAS_ANNOTATION: &str = "io.nvbind.extras";

/// The annotation by which `nvbind run` finds the record of its own start. It asks for nothing.
pub const START_ANNOTATION: &str = "io.nvbind.start";

/// The variable of the container's environment that narrows the capabilities where the annotation is absent.
pub const CAPABILITIES_VARIABLE: &str = "NVIDIA_DRIVER_CAPABILITIES";

/// The variable of the container's environment that narrows the GPUs of the annotation: podman gives all containers of
/// a pod the same annotations.
pub const DEVICES_VARIABLE: &str = "NVBIND_DEVICES";

/// Its value, and that of `NVIDIA_VISIBLE_DEVICES`, for a container that is to have nothing of the driver.
pub const VOID: &str = "void";

/// The longest list of GPUs that is read from a variable. The UUIDs of all MIG devices of sixteen GPUs are a third of
/// it.
pub(crate) const LIST_LIMIT: usize = 16 << 10;

/// Why a request cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing between two separators, or nothing at all.
    #[error("the GPU selection {0:?} has an empty entry; write all, none, or a list such as 0,1")]
    Empty(String),
    /// None of the ways to name a GPU.
    #[error(transparent)]
    Name(#[from] gpu_name::Error),
    /// Longer than any list of GPUs.
    #[error("{DEVICES_VARIABLE} is longer than {LIST_LIMIT} bytes")]
    TooLong,
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
    /// An annotation that there is not.
    #[error("there is no annotation {0}: there are {list}", list = ANNOTATIONS.join(", "))]
    Annotation(String),
    /// One with a container's name, which podman gives to all containers of a pod.
    #[error(
        "{0} is how `podman kube generate` writes an annotation of one container: play the file by `nvbind kube play`, or write {1}"
    )]
    OfContainer(String, &'static str),
    /// An annotation that says more of a request, where there is none.
    #[error("{0} asks for no GPU by itself: add {GPU_ANNOTATION}=all, or the GPUs that are meant")]
    NoGpus(String),
    /// Neither yes nor no.
    #[error("io.nvbind.isolate is {0:?}: write true or false")]
    Isolate(String),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// The annotation by which a container shares nothing of the driver's with others, and is refused where it could see
/// the GPUs that it did not ask for.
pub const ISOLATE_ANNOTATION: &str = "io.nvbind.isolate";

/// What the names of all of nvbind's annotations begin with. The hook runs for each of these.
pub const PREFIX: &str = "io.nvbind.";

/// All annotations that there are for people to write.
pub const ANNOTATIONS: [&str; 4] =
    [GPU_ANNOTATION, CAPABILITIES_ANNOTATION, EXTRAS_ANNOTATION, ISOLATE_ANNOTATION];

/// Sees that those of a container's annotations that are nvbind's are known: a mistyped one would be passed over, and
/// the container start without what was asked.
///
/// # Errors
/// When one is not known.
pub fn check_annotations<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let mut own = names.into_iter().filter(|name| name.starts_with(PREFIX));
    let is_known = |name: &str| ANNOTATIONS.contains(&name) || is_start_annotation(name);
    let Some(name) = own.find(|name| !is_known(name)) else { return Ok(()) };
    let whole =
        name.split_once('/').and_then(|(whole, _)| ANNOTATIONS.into_iter().find(|known| *known == whole));
    Err(match whole {
        Some(whole) => Error::OfContainer(name.to_owned(), whole),
        None => Error::Annotation(name.to_owned()),
    })
}

/// Whether it is the annotation by which a start is known, also of an earlier one, as `podman kube generate` keeps it.
#[must_use]
pub fn is_start_annotation(annotation: &str) -> bool {
    annotation.split('/').next() == Some(START_ANNOTATION)
}

/// The GPUs that a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// Every GPU of the machine.
    All,
    /// The driver's files without any GPU.
    None,
    /// Those of these names.
    Listed(Vec<GpuName>),
}

/// What a container asks for, and what it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The GPUs that a container asks for.
    pub gpus: Gpus,
    /// Which parts of the driver.
    pub capabilities: Capabilities,
    /// What it wants beyond the GPUs.
    pub extras: Extras,
    /// Whether it is isolated.
    pub isolate: bool,
    /// The GPUs that it may have, by each who limits them.
    pub allowed: Vec<Allowed>,
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
        let narrowed = match Capabilities::parse(environment.unwrap_or_default()).0 {
            set if set.is_empty() => Capabilities::ALL,
            set => set,
        };
        let (gpus, extras) = (Gpus::parse(gpus)?, Extras::default());
        let request = Request { gpus, capabilities: narrowed, extras, isolate: false, allowed: Vec::new() };
        request.with_capabilities(capabilities)
    }

    /// With more GPUs, in the same grammar.
    ///
    /// # Errors
    /// When a word is not in the grammar.
    pub fn with_gpus(self, gpus: &str) -> Result<Request, Error> {
        Ok(Request { gpus: self.gpus.union(Gpus::parse(gpus)?), ..self })
    }

    /// With the capabilities of a list, if there is one.
    ///
    /// # Errors
    /// When a word of the list is not in the grammar, or there is none.
    pub fn with_capabilities(self, list: Option<&str>) -> Result<Request, Error> {
        let Some(list) = list else { return Ok(self) };
        match Capabilities::parse(list) {
            (capabilities, unknown) if unknown.is_empty() && !capabilities.is_empty() => {
                Ok(Request { capabilities, ..self })
            }
            (_, unknown) => Err(Error::Capability((*unknown.first().unwrap_or(&list)).to_owned())),
        }
    }

    /// Limited to what the configuration allows.
    #[must_use]
    pub fn within(mut self, security: &Security) -> Request {
        self.allowed.extend(security.allowed());
        self
    }

    /// Narrowed to what [`DEVICES_VARIABLE`] of the container's environment names of its GPUs; none where that says
    /// that it is to have nothing. Whoever sets it, an image too, can take away and not add.
    ///
    /// # Errors
    /// When it is not in the grammar, or longer than any list of GPUs.
    pub fn narrowed(self, variable: Option<&str>) -> Result<Option<Request>, Error> {
        let gpus = match variable.map(str::trim) {
            None | Some("" | "all") => return Ok(Some(self)),
            Some(VOID) => return Ok(None),
            Some(list) if list.len() > LIST_LIMIT => return Err(Error::TooLong),
            Some(list) => Gpus::parse(list)?,
        };
        let names = match self.gpus {
            Gpus::All => None,
            Gpus::None => Some(Vec::new()),
            Gpus::Listed(names) => Some(names),
        };
        let mut allowed = self.allowed;
        let by = GPU_ANNOTATION.to_owned();
        allowed.extend(names.map(|names| Allowed { names, by, numbers: Numbers::OfProcess }));
        Ok(Some(Request { gpus, allowed, ..self }))
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

impl Gpus {
    /// Reads a selection.
    ///
    /// # Errors
    /// When a word is not in the grammar.
    pub fn parse(selection: &str) -> Result<Gpus, Error> {
        match selection.trim() {
            "all" => return Ok(Gpus::All),
            "none" => return Ok(Gpus::None),
            _ => {}
        }
        let names = list::split(selection).map(|word| {
            if word.is_empty() {
                return Err(Error::Empty(selection.to_owned()));
            }
            Ok(GpuName::parse(word)?)
        });
        names.collect::<Result<_, _>>().map(Gpus::Listed)
    }

    /// What either of two asks for.
    #[must_use]
    pub fn union(self, other: Gpus) -> Gpus {
        match (self, other) {
            (Gpus::All, _) | (_, Gpus::All) => Gpus::All,
            (Gpus::None, gpus) | (gpus, Gpus::None) => gpus,
            (Gpus::Listed(mut names), Gpus::Listed(others)) => {
                names.extend(others);
                Gpus::Listed(names)
            }
        }
    }
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
            ("0-3,7", "0-3,7"),
            ("2-2", "2-2"),
            ("0:1+1:0", "0:1,1:0"),
            ("MIG-AB12-0", "MIG-ab12-0"),
            ("MIG-GPU-AB12/1/0", "MIG-GPU-ab12/1/0"),
        ] {
            assert_eq!(Gpus::parse(text).unwrap().to_string(), same);
        }
    }

    #[test]
    fn a_mistyped_annotation_is_told_with_those_that_there_are() {
        assert_eq!(
            check_annotations(ANNOTATIONS.into_iter().chain([START_ANNOTATION, "io.nvbindx.gpu", "org.x"])),
            Ok(())
        );
        let error = check_annotations(["io.nvbind.gpu", "io.nvbind.gpus"]).unwrap_err();
        let says = "there is no annotation io.nvbind.gpus: there are io.nvbind.gpu, io.nvbind.capabilities,";
        assert!(error.to_string().starts_with(says), "{error}");
        let error = check_annotations(["io.nvbind.gpu/one"]).unwrap_err().to_string();
        assert!(error.ends_with("play the file by `nvbind kube play`, or write io.nvbind.gpu"), "{error}");
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
            ("3-0", "3-0"),
            ("0-", "0-"),
            ("0-1-2", "0-1-2"),
            ("0:", "0:"),
            ("0:+1", "0:"),
            ("0:1:2", "0:1:2"),
            ("MIG-", "MIG-"),
            ("MIG-GPU-ab", "MIG-GPU-ab"),
            ("MIG-GPU-ab/1", "MIG-GPU-ab/1"),
            ("MIG-GPU-ab/1/0/0", "MIG-GPU-ab/1/0/0"),
            ("MIG-ab/1/0", "MIG-ab/1/0"),
            ("MIG-GPU-ab/../0", "MIG-GPU-ab/../0"),
        ] {
            assert_eq!(
                Gpus::parse(text).unwrap_err(),
                Error::Name(gpu_name::Error(word.to_owned())),
                "{text}"
            );
        }
        for text in ["", ",", "0,,1", " "] {
            assert_eq!(Gpus::parse(text).unwrap_err(), Error::Empty(text.to_owned()));
        }
    }

    #[test]
    fn the_variable_of_a_pods_container_narrows_the_annotation() {
        let narrowed = |annotation, variable: &str| {
            let request = Request::parse(annotation, None, None).unwrap().narrowed(Some(variable))?;
            Ok::<_, Error>(request.map(|request| {
                let limits: Vec<String> = request.allowed.iter().map(ToString::to_string).collect();
                format!("{}; {}", request.gpus, limits.join("; "))
            }))
        };
        for (annotation, variable, expected) in [
            ("0+1", "1", Some("1; io.nvbind.gpu allows 0,1")),
            ("0+1", "2", Some("2; io.nvbind.gpu allows 0,1")),
            ("0+1", "none", Some("none; io.nvbind.gpu allows 0,1")),
            ("0+1", "all", Some("0,1; ")),
            ("0+1", "", Some("0,1; ")),
            ("all", "0,GPU-aa", Some("0,GPU-aa; ")),
            ("none", "0", Some("0; io.nvbind.gpu allows none")),
            ("all", "void", None),
        ] {
            assert_eq!(
                narrowed(annotation, variable).unwrap().as_deref(),
                expected,
                "{annotation} {variable}"
            );
        }
        assert_eq!(narrowed("all", "gpu0"), Err(gpu_name::Error("gpu0".into()).into()));
        assert_eq!(narrowed("all", &"0,".repeat(LIST_LIMIT)), Err(Error::TooLong));
        let request = Request::parse("0", None, None).unwrap();
        assert_eq!(request.clone().narrowed(None).unwrap(), Some(request));
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
