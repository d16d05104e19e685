//! The GPUs of this machine, and the parts of divided ones, as things that are handed out.

use super::{Error, HookOptions, Modules, make_ready_on};
use nvbind_core::inventory::{Gpu, Inventory, MigDevice};
use nvbind_core::listing::MigIdentity;
use nvbind_core::nvml;
use nvbind_core::request::Request;
use nvbind_core::resolve::{self, Resolver};
use nvbind_core::security::Allowed;
use nvbind_core::select;

/// A GPU, or a MIG device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Which one it is.
    pub(crate) id: UnitId,
    /// In the grammar of `io.nvbind.gpu`.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: UnitKind,
}

/// The GPU's position, and the numbers of a MIG device's instances.
pub(crate) type UnitId = (u32, Option<(u32, u32)>);

/// What a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnitKind {
    Whole,
    /// A GPU that is divided into MIG devices, without them.
    Divided,
    /// A MIG device, and its profile where that is known: `1g.10gb.me` is 1g.10gb+me, as in names of Kubernetes'
    /// resources, which have no `+`.
    Mig(Option<String>),
}

impl UnitKind {
    /// Whether it is a MIG device.
    pub(crate) fn is_mig(&self) -> bool {
        match self {
            UnitKind::Mig(_) => true,
            UnitKind::Whole | UnitKind::Divided => false,
        }
    }
}

/// This machine, as the hook will find it.
#[derive(Debug)]
pub(crate) struct Machine {
    resolver: Resolver,
    inventory: Inventory,
}

impl Machine {
    /// Looks at the machine, and has the driver's modules loaded as far as this user may.
    pub(crate) fn open(hook: &HookOptions) -> Result<Machine, Error> {
        Machine::open_with(hook, Modules::Load)
    }

    /// Looks at the machine, and changes nothing unless modules may be loaded.
    pub(crate) fn open_with(hook: &HookOptions, modules: Modules) -> Result<Machine, Error> {
        let resolver = hook.open(modules)?;
        let request = Request::parse("none", Some("utility"), None)?;
        let inventory = resolver.read_loaded(request.capabilities, &request.extras)?;
        Ok(Machine { resolver, inventory })
    }

    /// What the configuration allows, where that is not everything.
    pub(crate) fn allowed(&self) -> Option<Allowed> {
        self.resolver.security().allowed()
    }

    /// The GPUs that can be given whole, in PCI order; none of a Windows host, which has one node for all of them.
    pub(crate) fn whole_gpus(&self) -> Result<Option<Vec<Gpu>>, Error> {
        if self.inventory.wsl.is_some() {
            return Ok(None);
        }
        let request = Request::parse("all", None, None)?.within(self.resolver.security());
        if self.inventory.gpus.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut gpus = select::select(&request, &self.inventory).map_err(plan_error)?;
        gpus.retain(|gpu| gpu.mig.is_empty());
        Ok(Some(gpus))
    }

    /// What a request means here.
    pub(crate) fn units(&mut self, request: &Request) -> Result<Vec<Unit>, Error> {
        let request = request.clone().within(self.resolver.security());
        if self.inventory.wsl.is_some() {
            let unit = Unit { id: (0, None), name: "0".to_owned(), kind: UnitKind::Whole };
            return Ok(select::select_all(&request)
                .map_err(plan_error)?
                .then_some(unit)
                .into_iter()
                .collect());
        }
        if let Some(name) = nvml::needed_for(&request, &self.inventory).map(ToString::to_string) {
            self.identify(&name)?;
        }
        let mut units = Vec::new();
        for gpu in select::select(&request, &self.inventory).map_err(plan_error)? {
            let mut gpus = self.inventory.gpus.iter();
            let is_divided = gpus.any(|other| other.index == gpu.index && !other.mig.is_empty());
            // Who names the GPU and parts of it has both.
            let is_itself = gpu.mig.is_empty();
            let kind = if is_divided { UnitKind::Divided } else { UnitKind::Whole };
            units.extend(is_itself.then(|| Unit {
                id: (gpu.index, None),
                name: gpu.index.to_string(),
                kind,
            }));
            units.extend(gpu.mig.iter().map(|device| Unit {
                id: (gpu.index, Some((device.gpu_instance, device.compute_instance))),
                name: name_of(gpu.index, device, || gpu.name_of(device)),
                kind: UnitKind::Mig(device.identity.as_ref().and_then(profile)),
            }));
        }
        Ok(units)
    }

    /// Learns what there is of a kind: NVML alone knows the profiles of MIG devices.
    pub(crate) fn know(&mut self, kind: &UnitKind) -> Result<(), Error> {
        match kind {
            UnitKind::Mig(Some(profile)) if self.inventory.gpus.iter().any(|gpu| !gpu.mig.is_empty()) => {
                self.identify(profile)
            }
            UnitKind::Mig(_) | UnitKind::Whole | UnitKind::Divided => Ok(()),
        }
    }

    fn identify(&mut self, name: &str) -> Result<(), Error> {
        let mut devices = self.inventory.gpus.iter().flat_map(|gpu| &gpu.mig);
        // Once is enough.
        if devices.any(|device| device.identity.is_none()) {
            self.resolver.identify(name, &mut self.inventory).map_err(resolve::Error::from)?;
        }
        Ok(())
    }

    /// Sees that a container that asks for this will get it, as [`make_ready`](super::make_ready) does.
    pub(crate) fn make_ready(&self, request: Request, keeps_groups: bool) -> Result<(), Error> {
        make_ready_on(&self.resolver, request, keeps_groups).map(drop)
    }
}

fn profile(identity: &MigIdentity) -> Option<String> {
    identity.profile.as_ref().map(|profile| profile.replace('+', "."))
}

/// By positions, where NVML told them.
fn name_of(gpu: u32, device: &MigDevice, by_instances: impl FnOnce() -> String) -> String {
    device.identity.as_ref().map_or_else(by_instances, |identity| format!("{gpu}:{}", identity.index))
}

fn plan_error(error: select::Error) -> Error {
    Error::Resolve(resolve::Error::Plan(error.into()))
}
