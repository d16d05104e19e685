//! What follows `nvbind run` or `create`: options, nvbind's and podman's mixed, then the image and its command.
//!
//! clap can't read it, because it has to know every option, and loses their order.

use super::lexer::{Group, Origin};
use super::options::Options;
use super::own::Error;
use std::ffi::{OsStr, OsString};

/// A command line of `nvbind run` or `create`, read once. The configuration adds its options to those that were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    pub(crate) options: Options,
    pub(crate) container: Container,
}

/// What follows the options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    /// Whether `--` stands before it.
    has_dashes: bool,
    /// IMAGE, or a directory with `--rootfs`.
    pub(crate) image: Option<OsString>,
    /// COMMAND with its arguments.
    pub(crate) command: Vec<OsString>,
}

/// What podman is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Run,
    Create,
}

impl Verb {
    /// The verb of `nvbind NAME`.
    #[must_use]
    pub(crate) fn find(name: &OsStr) -> Option<Verb> {
        [Verb::Run, Verb::Create].into_iter().find(|verb| name == verb.name())
    }

    /// Its name, for nvbind and for podman.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Verb::Run => "run",
            Verb::Create => "create",
        }
    }
}

impl CommandLine {
    /// Reads the arguments after `nvbind run` or `nvbind create`.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CommandLine, Error> {
        let mut arguments = arguments.into_iter();
        let (options, end) = Options::parse(&mut arguments, &Origin::Typed)?;
        let has_dashes = end.as_deref() == Some(OsStr::new("--"));
        let image = if has_dashes { arguments.next() } else { end };
        Ok(CommandLine { options, container: Container { has_dashes, image, command: arguments.collect() } })
    }

    /// Adds options that count where the line itself says nothing else.
    pub(crate) fn add_before(&mut self, mut earlier: Options) {
        earlier.extend(std::mem::take(&mut self.options));
        self.options = earlier;
    }

    /// The options that the user typed, in order.
    pub(crate) fn typed(&self) -> impl Iterator<Item = &Group> {
        self.options.groups().filter(|group| group.origin == Origin::Typed)
    }
}

impl Container {
    /// The arguments that it was read from.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = OsString> {
        let dashes = self.has_dashes.then(|| OsString::from("--"));
        dashes.into_iter().chain(self.image.clone()).chain(self.command.iter().cloned())
    }
}

#[cfg(test)]
mod tests;
