//! The driver as the installed hook would find it, for everything that tells in advance what the hook will do.

mod access;
pub(crate) mod label;
mod modprobe;
mod units;

pub(crate) use access::User;
pub(crate) use units::{Machine, Unit, UnitId, UnitKind};

use crate::podman::containers_conf::Sources;
use crate::podman::hooks::{self, Installed};
use nvbind_core::capability::Capabilities;
use nvbind_core::catalogue::MODPROBE;
use nvbind_core::exit::Exit;
use nvbind_core::extras::Extras;
use nvbind_core::failure::Explain as _;
use nvbind_core::host::{self, Host};
use nvbind_core::inventory::{self, Inventory};
use nvbind_core::node_access::{Needed, other_remedy};
use nvbind_core::nvml::{self, Listing, Question};
use nvbind_core::plan::{self, Plan};
use nvbind_core::request::{self, Request};
use nvbind_core::security::Security;
use nvbind_core::settings::{self, SYSTEM_FILE, Settings};
use std::path::{Path, PathBuf};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration that the hook's command line names, or the system's.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The driver root.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The driver.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
    /// The selection or the capabilities.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// What only NVML knows.
    #[error(transparent)]
    Nvml(#[from] nvml::Error),
    /// This program, which is to ask it.
    #[error("cannot tell where nvbind is")]
    Program(#[source] std::io::Error),
    /// The GPUs.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// A device node that the driver would have and nobody has made.
    #[error("the device node {path} is not there")]
    NoNode {
        /// The node.
        path: String,
        /// What brings it.
        remedy: &'static str,
    },
    /// Nodes are made for this machine alone.
    #[error("the installed hook takes the driver from another directory, where nvbind makes no device nodes")]
    OtherRoot,
    /// A node is missing, and so is what makes it.
    #[error("{path} is not there, and {MODPROBE}, which makes it, is not installed")]
    NoModprobe {
        /// The node.
        path: String,
    },
    /// A node is missing still.
    #[error("{MODPROBE} did not make {path}")]
    NotMade {
        /// The node.
        path: String,
    },
    /// A device node that is for others.
    #[error("you may not use {path}: it is for its owner and {group} alone ({mode:04o})")]
    GroupOnly {
        /// The node.
        path: String,
        /// Its group.
        group: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A device node that its group cannot use either.
    #[error("you may not use {path}: nobody but its owner can {} it ({mode:04o})", needed.words())]
    OwnerOnly {
        /// The node.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// What a program does with it.
        needed: Needed,
    },
    /// A device node of a group that this user has and the container loses.
    #[error("{path} is for {group} alone ({mode:04o}), which a container does not keep by itself")]
    GroupLost {
        /// The node.
        path: String,
        /// Its group.
        group: String,
        /// Its permission bits.
        mode: u32,
    },
}

impl Error {
    /// Whether a kernel module is not loaded.
    fn is_unloaded(&self) -> bool {
        matches!(
            self,
            Error::Inventory(inventory::Error::NotLoaded { .. }) | Error::Plan(plan::Error::Module { .. })
        )
    }

    /// Whether it is a node that the user may not use.
    fn is_access(&self) -> bool {
        matches!(self, Error::GroupOnly { .. } | Error::GroupLost { .. } | Error::OwnerOnly { .. })
    }

    /// The documented exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Error::Settings(error) => error.exit(),
            Error::Request(_) => Exit::Request,
            Error::Host(error) => error.exit(),
            Error::OtherRoot => Exit::Request,
            Error::NoNode { .. } | Error::NoModprobe { .. } | Error::Program(_) => Exit::Driver,
            Error::NotMade { .. }
            | Error::GroupOnly { .. }
            | Error::OwnerOnly { .. }
            | Error::GroupLost { .. } => Exit::Permission,
            Error::Nvml(error) => error.exit(),
            Error::Inventory(error) => error.exit(),
            Error::Plan(error) => error.exit(),
        }
    }

    /// What to do, where the message does not say it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Error::NoNode { remedy, .. } => Some((*remedy).to_owned()),
            Error::GroupOnly { group, path, .. } => {
                Some(format!("join {group} and add `--group-add keep-groups` (crun only), or {}", other_remedy(path)))
            }
            Error::OwnerOnly { path, .. } => Some(other_remedy(path).into()),
            Error::GroupLost { .. } => Some("add `--group-add keep-groups` (crun only)".into()),
            Error::NoModprobe { .. } => Some("install nvidia-modprobe, of the driver's version".into()),
            Error::NotMade { .. } => Some(
                "run this as root; where `ModifyDeviceFiles` in /proc/driver/nvidia/params is 0, udev has to make it".into(),
            ),
            Error::OtherRoot => None,
            Error::Settings(_)
            | Error::Host(_)
            | Error::Inventory(_)
            | Error::Request(_)
            | Error::Nvml(_)
            | Error::Program(_)
            | Error::Plan(_) => None,
        }
    }
}

/// Where the hook looks: what its command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    driver_root: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl From<Installed> for Place {
    fn from(hook: Installed) -> Place {
        Place { driver_root: hook.driver_root, config: hook.config }
    }
}

impl Place {
    /// Below this directory; without one, where the hook of a plain `podman run` looks, or would look.
    pub(crate) fn new(driver_root: Option<PathBuf>) -> Place {
        // Where podman's configuration is broken or has no hook, this is a preview.
        let directories =
            Sources::of_this_process().read(&[]).map(|engine| engine.hooks_dirs).unwrap_or_default();
        let place = hooks::find(&directories).map(Place::from).unwrap_or_default();
        match driver_root {
            // The paths of a report mean the same in another directory.
            Some(root) => Place { driver_root: Some(std::path::absolute(&root).unwrap_or(root)), ..place },
            None => place,
        }
    }

    /// As a hook with this configuration looks.
    #[cfg(test)]
    pub(crate) fn of_config(config: &Path) -> Place {
        Place { driver_root: None, config: Some(config.to_owned()) }
    }

    /// Opens the driver's trees; with what the configuration says of who may use the GPUs.
    pub(crate) fn open(&self) -> Result<(Host, Security), Error> {
        let settings = self.settings_below(Path::new("/"), nix::unistd::geteuid().is_root())?;
        log::debug!("looks for the driver below {}", settings.driver.root.display());
        Ok((Host::open(&settings.driver)?, settings.security))
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

/// Sees that a container that asks for this will get it, and has the modules loaded and the nodes made that it needs, as
/// far as this user may: rootful the hook does that by itself, but in a rootless container nothing can. Returns what the
/// container will get.
pub(crate) fn make_ready(
    place: &Place,
    host: &Host,
    request: &Request,
    keeps_groups: bool,
) -> Result<Plan, Error> {
    let plan = loaded(place, host, request)?;
    if host.is_machine() && !nix::unistd::geteuid().is_root() {
        modprobe::make_missing(&plan, host, modprobe::run);
    }
    access::require_nodes(host, &plan, &User::this(), keeps_groups)?;
    Ok(plan)
}

/// Has the driver's modules loaded, all its nodes made that are missing, and labelled where SELinux is; returns the paths of
/// those that were made.
pub(crate) fn make_nodes(place: &Place) -> Result<Vec<String>, Error> {
    // Who may use the GPUs is another matter.
    let (host, _security) = place.open()?;
    if !host.is_machine() {
        return Err(Error::OtherRoot);
    }
    // A plan has no optional node that is missing.
    let mut made = modprobe::make_optional(&host);
    let plan = loaded(place, &host, &Request::parse("all", None, None)?)?;
    made.extend(modprobe::make_missing(&plan, &host, modprobe::run));
    match modprobe::missing(&plan, &host).first() {
        Some((path, _)) if !Path::new(MODPROBE).exists() => {
            Err(Error::NoModprobe { path: (*path).to_owned() })
        }
        Some((path, _)) => Err(Error::NotMade { path: (*path).to_owned() }),
        None => {
            if nix::unistd::geteuid().is_root() {
                label::restore(plan.devices.iter().map(|device| device.node.path.as_str()));
            }
            Ok(made)
        }
    }
}

/// The nodes of this machine's GPUs that nobody has made yet.
pub(crate) fn missing_nodes(place: &Place) -> Result<Vec<String>, Error> {
    let (host, _security) = place.open()?;
    if !host.is_machine() {
        return Err(Error::OtherRoot);
    }
    let plan = plan(place, &host, &Request::parse("all", None, None)?)?;
    Ok(modprobe::missing(&plan, &host).into_iter().map(|(path, _)| path.to_owned()).collect())
}

/// The plan, once the modules are loaded that it needs.
fn loaded(place: &Place, host: &Host, request: &Request) -> Result<Plan, Error> {
    loaded_with(host, || plan(place, host, request))
}

/// What is read of the driver, once the modules are loaded that it needs.
fn loaded_with<T>(host: &Host, read: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    match read() {
        Err(error) if error.is_unloaded() && host.is_machine() && modprobe::load() => read(),
        other => other,
    }
}

/// What a container that asks for this gets.
pub(crate) fn plan(place: &Place, host: &Host, request: &Request) -> Result<Plan, Error> {
    plan_with(place, host, request, &mut Inventory::read(host, request.capabilities, &request.extras)?)
}

/// The same, with an inventory that was read already.
pub(crate) fn plan_with(
    place: &Place,
    host: &Host,
    request: &Request,
    inventory: &mut Inventory,
) -> Result<Plan, Error> {
    identify(place, host, nvml::needed_for(request, inventory).map(ToString::to_string), inventory)?;
    let plan = plan::plan(request, inventory)?;
    log::debug!(
        "driver {}: {} of {} GPUs, {} device nodes",
        plan.driver.version,
        plan.gpus.len(),
        inventory.gpus.len(),
        plan.devices.len()
    );
    Ok(plan)
}

/// Has NVML name the MIG devices, where a name says that it is needed for it.
fn identify(
    place: &Place,
    host: &Host,
    name: Option<String>,
    inventory: &mut Inventory,
) -> Result<(), Error> {
    let Some(name) = name else { return Ok(()) };
    if place.driver_root.is_some() {
        return Err(nvml::Error::NotAsked { name, why: nvml::OTHER_ROOT }.into());
    }
    inventory.identify(&ask_nvml(host, inventory, Question::Devices)?);
    Ok(())
}

/// What this machine has, and what NVML says of its GPUs, where there are some and it may be asked.
pub(crate) fn inventory(
    place: &Place,
    host: &Host,
) -> Result<(Inventory, Option<Result<Listing, Error>>), Error> {
    let mut inventory = Inventory::read(host, Capabilities::ALL, &Extras::all())?;
    if place.driver_root.is_some() || inventory.gpus.is_empty() {
        return Ok((inventory, None));
    }
    let listing = ask_nvml(host, &inventory, Question::Details);
    if let Ok(listing) = &listing {
        inventory.identify(listing);
    }
    Ok((inventory, Some(listing)))
}

/// In a process of its own, as the hook does it: a library that hangs or crashes takes this one not with it.
fn ask_nvml(host: &Host, inventory: &Inventory, question: Question) -> Result<Listing, Error> {
    let program = std::env::current_exe().map_err(Error::Program)?;
    let library = nvml::library(host, inventory)?;
    log::debug!("asks NVML: {}", library.display());
    let listing = nvml::ask(&program, &library, question)?;
    listing.errors.iter().for_each(|error| log::warn!("NVML leaves out {error}"));
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn the_driver_root_of_the_hooks_command_line_is_looked_at() {
        let dir = TempDir::new().unwrap();
        let place = Place { driver_root: Some(dir.path().to_owned()), config: None };
        let (host, _) = place.open().unwrap();
        let error = plan(&place, &host, &Request::parse("all", None, None).unwrap()).unwrap_err();
        let expected = format!("no NVIDIA driver is loaded: {}/proc/", dir.path().display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(error.exit(), Exit::Driver);
    }

    #[test]
    fn the_configuration_of_the_hooks_command_line_is_read_and_has_to_be_there() {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("config.toml");
        let place = Place { driver_root: None, config: Some(config.clone()) };
        let error = place.open().unwrap_err();
        assert_eq!(
            (error.to_string(), error.exit()),
            (format!("cannot read the configuration {}", config.display()), Exit::Request)
        );
        fs::write(&config, "[driver]\nroot = \"/nonexistent\"\n").unwrap();
        assert_eq!(place.open().unwrap_err().to_string(), "cannot read /nonexistent");
    }

    #[test]
    fn a_driver_root_takes_the_place_of_the_configured_driver_and_not_of_the_allowed_gpus() {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("config.toml");
        let text = "[driver]\nroot = \"/nonexistent\"\n[security]\nrestrict_devices = true\nallowed_devices = [\"1\"]\n";
        fs::write(&config, text).unwrap();
        let place = Place { driver_root: Some(dir.path().to_owned()), config: Some(config.clone()) };
        let (_, security) = place.open().unwrap();
        let expected = format!("security.allowed_devices of {} allows 1", config.display());
        assert_eq!(security.allowed().unwrap().to_string(), expected);
        fs::write(&config, "[security]\nrestrict_devices = yes\n").unwrap();
        assert!(matches!(place.open().unwrap_err(), Error::Settings(settings::Error::Syntax { .. })));
    }
}
