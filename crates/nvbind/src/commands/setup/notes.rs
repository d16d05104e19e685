//! What is left to do, or to know, after an installation or a removal.

use super::device_files::{self, DeviceFiles};
use super::layout::{Item, Layout};
use super::steps::{Removal, Step};
use super::wanted::Installation;
use super::{Error, content, rivals};
use crate::cdi;
use crate::driver::{self, HookOptions};
use crate::podman::containers_conf::{Engine, Sources};
use std::path::Path;

/// What makes systemd and udev read their files again.
const RELOAD: &str = "systemctl daemon-reload && udevadm control --reload";

/// Whether podman finds the hook, and what to do if not.
pub(super) fn podman(
    layout: &Layout,
    sources: &Sources,
    before: &Engine,
    after: &Engine,
) -> Result<Vec<String>, Error> {
    let directory = layout.hooks_dir();
    let drop_in = layout.path(Item::DropIn);
    if !after.hooks_dirs.iter().any(|read| read == directory) {
        let mut all = after.hooks_dirs.clone();
        all.push(directory.to_owned());
        let key = content::hooks_dir_key(&all)?;
        let place = match (sources.instead.as_ref().or_else(|| after.hooks_dirs_from.last()), drop_in) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(drop_in)) if layout.is_elsewhere() => {
                format!("{}, as `{} --etc` does", drop_in.display(), layout.command())
            }
            (None, _) => sources.admin.join("containers.conf.d/nvbind.conf").display().to_string(),
        };
        return Ok(vec![format!(
            "podman does not look in {}: give it `--hooks-dir {0}`, or write `{key}` below [engine] into {place}",
            directory.display(),
        )]);
    }
    let Some(drop_in) = drop_in.filter(|path| after.hooks_dirs_from.iter().any(|from| from == path)) else {
        return Ok(Vec::new());
    };
    let others = before.hooks_dirs_from.iter().filter(|file| *file != drop_in);
    let told = others.map(|other| {
        format!(
            "{} sets hooks_dir too; {} replaces that, with its directories as they are now",
            other.display(),
            drop_in.display()
        )
    });
    Ok(told.collect())
}

/// What it takes for the driver's device nodes to be there, and to be as asked for.
pub(super) fn nodes(wanted: &Installation<'_>, steps: &[Step]) -> Vec<String> {
    let Installation { layout, options, .. } = wanted;
    let step = |item| {
        let place = layout.path(item);
        steps.iter().find(|step| Some(step.wanted.path.as_path()) == place)
    };
    let mut notes = Vec::new();
    if [Item::Unit, Item::Rule].into_iter().any(|item| step(item).is_some_and(Step::is_change)) {
        notes.push(format!(
            "the driver's device nodes are made when it is loaded: from the next boot on, or after `{RELOAD} && nvbind devices`"
        ));
    } else if layout.is_elsewhere() && step(Item::Rule).is_none() {
        notes.push(format!(
            "nothing has the driver's device nodes made for rootless containers: `{} --etc` installs what does",
            layout.command()
        ));
    }
    if let (Some(files), Some(step)) = (wanted.device_files, step(Item::DeviceFiles)) {
        notes.extend(device_files(files, step));
    }
    if options.user
        && let Ok([first, ..]) =
            driver::missing_nodes(&HookOptions::new(options.driver_root.clone())).as_deref()
    {
        notes.push(format!(
            "the device node {first} is not there, and only root can have it made: `nvbind devices` once, or `nvbind setup` for \
             each time the driver is loaded"
        ));
    }
    notes
}

fn device_files(files: DeviceFiles, step: &Step) -> Vec<String> {
    let path = &step.wanted.path;
    let mut notes = Vec::new();
    if step.is_change() {
        notes.push(format!(
            "{} counts when the driver's module is loaded anew, as by a reboot; an initramfs that has the module has to be made \
             anew first (`update-initramfs -u`, `dracut --force`, `mkinitcpio -P`)",
            path.display()
        ));
        notes.extend(files.meaning().map(str::to_owned));
    }
    let directories = device_files::FURTHER_DIRECTORIES.map(Path::new);
    for rival in device_files::rivals(&directories, path, &files.lines()) {
        let which = if rival.wins { "later, so that it counts: change it there" } else { "earlier" };
        notes.push(format!("{} sets the same and is read {which}", rival.path.display()));
    }
    notes
}

/// What still knows of removed files.
pub(super) fn removed(layout: &Layout, removals: &[Removal]) -> Vec<String> {
    let is_gone =
        |item| layout.path(item).is_some_and(|path| removals.contains(&Removal::File(path.to_owned())));
    let mut notes = Vec::new();
    if is_gone(Item::Unit) || is_gone(Item::Rule) {
        notes.push(format!("systemd and udev know of it until a reboot, or `{RELOAD}`"));
    }
    if is_gone(Item::Specification(cdi::Kind::Nvidia)) {
        notes.extend(rivals::moved_away(layout));
    }
    if is_gone(Item::DeviceFiles) {
        notes.push("the mode of the driver's device nodes stays until its module is loaded anew".to_owned());
    }
    notes
}
