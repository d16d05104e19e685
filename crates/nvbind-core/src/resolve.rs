//! From settings and a request to a plan: the one way for the hook and for every command that tells in advance what the
//! hook will do. What they may do on the way is their [`Policy`]; everything else is the same for all.

use crate::capability::Capabilities;
use crate::exit::Exit;
use crate::extras::Extras;
use crate::failure::Explain;
use crate::host::{self, Host};
use crate::inventory::{self, Inventory};
use crate::listing::Listing;
use crate::modules;
use crate::nvml::{self, Question};
use crate::plan::{self, Plan};
use crate::request::Request;
use crate::security::Security;
use crate::settings::Settings;

/// What a caller may do to answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who is asked for what only NVML knows.
    pub nvml: nvml::Program,
    /// Whether kernel modules are loaded that are not yet; never those of another machine's driver root.
    pub may_load_modules: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A driver root is not there.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The driver cannot be used.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
    /// NVML was not asked, or gave no answer.
    #[error(transparent)]
    Nvml(#[from] nvml::Error),
    /// The request cannot be met.
    #[error(transparent)]
    Plan(#[from] plan::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Host(error) => error.exit(),
            Error::Inventory(error) => error.exit(),
            Error::Nvml(error) => error.exit(),
            Error::Plan(error) => error.exit(),
        }
    }
}

impl Error {
    /// Whether a kernel module is not loaded.
    fn is_unloaded(&self) -> bool {
        matches!(
            self,
            Error::Inventory(inventory::Error::NotLoaded { .. }) | Error::Plan(plan::Error::Module { .. })
        )
    }
}

/// Decides what a container gets that asks for this, and opens the machine that it gets it from.
///
/// # Errors
/// When a driver root or the driver cannot be read, or the request cannot be met or is not allowed.
pub fn resolve(settings: &Settings, request: Request, policy: Policy) -> Result<(Host, Plan), Error> {
    let resolver = Resolver::open(settings, policy)?;
    let plan = resolver.plan(request)?;
    Ok((resolver.into_host(), plan))
}

/// A machine, opened to answer requests: the steps of [`resolve`], for who needs one of them alone.
#[derive(Debug)]
pub struct Resolver {
    host: Host,
    security: Security,
    policy: Policy,
}

impl Resolver {
    /// Opens the machine that the settings name.
    ///
    /// # Errors
    /// When a driver root is not there.
    pub fn open(settings: &Settings, policy: Policy) -> Result<Resolver, host::Error> {
        log::debug!("looks for the driver below {}", settings.driver.root.display());
        Ok(Resolver { host: Host::open(&settings.driver)?, security: settings.security.clone(), policy })
    }

    /// The machine alone.
    #[must_use]
    pub fn into_host(self) -> Host {
        self.host
    }

    /// The machine that was opened.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What limits requests.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// What a container gets that asks for this, once the modules are loaded that it needs.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn plan(&self, request: Request) -> Result<Plan, Error> {
        let request = request.within(&self.security);
        self.with_modules(|| self.decide(&request, &mut self.read(request.capabilities, &request.extras)?))
    }

    /// The same, from an inventory that was read already.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn plan_from(&self, request: Request, inventory: &mut Inventory) -> Result<Plan, Error> {
        self.decide(&request.within(&self.security), inventory)
    }

    /// What the machine has, once the modules are loaded that it needs.
    ///
    /// # Errors
    /// When the driver cannot be used.
    pub fn read_loaded(&self, wanted: Capabilities, extras: &Extras) -> Result<Inventory, Error> {
        self.with_modules(|| Ok(self.read(wanted, extras)?))
    }

    /// What the machine has, as it is now.
    ///
    /// # Errors
    /// When the driver cannot be used.
    pub fn read(&self, wanted: Capabilities, extras: &Extras) -> Result<Inventory, inventory::Error> {
        Inventory::read(&self.host, wanted, extras)
    }

    /// Has NVML tell MIG devices apart, for the sake of `name`.
    ///
    /// # Errors
    /// When it may not be asked, or gives no answer.
    pub fn identify(&self, name: &str, inventory: &mut Inventory) -> Result<(), nvml::Error> {
        let listing = self.ask(name, inventory, Question::Devices)?;
        inventory.identify(&listing);
        Ok(())
    }

    /// What NVML says of the GPUs beyond what a plan needs; none where it may not be asked, or there are none.
    #[must_use]
    pub fn ask_details(&self, inventory: &Inventory) -> Option<Result<Listing, nvml::Error>> {
        let may_ask = !matches!(self.policy.nvml, nvml::Program::None { .. });
        (may_ask && !inventory.gpus.is_empty()).then(|| self.ask("all", inventory, Question::Details))
    }

    fn ask(&self, name: &str, inventory: &Inventory, question: Question) -> Result<Listing, nvml::Error> {
        let listing = nvml::ask(self.policy.nvml, name, &self.host, inventory, question)?;
        for error in &listing.errors {
            log::warn!("NVML leaves out {error}");
        }
        Ok(listing)
    }

    fn decide(&self, request: &Request, inventory: &mut Inventory) -> Result<Plan, Error> {
        if let Some(name) = nvml::needed_for(request, inventory).map(ToString::to_string) {
            self.identify(&name, inventory)?;
        }
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

    /// Tries once more with the modules loaded, where that can help.
    fn with_modules<T>(&self, read: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let may_load = self.policy.may_load_modules && self.host.is_machine();
        match read() {
            Err(error) if error.is_unloaded() && may_load && modules::load() => read(),
            other => other,
        }
    }
}
