//! The driver as the installed hook would find it, for everything that tells in advance what the hook will do.

mod access;
mod device_names;
pub(crate) mod label;
mod modprobe;
mod units;

use crate::podman::containers_conf::Sources;
use crate::podman::hooks::{self, Installed};
pub(crate) use access::User;
pub(crate) use device_names::device_names;
pub(crate) use modprobe::{make_nodes, missing_nodes};
use nvbind_core::capability::Capabilities;
use nvbind_core::exit::Exit;
use nvbind_core::extras::Extras;
use nvbind_core::failure::Explain;
use nvbind_core::host::{self, Host};
use nvbind_core::inventory::{self, Inventory};
use nvbind_core::listing::Listing;
use nvbind_core::nvml;
use nvbind_core::plan::Plan;
use nvbind_core::request::{self, Request};
use nvbind_core::resolve::{self, Policy, Resolver};
use nvbind_core::security::{NoAnnotations, Security};
use nvbind_core::settings::{self, SYSTEM_FILE, Settings};
use std::path::{Path, PathBuf};
pub(crate) use units::{Machine, Unit, UnitId, UnitKind};

/// Why a container would not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration that the hook's command line names, or the system's.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The selection or the capabilities.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// The driver, or the GPUs.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// Annotations, by which this program asks.
    #[error(transparent)]
    NoAnnotations(#[from] NoAnnotations),
    /// A device node that is not there, or not for this user.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// A device node that cannot be made.
    #[error(transparent)]
    Modprobe(#[from] modprobe::Error),
}

/// The driver roots.
impl From<host::Error> for Error {
    fn from(error: host::Error) -> Error {
        Error::Resolve(error.into())
    }
}

impl From<inventory::Error> for Error {
    fn from(error: inventory::Error) -> Error {
        Error::Resolve(error.into())
    }
}

impl Error {
    fn explained(&self) -> &dyn Explain {
        match self {
            Error::Settings(error) => error,
            Error::Request(error) => error,
            Error::Resolve(error) => error,
            Error::NoAnnotations(error) => error,
            Error::Access(error) => error,
            Error::Modprobe(error) => error,
        }
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        self.explained().exit()
    }

    fn hint(&self) -> Option<String> {
        // Whatever is typed here becomes an annotation.
        if let Error::NoAnnotations(_) = self {
            return Some(
                "nvbind asks by an annotation; `podman run --device nvidia.com/gpu=0` does not".into(),
            );
        }
        self.explained().hint()
    }
}

/// What the installed hook's command line says about where it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HookOptions {
    driver_root: Option<PathBuf>,
    config: Option<PathBuf>,
}

/// Whether kernel modules may be loaded on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modules {
    /// Loaded, if they are not and this user may.
    Load,
    /// Left as they are.
    Leave,
}

impl From<Installed> for HookOptions {
    fn from(hook: Installed) -> HookOptions {
        HookOptions { driver_root: hook.driver_root, config: hook.config }
    }
}

impl HookOptions {
    /// Below this directory; without one, where the hook of a plain `podman run` looks, or would look.
    pub(crate) fn new(driver_root: Option<PathBuf>) -> HookOptions {
        // Where podman's configuration is broken or has no hook, this is a preview.
        let directories =
            Sources::of_this_process().read(&[]).map(|engine| engine.hooks_dirs).unwrap_or_default();
        let hook = hooks::find(&directories).map(HookOptions::from).unwrap_or_default();
        match driver_root {
            // The paths of a report mean the same in another directory.
            Some(root) => {
                HookOptions { driver_root: Some(std::path::absolute(&root).unwrap_or(root)), ..hook }
            }
            None => hook,
        }
    }

    /// As a hook with this configuration looks.
    #[cfg(test)]
    pub(crate) fn of_config(config: &Path) -> HookOptions {
        HookOptions { driver_root: None, config: Some(config.to_owned()) }
    }

    /// Opens the machine that the hook would look at.
    pub(crate) fn open(&self, modules: Modules) -> Result<Resolver, Error> {
        self.open_with(&self.settings()?, modules)
    }

    /// The same without regard to who may use the GPUs.
    fn open_for_all(&self, modules: Modules) -> Result<Resolver, Error> {
        self.open_with(&Settings { security: Security::default(), ..self.settings()? }, modules)
    }

    /// Opens the machine that these settings name, with what this place says of NVML.
    pub(crate) fn open_with(&self, settings: &Settings, modules: Modules) -> Result<Resolver, Error> {
        Ok(Resolver::open(settings, self.policy(modules))?)
    }

    fn policy(&self, modules: Modules) -> Policy {
        let nvml = match self.driver_root {
            Some(_) => nvml::Program::OTHER_ROOT,
            None => nvml::Program::Itself,
        };
        Policy { nvml, may_load_modules: modules == Modules::Load }
    }

    fn settings(&self) -> Result<Settings, Error> {
        self.settings_below(Path::new("/"), nix::unistd::geteuid().is_root())
    }

    /// What the hook's configuration says, and its command line over it, of a machine whose `/` is that directory.
    pub(crate) fn settings_below(&self, root: &Path, as_root: bool) -> Result<Settings, Error> {
        let settings = match &self.config {
            Some(named) => Settings::load(Some(&hooks::below(root, named)), as_root)?,
            None => Settings::system(&hooks::below(root, Path::new(SYSTEM_FILE)), as_root)?,
        };
        Ok(settings.with_driver_root(self.driver_root.as_deref()))
    }
}

/// Sees that a container that asks for this will get it, and has the modules loaded and the nodes made that it needs,
/// as far as this user may: rootful the hook does that by itself, but in a rootless container nothing can. Returns the
/// machine, and what the container will get.
pub(crate) fn make_ready(
    hook: &HookOptions,
    request: Request,
    keeps_groups: bool,
) -> Result<(Host, Plan), Error> {
    let machine = hook.open(Modules::Load)?;
    let plan = make_ready_on(&machine, request, keeps_groups)?;
    Ok((machine.into_host(), plan))
}

/// The same on a machine that is open.
fn make_ready_on(machine: &Resolver, request: Request, keeps_groups: bool) -> Result<Plan, Error> {
    machine.security().allow_annotations()?;
    let plan = machine.plan(request)?;
    let host = machine.host();
    if host.is_machine() && !nix::unistd::geteuid().is_root() {
        modprobe::make_missing(&plan, host, modprobe::run);
    }
    access::require_nodes(host, &plan, &User::this(), keeps_groups)?;
    Ok(plan)
}

/// What a container that asks for this would get, with nothing changed on this machine, and the machine.
pub(crate) fn preview(hook: &HookOptions, request: Request) -> Result<(Host, Plan), Error> {
    Ok(resolve::resolve(&hook.settings()?, request, hook.policy(Modules::Leave))?)
}

/// What a machine has, and what NVML says of its GPUs, where there are some and it may be asked.
pub(crate) fn inventory(
    machine: &Resolver,
) -> Result<(Inventory, Option<Result<Listing, nvml::Error>>), Error> {
    let mut inventory = machine.read(Capabilities::ALL, &Extras::all())?;
    let listing = machine.ask_details(&inventory);
    if let Some(Ok(listing)) = &listing {
        inventory.identify(listing);
    }
    Ok((inventory, listing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn the_driver_root_of_the_hooks_command_line_is_looked_at() {
        let dir = TempDir::new().unwrap();
        let hook = HookOptions { driver_root: Some(dir.path().to_owned()), config: None };
        let error = preview(&hook, Request::parse("all", None, None).unwrap()).unwrap_err();
        let expected = format!("no NVIDIA driver is loaded: {}/proc/", dir.path().display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(error.exit(), Exit::Driver);
    }

    #[test]
    fn the_configuration_of_the_hooks_command_line_is_read_and_has_to_be_there() {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("config.toml");
        let hook = HookOptions { driver_root: None, config: Some(config.clone()) };
        let error = hook.open(Modules::Leave).unwrap_err();
        assert_eq!(
            (error.to_string(), error.exit()),
            (format!("cannot read the configuration {}", config.display()), Exit::Request)
        );
        fs::write(&config, "[driver]\nroot = \"/nonexistent\"\n").unwrap();
        assert_eq!(hook.open(Modules::Leave).unwrap_err().to_string(), "cannot read /nonexistent");
    }

    #[test]
    fn a_driver_root_takes_the_place_of_the_configured_driver_and_not_of_the_allowed_gpus() {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("config.toml");
        let text = "[driver]\nroot = \"/nonexistent\"\n[security]\nrestrict_devices = true\nallowed_devices = [\"1\"]\n";
        fs::write(&config, text).unwrap();
        let hook = HookOptions { driver_root: Some(dir.path().to_owned()), config: Some(config.clone()) };
        let machine = hook.open(Modules::Leave).unwrap();
        let expected = format!("security.allowed_devices of {} allows 1", config.display());
        assert_eq!(machine.security().allowed().unwrap().to_string(), expected);
        fs::write(&config, "[security]\nrestrict_devices = yes\n").unwrap();
        assert!(matches!(
            hook.open(Modules::Leave).unwrap_err(),
            Error::Settings(settings::Error::Syntax { .. })
        ));
    }
}
