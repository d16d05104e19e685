//! `nvbind setup`: installs nvbind, its hook and what makes podman run it, or removes them.

mod content;
mod device_files;
mod docker;
mod error;
mod executables;
mod layout;
mod notes;
mod rivals;
mod staged;
mod steps;
mod wanted;

#[cfg(test)]
mod tests;

use super::man;
use crate::args;
use crate::driver;
use crate::failure::Failure;
use crate::podman::containers_conf::Sources;
use crate::podman::hooks::{self, Installed};
use device_files::DeviceFiles;
use error::Error;
use executables::Executables;
use layout::{Bases, Item, Layout};
use nix::sys::stat::{Mode, umask};
use nvbind_core::trust;
use rivals::Rivals;
use std::env;
use std::io::{self, Write};
use std::path::{self, Component, Path, PathBuf};
use steps::{Content, Mark, State, Step};
use wanted::Installation;

/// The hook that came with this program: beside it, or installed.
pub(crate) fn find_hook() -> Result<PathBuf, Failure> {
    Ok(executables::find()?.hook)
}

/// Installs or removes.
pub(crate) fn setup(options: &args::Setup) -> Result<(), Failure> {
    act(options).map_err(|error| error.into_failure(options))
}

fn act(options: &args::Setup) -> Result<(), Error> {
    if options.user && nix::unistd::geteuid().is_root() {
        return Err(Error::UserIsRoot);
    }
    let mut options = absolute(options)?;
    // Each of these is about devices of CDI, one of two ways for Docker.
    options.cdi |= options.docker || options.cdi_names || options.replace;
    let sources = Sources::of_this_process();
    let layout = Layout::new(&options, &bases(&options, &sources)?);
    if options.uninstall {
        return uninstall(&layout, options.dry_run);
    }
    if !options.dry_run {
        // Every user's podman runs the hook, whatever the umask of who installs it.
        umask(Mode::from_bits_truncate(0o022));
    }
    install(&layout, &executables::find()?, &options, &sources)
}

fn absolute(options: &args::Setup) -> Result<args::Setup, Error> {
    let resolve = |path: &Option<PathBuf>| match path {
        Some(path) => match path::absolute(path) {
            Ok(absolute) => Ok(Some(absolute)),
            Err(source) => Err(Error::Read { path: path.clone(), source }),
        },
        None => Ok(None),
    };
    if let Some(prefix) = &options.prefix
        && prefix.components().any(|part| part == Component::ParentDir)
    {
        return Err(Error::Upwards { path: prefix.clone() });
    }
    let driver_root = resolve(&options.driver_root)?;
    if let Some(path) = driver_root.as_ref().filter(|path| !path.is_dir()) {
        return Err(Error::DriverRoot { path: path.clone() });
    }
    Ok(args::Setup { prefix: resolve(&options.prefix)?, driver_root, ..options.clone() })
}

fn bases(options: &args::Setup, sources: &Sources) -> Result<Bases, Error> {
    let (home, containers) = match (env::home_dir(), &sources.user) {
        (Some(home), Some(containers)) => (home, containers.clone()),
        _ if options.user => return Err(Error::NoHome),
        _ => (PathBuf::new(), PathBuf::new()),
    };
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.unwrap_or_else(|| home.join(".local/share"));
    Ok(Bases { home, containers, data, etc: PathBuf::from("/etc") })
}

fn install(
    layout: &Layout,
    executables: &Executables,
    options: &args::Setup,
    sources: &Sources,
) -> Result<(), Error> {
    let names =
        if options.cdi_names { driver::device_names(options.driver_root.clone())? } else { Vec::new() };
    let Decision { steps, notes, rivals, docker } = decide(layout, executables, options, sources, &names)?;
    if options.replace {
        rivals.move_away(options.dry_run)?;
    }
    steps::install(&steps, options.dry_run)?;
    if let Some(docker) = docker {
        docker.carry_out(options.dry_run)?;
        docker.notes.iter().for_each(|note| log::warn!("{note}"));
    }
    notes.iter().for_each(|note| log::warn!("{note}"));
    Ok(())
}

/// What an installation does.
#[derive(Debug)]
struct Decision {
    steps: Vec<Step>,
    /// What is left to do afterwards.
    notes: Vec<String>,
    /// Others' specifications, where nvbind's are asked for.
    rivals: Rivals,
    /// What is done for Docker, where that is asked for.
    docker: Option<docker::Plan>,
}

fn decide(
    layout: &Layout,
    executables: &Executables,
    options: &args::Setup,
    sources: &Sources,
    names: &[String],
) -> Result<Decision, Error> {
    let device_files = DeviceFiles::parse(options.device_mode.as_deref(), options.device_group.as_deref())?;
    let before = sources.read(&[])?;
    let others = others_hook(layout);
    let own_hook = layout.path(Item::Hook).unwrap_or_else(|| Path::new("/"));
    let hook = others.as_ref().map_or(own_hook, |(_, hook)| hook);
    if let Some(directory) = hook.parent()
        && nix::unistd::geteuid().is_root()
    {
        trust::check_directory(directory).map_err(Error::Untrusted)?;
    }
    let rivals = if options.cdi { Rivals::find(layout) } else { Rivals::default() };
    let wanted = Installation {
        layout,
        executables,
        options,
        earlier: find_earlier(layout),
        device_files,
        hooks_dirs: &before.hooks_dirs,
        hook,
        names,
        has_rivals: !rivals.is_empty(),
    };
    let mut files = wanted.files()?;
    let docker = if options.docker { Some(docker::plan(layout, hook)?) } else { None };
    if let Some((json, _)) = &others {
        if device_files.is_none() && !options.cdi {
            return Err(Error::OtherInstallation { json: json.clone(), hook: hook.to_owned() });
        }
        // The permissions of the nodes and the specifications are the machine's, whoever installed nvbind.
        let is_machines = |path: &Path| {
            let targets = layout.targets().iter().filter(|target| target.path == path);
            targets
                .map(|target| target.item)
                .any(|item| matches!(item, Item::DeviceFiles | Item::Specification(_)))
        };
        files.retain(|file| is_machines(&file.path));
        let steps = files.into_iter().map(Step::new).collect::<Result<Vec<_>, _>>()?;
        let mut notes = vec![format!("the installation with the hook {} stays as it is", hook.display())];
        notes.extend(notes::nodes(&wanted, &steps));
        notes.extend(rivals.notes(layout, options.replace));
        return Ok(Decision { steps, notes, rivals, docker });
    }
    let steps = files.into_iter().map(Step::new).collect::<Result<Vec<_>, _>>()?;
    let drop_in = find_planned(&steps, layout.path(Item::DropIn));
    let after = sources.read_with(&[], drop_in)?;
    let mut notes = notes::podman(layout, sources, &before, &after)?;
    notes.extend(notes::nodes(&wanted, &steps));
    notes.extend(rivals.notes(layout, options.replace));
    Ok(Decision { steps, notes, rivals, docker })
}

/// What an earlier installation in the same place was asked for.
fn find_earlier(layout: &Layout) -> Option<Installed> {
    match hooks::read_installed(layout.path(Item::Json)?) {
        Ok(found) => Some(found),
        Err(hooks::Error::NoBinary { hook, .. }) => Some(*hook),
        // What else is there is replaced.
        Err(_) => None,
    }
}

/// The JSON and its hook, where that is the hook of another installation, a package's say: for all prefixes that podman
/// looks below, the JSON has one place. A JSON whose hook is not there is nobody's.
fn others_hook(layout: &Layout) -> Option<(PathBuf, PathBuf)> {
    let found = hooks::read_installed(layout.path(Item::Json)?).ok()?;
    (Some(&*found.binary) != layout.path(Item::Hook)).then_some((found.json, found.binary))
}

/// The text that a place among settings holds after the installation, if that is nvbind's.
fn find_planned<'a>(steps: &'a [Step], place: Option<&Path>) -> Option<(&'a Path, &'a str)> {
    let step = steps.iter().find(|step| Some(step.wanted.path.as_path()) == place)?;
    match &step.wanted.content {
        Content::Setting(text) if step.state != State::Theirs => Some((&step.wanted.path, text)),
        Content::Setting(_) | Content::Executable(_) | Content::Document(_) => None,
    }
}

/// The specifications and the JSONs first: without the binary that they name, an engine would start no container that
/// asks for a device, and podman would start containers without their GPUs.
fn uninstall(layout: &Layout, dry_run: bool) -> Result<(), Error> {
    let pages = man::pages().map_err(Error::ManPages)?;
    let others = others_hook(layout);
    let is_others = |item| others.is_some() && matches!(item, Item::Json | Item::VisibleDevicesJson);
    let mut paths = Vec::new();
    let first_line = content::first_line(layout.command());
    let hook = layout.path(Item::Hook);
    for target in layout.targets().iter().rev().filter(|target| !is_others(target.item)) {
        if target.item == Item::ManPages {
            paths.extend(pages.iter().map(|(name, _)| (target.path.join(name), None)));
        } else {
            paths.push((target.path.clone(), wanted::mark(target, &first_line, hook)));
        }
    }
    let files = paths.iter().map(|(path, mark): &(PathBuf, Option<Mark>)| (path.as_path(), mark.as_ref()));
    if let Some((json, hook)) = &others {
        say(&format!(
            "left {}: it is another installation's, with the hook {}",
            json.display(),
            hook.display()
        ));
    }
    docker::undo(layout, dry_run)?;
    let removals = steps::removals(files);
    steps::remove(&removals, dry_run)?;
    notes::removed(layout, &removals).iter().for_each(|note| log::warn!("{note}"));
    Ok(())
}

fn say(text: &str) {
    // A closed stdout does not undo the installation.
    let _ = writeln!(io::stdout(), "{text}");
}
