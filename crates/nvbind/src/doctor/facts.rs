//! What several checks need to know, read once, by the modules that `nvbind run` and the hook use.

use super::programs;
use super::subject::{Machine, Program};
use crate::driver::{self, HookOptions, Modules};
use crate::podman::containers_conf::{self, Engine};
use crate::podman::hooks::{self, Installed};
use nvbind_core::host::{Host, Roots};
use nvbind_core::inventory::{self, Inventory};
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use nvbind_core::resolve::{self, Resolver};
use nvbind_core::settings::Settings;

/// What is known of a machine.
#[derive(Debug)]
pub(crate) struct Facts<'m> {
    pub(super) machine: &'m Machine,
    pub(super) engine: Result<Engine, containers_conf::Error>,
    pub(super) podman: Option<Program>,
    pub(super) runtime: Option<Program>,
    /// The hook that podman finds; none where podman's configuration can't be told, or podman is another machine's.
    pub(super) hook: Option<Result<Installed, hooks::Error>>,
    /// Whether the driver is this machine's own, and not one below a directory: only of that nvbind makes nodes.
    pub(super) is_machine: bool,
    /// Whether annotations ask for GPUs, as the configuration that the hook reads tells it.
    pub(super) annotations: bool,
    /// Where the driver is, as the configuration that the hook reads tells it.
    pub(super) host: Result<Host, driver::Error>,
    /// The driver; none where it is not known where it is.
    pub(super) driver: Option<Result<Inventory, inventory::Error>>,
    /// What a container gets that asks for all GPUs; none without a driver.
    pub(super) plan: Option<Result<Plan, resolve::Error>>,
}

impl Facts<'_> {
    pub(super) fn gather(machine: &Machine) -> Facts<'_> {
        let engine = machine.sources.read(&[]);
        let podman = programs::find_podman(machine);
        let runtime = programs::find_runtime(machine, engine.as_ref().ok());
        let local = engine.as_ref().ok().filter(|engine| !engine.remote);
        let hook = local.map(|engine| hooks::find_below(&machine.root, &engine.hooks_dirs));
        let options = hook.as_ref().and_then(|hook| hook.as_ref().ok()).cloned().map(HookOptions::from);
        let options = options.unwrap_or_default();
        let settings = options.settings_below(&machine.root, machine.user.is_root());
        let annotations = settings.as_ref().map_or(true, |settings| settings.security.annotations);
        let roots = settings.map(|settings| settings.driver);
        let is_machine = roots.as_ref().is_ok_and(Roots::are_machine);
        let resolver = roots.and_then(|roots| open(machine, &options, &roots));
        let request = Request::parse("all", None, None);
        let (mut driver, mut plan) = (None, None);
        if let (Ok(resolver), Ok(request)) = (&resolver, request) {
            let mut inventory = resolver.read(request.capabilities, &request.extras);
            plan = inventory.as_mut().ok().map(|inventory| resolver.plan_from(request, inventory));
            driver = Some(inventory);
        }
        let host = resolver.map(Resolver::into_host);
        Facts { machine, engine, podman, runtime, hook, is_machine, annotations, host, driver, plan }
    }

    /// The driver, where it can be used.
    pub(super) fn inventory(&self) -> Option<&Inventory> {
        self.driver.as_ref().and_then(|driver| driver.as_ref().ok())
    }
}

/// The driver, below the machine's root, without regard to who may use it.
fn open(machine: &Machine, options: &HookOptions, roots: &Roots) -> Result<Resolver, driver::Error> {
    let driver = Roots {
        root: machine.path(&roots.root),
        dev_root: machine.path(&roots.dev_root),
        proc_root: machine.path(&roots.proc_root),
        sys_root: machine.path(&roots.sys_root),
    };
    options.open_with(&Settings { driver, ..Settings::default() }, Modules::Leave)
}
