//! The options by which a command line asks for GPUs: nvbind's own, and those of other tools.

use super::lexer::{Given, Origin};
use crate::choice::{self, Choice, Error, docker};
use nvbind_core::request::GPU_ANNOTATION;
use nvbind_core::visible_devices;
use std::ffi::OsStr;

/// An option that asks for GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The option, for messages.
    pub(super) typed: String,
    pub(super) asks: Asks,
    /// Parts of the driver that it names as well.
    pub(super) capabilities: Option<String>,
    /// Whether it has options of Docker's, which do nothing there either.
    pub(super) has_options: bool,
    pub(super) origin: Origin,
}

/// What a way asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// This, beside what others ask for.
    For(Choice),
    /// The value of `NVIDIA_VISIBLE_DEVICES`, which says what the container has in all.
    Variable(Choice),
    /// The same, of the caller's own variable.
    Inherited,
}

/// What podman gets of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `--gpu`
    Own,
    /// `--gpus`
    Docker,
    /// `--device` with the name of a CDI device that nvbind gives.
    Device,
    /// `--annotation io.nvbind.gpu=`
    Annotation,
    /// `--env NVIDIA_VISIBLE_DEVICES`, with or without a value.
    Variable,
    /// `--env NVIDIA_*`: podman takes all of these from the caller, so that the option has to stay.
    Pattern,
}

impl Kind {
    fn find(given: &Given) -> Option<Kind> {
        let value = given.value.as_deref().and_then(OsStr::to_str);
        match given.name.as_str() {
            "gpu" => Some(Kind::Own),
            "gpus" => Some(Kind::Docker),
            "device" => choice::device_name(value?).map(|_| Kind::Device),
            "annotation" => (value?.split_once('=')?.0 == GPU_ANNOTATION).then_some(Kind::Annotation),
            "env" => match value?.split_once('=') {
                Some((name, _)) => (name == visible_devices::VARIABLE).then_some(Kind::Variable),
                None if value? == visible_devices::VARIABLE => Some(Kind::Variable),
                None => {
                    let start = value?.strip_suffix('*')?;
                    visible_devices::VARIABLE.starts_with(start).then_some(Kind::Pattern)
                }
            },
            _ => None,
        }
    }
}

/// Whether an option says which GPUs there are to be, so that podman gets nvbind's own options instead.
pub(super) fn is_taken(given: &Given) -> bool {
    Kind::find(given).is_some_and(|kind| kind != Kind::Pattern)
}

/// Whether podman would take `NVIDIA_VISIBLE_DEVICES` from the caller beside all that begins like it.
pub(super) fn is_pattern(given: &Given) -> bool {
    Kind::find(given) == Some(Kind::Pattern)
}

impl Way {
    /// The way that an option is, if it is one.
    pub(super) fn read(given: &Given, origin: &Origin) -> Result<Option<Way>, Error> {
        let Some(kind) = Kind::find(given) else { return Ok(None) };
        let value = given.value.as_deref().and_then(OsStr::to_str).unwrap_or_default();
        let typed = format!("--{} {value}", given.name);
        let wrong = |source| Error::Typed { typed: typed.clone(), source: Box::new(source) };
        let after = value.split_once('=').map(|(_, after)| after);
        let (mut capabilities, mut has_options) = (None, false);
        let asks = match kind {
            // Only who types it asks by a variable: those of the configuration are left out, with a note.
            Kind::Variable | Kind::Pattern if *origin != Origin::Typed => return Ok(None),
            Kind::Own | Kind::Device => Asks::For(Choice::parse(value).map_err(wrong)?),
            Kind::Docker => {
                let asked = docker::parse(value).map_err(wrong)?;
                (capabilities, has_options) = (asked.capabilities, asked.has_options);
                Asks::For(asked.choice)
            }
            Kind::Annotation => Asks::For(Choice::parse(after.unwrap_or_default()).map_err(wrong)?),
            Kind::Variable => match after {
                Some(value) => Asks::Variable(Choice::parse_variable(value).map_err(wrong)?),
                None => Asks::Inherited,
            },
            Kind::Pattern => Asks::Inherited,
        };
        Ok(Some(Way { typed, asks, capabilities, has_options, origin: origin.clone() }))
    }

    /// Whether it is the variable.
    pub(super) fn is_variable(&self) -> bool {
        matches!(self.asks, Asks::Variable(_) | Asks::Inherited)
    }

    /// Whether both are of the same part of the line: what is typed counts before all that a profile says, and that
    /// before the rest of the configuration.
    pub(super) fn is_beside(&self, other: &Way) -> bool {
        match (&self.origin, &other.origin) {
            (Origin::Setting(_), Origin::Setting(_)) => true,
            (one, other) => one == other,
        }
    }
}
