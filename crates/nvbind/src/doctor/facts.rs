//! What several checks need to know, read once, by the modules that `nvbind run` and the hook use.

use super::machine::{Machine, Program};
use super::programs;
use crate::driver::{self, Place};
use crate::podman::containers_conf::{self, Engine};
use crate::podman::hooks::{self, Installed};
use nvbind_core::host::Host;
use nvbind_core::inventory::{self, Inventory};
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use nvbind_core::settings::Driver;
use std::path::Path;

/// What is known of a machine.
#[derive(Debug)]
pub(crate) struct Facts<'m> {
    pub(super) machine: &'m Machine,
    /// Podman's configuration.
    pub(super) engine: Result<Engine, containers_conf::Error>,
    /// podman.
    pub(super) podman: Option<Program>,
    /// Its runtime.
    pub(super) runtime: Option<Program>,
    /// The hook that podman finds; none where podman's configuration can't be told, or podman is another machine's.
    pub(super) hook: Option<Result<Installed, hooks::Error>>,
    /// Whether the driver is this machine's own, and not one below a directory: only of that nvbind makes nodes.
    pub(super) is_machine: bool,
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
        let podman = programs::find_podman(machine);
        let runtime = programs::find_runtime(machine, engine.as_ref().ok());
        let local = engine.as_ref().ok().filter(|engine| !engine.remote);
        let hook = local.map(|engine| hooks::find_below(&machine.root, &engine.hooks_dirs));
        let place = hook.as_ref().and_then(|hook| hook.as_ref().ok()).cloned().map(Place::from);
        let place = place.unwrap_or_default();
        let settings = place.settings_below(&machine.root, machine.user.is_root());
        let is_machine = settings.as_ref().is_ok_and(|settings| {
            [&settings.driver.dev_root, &settings.driver.proc_root].iter().all(|root| *root == Path::new("/"))
        });
        let host = settings.and_then(|settings| open(machine, &settings.driver));
        let request = Request::parse("all", None, None);
        let mut driver = match (&host, &request) {
            (Ok(host), Ok(request)) => Some(Inventory::read(host, request.capabilities, &request.extras)),
            _ => None,
        };
        let plan = match (&host, request, &mut driver) {
            (Ok(host), Ok(request), Some(Ok(driver))) => {
                Some(driver::plan_with(&place, host, &request, driver))
            }
            _ => None,
        };
        Facts { machine, engine, podman, runtime, hook, is_machine, host, driver, plan }
    }

    /// The driver, where it can be used.
    pub(super) fn inventory(&self) -> Option<&Inventory> {
        self.driver.as_ref().and_then(|driver| driver.as_ref().ok())
    }
}

/// The trees of the driver, below the machine's root.
fn open(machine: &Machine, roots: &Driver) -> Result<Host, driver::Error> {
    Ok(Host::open(&Driver {
        root: machine.path(&roots.root),
        dev_root: machine.path(&roots.dev_root),
        proc_root: machine.path(&roots.proc_root),
        sys_root: machine.path(&roots.sys_root),
    })?)
}
