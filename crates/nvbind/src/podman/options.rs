//! The options of a command line in order, those of nvbind read.

use super::known::{RUN, Syntax};
use super::lexer::{self, Given, Group, Item, Origin};
use super::own::{Error, Own};
use std::ffi::{OsStr, OsString};

/// Options in order, each with where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// What those of nvbind say together.
    pub(crate) own: Own,
    groups: Vec<(For, Group)>,
}

/// Who reads an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Nvbind,
    Podman,
}

impl Options {
    /// Reads options of `nvbind run` up to the first argument that is none, and returns that, too.
    pub(crate) fn parse(
        arguments: &mut impl Iterator<Item = OsString>,
        origin: &Origin,
    ) -> Result<(Options, Option<OsString>), Error> {
        let mut options = Options::default();
        let end = options.read(&RUN, arguments, origin)?;
        Ok((options, end))
    }

    /// Adds the next options, up to the first argument that is none; returns that.
    pub(super) fn read(
        &mut self,
        syntax: &Syntax,
        arguments: &mut impl Iterator<Item = OsString>,
        origin: &Origin,
    ) -> Result<Option<OsString>, Error> {
        while let Some(item) = lexer::next(syntax, arguments, origin) {
            match item {
                Item::End(argument) => return Ok(Some(argument)),
                Item::Options(group) => {
                    let first = group.options.first();
                    let own = first.filter(|given| syntax.own.contains(&given.name.as_str()));
                    let reader = if own.is_some() { For::Nvbind } else { For::Podman };
                    own.map(|given| self.own.set(given)).transpose()?;
                    for given in &group.options {
                        self.own.ask(given, origin)?;
                    }
                    self.groups.push((reader, group));
                }
            }
        }
        Ok(None)
    }

    /// Adds an option of podman's with its value.
    pub(crate) fn add(&mut self, name: &str, value: impl AsRef<OsStr>, origin: &Origin) {
        let group = Group::new(name, Some(value.as_ref().to_owned()), origin.clone());
        self.groups.push((For::Podman, group));
    }

    /// Adds a device, which may ask for a GPU.
    pub(crate) fn add_device(&mut self, device: &str, origin: &Origin) -> Result<(), Error> {
        let group = Group::new("device", Some(device.into()), origin.clone());
        for given in &group.options {
            self.own.ask(given, origin)?;
        }
        self.groups.push((For::Podman, group));
        Ok(())
    }

    /// Puts a switch of podman's before all others.
    pub(crate) fn switch_on_first(&mut self, name: &str) {
        self.groups.insert(0, (For::Podman, Group::new(name, None, Origin::Nvbind)));
    }

    /// Adds options that count where these say something else.
    pub(crate) fn extend(&mut self, later: Options) {
        self.own = later.own.after(std::mem::take(&mut self.own));
        self.groups.extend(later.groups);
    }

    /// Takes out the options of podman's for which `drop` holds.
    pub(crate) fn remove(&mut self, drop: impl Fn(&Given) -> bool) {
        let groups = std::mem::take(&mut self.groups).into_iter();
        self.groups = groups.filter_map(|(reader, group)| Some((reader, group.without(&drop)?))).collect();
    }

    /// All groups in order, nvbind's options among them.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|(_, group)| group)
    }

    /// Those for podman.
    pub(crate) fn for_podman(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|(reader, _)| *reader == For::Podman).map(|(_, group)| group)
    }

    /// nvbind's own by their names.
    pub(crate) fn own_names(&self) -> impl Iterator<Item = &str> {
        let own = self.groups.iter().filter(|(reader, _)| *reader == For::Nvbind);
        own.flat_map(|(_, group)| &group.options).map(|given| given.name.as_str())
    }

    /// All options in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Given> {
        self.groups.iter().flat_map(|(_, group)| &group.options)
    }

    /// The option that counts of those with this name.
    pub(crate) fn last(&self, name: &str) -> Option<&Given> {
        self.iter().rev().find(|given| given.name == name)
    }

    /// The values of the options with this name.
    pub(crate) fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.iter().filter(move |given| given.name == name).filter_map(|given| given.value.as_deref())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.last(name).is_some_and(Given::is_on)
    }
}
