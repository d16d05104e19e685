//! What several checks need to know, read once, by the modules that `nvbind run` and the hook use.

use super::Machine;
use crate::driver::{self, Place};
use crate::podman::containers_conf::{self, Engine};
use crate::podman::hooks::{self, Installed};
use nvbind_core::host::Host;
use nvbind_core::inventory::{self, Inventory};
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use nvbind_core::settings::{Driver, SYSTEM_FILE, Settings};

/// What is known of a machine.
#[derive(Debug)]
pub(crate) struct Facts<'m> {
    pub(super) machine: &'m Machine,
    /// Podman's configuration.
    pub(super) engine: Result<Engine, containers_conf::Error>,
    /// The hook that podman finds; none where podman's configuration can't be told, or podman is another machine's.
    pub(super) hook: Option<Result<Installed, hooks::Error>>,
    /// Where the driver is, as the configuration that the hook reads tells it.
    pub(super) host: Result<Host, driver::Error>,
    /// The driver; none where it is not known where it is.
    pub(super) driver: Option<Result<Inventory, inventory::Error>>,
    /// What a container gets that asks for all GPUs; none without a driver.
    pub(super) plan: Option<Result<Plan, driver::Error>>,
}

impl Facts<'_> {
    pub(super) fn gather(machine: &Machine) -> Facts<'_> {
        let engine = machine.sources.read(&[]);
        let local = engine.as_ref().ok().filter(|engine| !engine.remote);
        let hook = local.map(|engine| hooks::find_below(&machine.root, &engine.hooks_dirs));
        let installed = hook.as_ref().and_then(|hook| hook.as_ref().ok());
        let host = open(machine, installed);
        let request = Request::parse("all", None, None);
        let driver = match (&host, &request) {
            (Ok(host), Ok(request)) => Some(Inventory::read(host, request.capabilities, &request.extras)),
            _ => None,
        };
        let place = installed.cloned().map(Place::from).unwrap_or_default();
        let plan = match (&host, request, &driver) {
            (Ok(host), Ok(request), Some(Ok(_))) => Some(driver::plan(&place, host, &request)),
            _ => None,
        };
        Facts { machine, engine, hook, host, driver, plan }
    }

    /// The driver, where it can be used.
    pub(super) fn inventory(&self) -> Option<&Inventory> {
        self.driver.as_ref().and_then(|driver| driver.as_ref().ok())
    }
}

/// The trees of the driver, below the machine's root.
fn open(machine: &Machine, hook: Option<&Installed>) -> Result<Host, driver::Error> {
    let named = hook.and_then(|hook| hook.config.as_deref()).map(|path| machine.path(path));
    // The system's configuration need not be there; one that the hook's command line names has to be.
    let file = named.or_else(|| Some(machine.path(SYSTEM_FILE)).filter(|path| path.exists()));
    let settings = match file {
        Some(file) => Settings::load(Some(&file), machine.is_root())?,
        None => Settings::default(),
    };
    let roots = settings.with_driver_root(hook.and_then(|hook| hook.driver_root.as_deref())).driver;
    Ok(Host::open(&Driver {
        root: machine.path(&roots.root),
        dev_root: machine.path(&roots.dev_root),
        proc_root: machine.path(&roots.proc_root),
        sys_root: machine.path(&roots.sys_root),
    })?)
}
