//! What each target of an installation is to hold.

use super::device_files::DeviceFiles;
use super::executables::Executables;
use super::layout::{Item, Layout, Target};
use super::steps::{self, Content, Wanted};
use super::{Error, content};
use crate::args;
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
}

impl Installation<'_> {
    /// Its files, in the order of installation.
    pub(super) fn files(&self) -> Result<Vec<Wanted>, Error> {
        let line = content::first_line(self.layout.command());
        let mut files = Vec::new();
        for target in self.layout.targets() {
            let first_line = target.is_setting.then(|| line.clone());
            files.extend(self.at(target, &line)?.into_iter().map(|(path, content)| {
                let content = match (content, &first_line) {
                    (Content::Setting(text), Some(line)) => Content::Setting(format!("{line}\n{text}")),
                    (content, _) => content,
                };
                Wanted { path, content, first_line: first_line.clone() }
            }));
        }
        Ok(files)
    }

    /// Nothing where it was not asked for and is not there from an earlier time.
    fn at(&self, target: &Target, first_line: &str) -> Result<Vec<(PathBuf, Content)>, Error> {
        let path = &target.path;
        let one = |content| Ok(vec![(path.clone(), content)]);
        let is_wanted = || {
            !target.is_setting || self.options.user || self.options.etc || steps::is_ours(path, first_line)
        };
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
        let earlier = self.earlier.as_ref();
        let driver_root =
            self.options.driver_root.as_ref().or_else(|| earlier.and_then(|it| it.driver_root.as_ref()));
        // The machine itself is what a hook without the option looks at.
        let driver_root = driver_root.filter(|root| *root != Path::new("/"));
        let options =
            [("--driver-root", driver_root), ("--config", earlier.and_then(|it| it.config.as_ref()))];
        content::hook_json(template, self.installed(Item::Hook, path), &options)
    }

    /// The path of what every installation has.
    fn installed<'a>(&'a self, item: Item, otherwise: &'a Path) -> &'a Path {
        self.layout.path(item).unwrap_or(otherwise)
    }
}
