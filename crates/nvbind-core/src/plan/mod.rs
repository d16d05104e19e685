//! What a container gets: a pure function of a request and an inventory.
//!
//! The driver's files appear under one directory, the *view*; everything else is a link into it, an entry of the
//! container's ld.so.cache, or a device node.

mod devices;
mod files;
mod modprobe;
mod places;
mod view;
mod visible;

use crate::capability::Capabilities;
use crate::catalogue::{self, WellKnownPlace};
use crate::exit::Exit;
use crate::extras::Extra;
use crate::failure::Explain;
use crate::inventory::{DeviceNode, Driver, Gpu, Inventory, Nodes};
use crate::request::Request;
use crate::select;
use files::Files;
pub use places::well_known;
pub use view::{Entry, View, ViewPath, library_directory};

/// Where the view stands unless an image has files there: CUDA images have its `bin` in PATH and its `lib64` in
/// LD_LIBRARY_PATH already.
pub const VIEW: &str = "/usr/local/nvidia";

/// All places for a view, in order of preference: `/dev` is a tmpfs of every container's own.
pub const VIEWS: [&str; 3] = [VIEW, "/run/nvbind", "/dev/nvbind"];

/// The loader's cache, which gets the view's libraries.
pub const LD_SO_CACHE: &str = "/etc/ld.so.cache";

/// What an `ldconfig` inside the container reads. The name sorts first: the driver's libraries win over the image's.
pub const LD_SO_CONF_D: &str = "/etc/ld.so.conf.d";
/// The drop-in's name in [`LD_SO_CONF_D`].
pub const DROP_IN: &str = "00-nvbind.conf";

/// Why a request cannot be planned.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The GPUs are not there, or not allowed.
    #[error(transparent)]
    Select(#[from] select::Error),
    /// A kernel module that the request needs is not loaded.
    #[error(
        "{path} is needed for {capabilities}, but the kernel module {module} is not loaded; run `nvbind devices` or `modprobe {module}` as root"
    )]
    Module { path: &'static str, module: &'static str, capabilities: Capabilities },
    /// Two wishes that exclude each other.
    #[error("{0} is shared between containers: it cannot be asked for together with isolation")]
    Shared(Extra),
    /// An extra that this machine does not have.
    #[error("{extra} was asked for, but {missing}; {}", .extra.remedy())]
    Extra { extra: Extra, missing: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Shared(_) => Exit::Request,
            Error::Select(error) => error.exit(),
            Error::Module { .. } | Error::Extra { .. } => Exit::Driver,
        }
    }
}

/// A file or directory of the view, and where programs look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// Where it is in the view.
    pub target: ViewPath,
    /// Where programs look for it: a link is made at the first of these that applies, and files of the image at any of
    /// them are covered.
    pub places: &'static [WellKnownPlace],
}

/// The kernel module's directory as a container sees it: nothing in it tells of a GPU that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    /// Files: names and contents.
    pub texts: Vec<(String, String)>,
    /// The chosen GPUs' directories: paths below the proc root.
    pub directories: Vec<String>,
}

/// A device node and why it is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node as it is on the host.
    pub node: DeviceNode,
    /// What it is for.
    pub why: String,
    /// What to do where it is missing or wrong.
    pub remedy: &'static str,
    /// Whether a container that may not use it does not start. DRM's nodes are a group's alone in most distributions,
    /// and nothing but GBM and Wayland needs them: who did not name a capability that has them does without.
    pub is_required: bool,
    /// A link to it in `/dev`.
    pub link: Option<DeviceLink>,
    /// How the hook makes it where the host does not have it; none where that is its own tool's or its daemon's.
    pub made_as: Option<Nodes>,
}

/// A link in `/dev` by which programs find a GPU's DRM node by its PCI address, as udev makes them (60-drm.rules of
/// systemd).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLink {
    /// Path in the container.
    pub path: String,
    /// What it says.
    pub target: String,
}

/// What a container gets.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The driver that the files are of.
    pub driver: Driver,
    /// The chosen GPUs.
    pub gpus: Vec<Gpu>,
    /// Device nodes, by path.
    pub devices: Vec<Device>,
    /// What is in the view, wherever that stands.
    pub view: View,
    /// What is found at well-known places.
    pub well_known: Vec<WellKnown>,
    /// What the container has in the place of the kernel module's `/proc/driver/nvidia`; none in WSL2.
    pub proc: Option<Proc>,
    /// Nodes of the GPUs that were not chosen, where the container must not be able to see them.
    pub unseen: Option<Vec<DeviceNode>>,
}

impl Plan {
    /// Well-known places of all that the plan does not have: an earlier start of the container may have left links.
    #[must_use]
    pub fn unused(&self) -> Vec<&'static str> {
        let used: Vec<&str> =
            self.well_known.iter().flat_map(|known| known.places).map(|place| place.path).collect();
        well_known().map(|place| place.path).filter(|path| !used.contains(path)).collect()
    }
}

/// Decides what the container gets.
///
/// # Errors
/// When a GPU or an extra is not there or not allowed, or a kernel module is not loaded.
pub fn plan(request: &Request, inventory: &Inventory) -> Result<Plan, Error> {
    let (gpus, mut devices) = match &inventory.wsl {
        Some(wsl) => (Vec::new(), devices::of_wsl(request, wsl)?),
        None => {
            let gpus = select::select(request, inventory)?;
            let devices = devices::of_gpus(request, inventory, &gpus)?;
            (gpus, devices)
        }
    };
    devices.extend(devices::of_extras(&request.extras, inventory)?);
    devices.sort_by(|one, other| one.node.path.cmp(&other.node.path));
    // Compute instances share the node of their GPU instance.
    devices.dedup_by(|one, other| one.node == other.node);
    let unseen = if request.isolate { Some(unseen(request, inventory, &gpus)?) } else { None };
    let Files { view, well_known } = files::of(request, inventory, &gpus)?;
    // A driver of Windows has no directory in procfs to be covered.
    let proc = inventory.wsl.is_none().then(|| visible::proc(inventory, &gpus));
    Ok(Plan { driver: inventory.driver.clone(), gpus, devices, view, well_known, proc, unseen })
}

/// The nodes that an isolated container must not see: those of the GPUs that it did not ask for. It shares nothing with
/// other containers.
fn unseen(request: &Request, inventory: &Inventory, gpus: &[Gpu]) -> Result<Vec<DeviceNode>, Error> {
    if let Some(row) = catalogue::SHARED.iter().find(|row| request.extras.has(row.extra)) {
        return Err(Error::Shared(row.extra));
    }
    let is_chosen = |gpu: &&Gpu| gpus.iter().any(|chosen| chosen.pci == gpu.pci);
    let others = inventory.gpus.iter().filter(|gpu| !is_chosen(gpu));
    Ok(others.flat_map(|gpu| std::iter::once(&gpu.node).chain(&gpu.drm)).cloned().collect())
}

#[cfg(test)]
mod tests;
