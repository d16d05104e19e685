//! What each target of an installation is to hold.

use super::device_files::DeviceFiles;
use super::executables::Executables;
use super::layout::{Item, Layout, Target};
use super::steps::{Content, Mark, Wanted};
use super::{Error, content};
use crate::args;
use crate::cdi::{self, Specification};
use crate::commands::{completions, man};
use crate::podman::hooks::Installed;
use std::path::{Path, PathBuf};

/// An installation that is asked for.
#[derive(Debug)]
pub(super) struct Installation<'a> {
    pub(super) layout: &'a Layout,
    pub(super) executables: &'a Executables,
    pub(super) options: &'a args::Setup,
    /// What an earlier one in the same place was asked for.
    pub(super) earlier: Option<Installed>,
    /// What the command line says of device nodes.
    pub(super) device_files: Option<DeviceFiles>,
    /// Where podman looks for hooks before it.
    pub(super) hooks_dirs: &'a [PathBuf],
    /// The hook that engines run for devices: another installation's, if there is one.
    pub(super) hook: &'a Path,
    /// Names of this machine's GPUs for the specifications.
    pub(super) names: &'a [String],
    /// Whether others' specifications are in the way of nvbind's of this kind.
    pub(super) has_rivals: bool,
}

impl Installation<'_> {
    /// Its files, in the order of installation.
    pub(super) fn files(&self) -> Result<Vec<Wanted>, Error> {
        let line = content::first_line(self.layout.command());
        let mut files = Vec::new();
        for target in self.layout.targets() {
            let mark = mark(target, &line, None);
            files.extend(self.at(target, mark.as_ref())?.into_iter().map(|(path, content)| {
                let content = match (content, &mark) {
                    (Content::Setting(text), Some(Mark::FirstLine(line))) => {
                        Content::Setting(format!("{line}\n{text}"))
                    }
                    (content, _) => content,
                };
                Wanted { path, content, mark: mark.clone() }
            }));
        }
        Ok(files)
    }

    /// Nothing where it was not asked for and is not there from an earlier time.
    fn at(&self, target: &Target, mark: Option<&Mark>) -> Result<Vec<(PathBuf, Content)>, Error> {
        let path = &target.path;
        let one = |content| Ok(vec![(path.clone(), content)]);
        let is_there = || mark.is_some_and(|mark| mark.is_on(path));
        let is_wanted = || !target.is_setting || self.options.user || self.options.etc || is_there();
        match target.item {
            Item::Hook => one(Content::Executable(self.executables.hook.clone())),
            Item::Cli => one(Content::Executable(self.executables.cli.clone())),
            Item::Completions(shell) => one(Content::Document(completions::script(shell))),
            Item::ManPages => {
                let pages = man::pages().map_err(Error::ManPages)?;
                Ok(pages.into_iter().map(|(name, page)| (path.join(name), Content::Document(page))).collect())
            }
            Item::Policy => one(Content::Document(content::POLICY.into())),
            Item::DeviceFiles => {
                self.device_files.map_or_else(|| Ok(Vec::new()), |files| one(Content::Setting(files.lines())))
            }
            Item::Unit if is_wanted() => self.unit(content::UNIT, path),
            Item::Template | Item::UserTemplate if is_wanted() => self.unit(content::TEMPLATE, path),
            Item::Rule if is_wanted() => one(Content::Setting(content::RULE.to_owned())),
            Item::DropIn if is_wanted() => {
                let mut directories = self.hooks_dirs.to_vec();
                directories.retain(|directory| directory != self.layout.hooks_dir());
                directories.push(self.layout.hooks_dir().to_owned());
                one(Content::Setting(content::hooks_dir_setting(&directories)?))
            }
            Item::Json => one(Content::Setting(self.json(content::HOOK_JSON, path)?)),
            // For the same driver root as the other.
            Item::VisibleDevicesJson if self.options.visible_devices || path.exists() => {
                one(Content::Setting(self.json(content::VISIBLE_DEVICES_JSON, path)?))
            }
            Item::Specification(kind) => {
                let is_free = kind != cdi::Kind::Nvidia || !self.has_rivals || self.options.replace;
                if is_there() || self.options.cdi && is_free {
                    one(Content::Document(self.specification(kind, path)?.into_bytes()))
                } else {
                    Ok(Vec::new())
                }
            }
            Item::Unit
            | Item::Rule
            | Item::Template
            | Item::UserTemplate
            | Item::DropIn
            | Item::VisibleDevicesJson => Ok(Vec::new()),
        }
    }

    fn unit(&self, packaged: &str, path: &Path) -> Result<Vec<(PathBuf, Content)>, Error> {
        let text = content::unit(packaged, self.installed(Item::Cli, path))?;
        Ok(vec![(path.to_owned(), Content::Setting(text))])
    }

    fn json(&self, template: &str, path: &Path) -> Result<String, Error> {
        content::hook_json(template, self.installed(Item::Hook, path), &self.hook_options()?)
    }

    /// The arguments of the hook that this installation or an earlier one was asked for.
    fn hook_options(&self) -> Result<Vec<String>, Error> {
        let earlier = self.earlier.as_ref();
        let driver_root =
            self.options.driver_root.as_ref().or_else(|| earlier.and_then(|it| it.driver_root.as_ref()));
        // The machine itself is what a hook without the option looks at.
        let driver_root = driver_root.filter(|root| *root != Path::new("/"));
        let config = earlier.and_then(|it| it.config.as_ref());
        let mut words = Vec::new();
        for (option, value) in [("--driver-root", driver_root), ("--config", config)] {
            if let Some(value) = value {
                words.extend([option.to_owned(), content::text(value)?.to_owned()]);
            }
        }
        Ok(words)
    }

    /// With the names that it was asked for, now or at an earlier time.
    fn specification(&self, kind: cdi::Kind, path: &Path) -> Result<String, Error> {
        let options = self.hook_options()?;
        let plain = Specification { kind, hook: content::text(self.hook)?, options: &options, names: &[] };
        let earlier = cdi::File::read(path).map(|file| file.names).unwrap_or_default();
        let mut names: Vec<String> = self.names.iter().cloned().chain(earlier).collect();
        names.retain(|name| !plain.has(name));
        names.sort();
        names.dedup();
        content::pretty(&Specification { names: &names, ..plain }.document())
    }

    /// The path of what every installation has.
    fn installed<'a>(&'a self, item: Item, otherwise: &'a Path) -> &'a Path {
        self.layout.path(item).unwrap_or(otherwise)
    }
}

/// What this installation's files have at a place where others put files, too; those of CDI with `hook` alone, if that
/// is given.
pub(super) fn mark(target: &Target, first_line: &str, hook: Option<&Path>) -> Option<Mark> {
    if matches!(target.item, Item::Specification(_)) {
        return Some(Mark::Specification(hook.map(Path::to_owned)));
    }
    target.is_setting.then(|| Mark::FirstLine(first_line.to_owned()))
}
