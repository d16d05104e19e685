//! What a container gets: a pure function of a request and an inventory.
//!
//! The driver's files appear under one directory, the *view*; everything else is a link into it, an entry of the
//! container's ld.so.cache, or a device node.

mod devices;
mod files;
mod modprobe;
mod places;
mod visible;

use crate::capability::Capabilities;
use crate::catalogue;
use crate::exit::Exit;
use crate::extras::Extra;
use crate::failure::Explain;
use crate::inventory::{DeviceNode, Driver, Gpu, Inventory, Nodes};
use crate::ldcache::Abi;
use crate::request::Request;
use crate::select;

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
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The GPUs are not there, or not allowed.
    #[error(transparent)]
    Select(#[from] select::Error),
    /// A kernel module that the request needs is not loaded.
    #[error(
        "{path} is needed for {capabilities}, but the kernel module {module} is not loaded; run `nvbind devices` or `modprobe {module}` as root"
    )]
    Module {
        /// The device node.
        path: &'static str,
        /// The kernel module.
        module: &'static str,
        /// What needs it.
        capabilities: Capabilities,
    },
    /// Two wishes that exclude each other.
    #[error("{0} is shared between containers: it cannot be asked for together with isolation")]
    Shared(Extra),
    /// An extra that this machine does not have.
    #[error("{extra} was asked for, but {missing}; {}", .extra.remedy())]
    Extra {
        /// The extra.
        extra: Extra,
        /// What is missing.
        missing: String,
    },
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

/// A file of the host, bound read-only into the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Path below the driver root, without links.
    pub host: String,
    /// Path below the view.
    pub inside: String,
    /// The asked-for capabilities that need it.
    pub capabilities: Capabilities,
}

/// A file of our own in the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Path below the view.
    pub inside: String,
    /// Its content.
    pub text: String,
    /// The file of the driver that it was made from, if there is one: path below the driver root.
    pub from: Option<String>,
    /// The asked-for capabilities that need it.
    pub capabilities: Capabilities,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it stands.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

/// A file or directory of the view, and where programs look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// Path below the view.
    pub target: String,
    /// Where programs look for it: a link is made at the first of these that applies, and files of the image at any of
    /// them are covered.
    pub places: Vec<Place>,
}

/// A path of the container where programs look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path.
    pub path: String,
    /// When something is put there.
    pub when: When,
}

/// When a file is put at a well-known place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Always; directories are made as needed.
    Always,
    /// Where the container has this: nothing looks there otherwise.
    With(String),
    /// Over a file of the image, which would be used beside ours.
    Over,
}

/// The kernel module's directory as a container sees it: nothing in it tells of a GPU that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    /// Files: names and contents.
    pub texts: Vec<(String, String)>,
    /// The chosen GPUs' directories: paths below the proc root.
    pub directories: Vec<String>,
}

/// A name in one of the view's library directories that programs ask the loader for: a soname, or a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soname {
    /// The name.
    pub name: String,
    /// Whose programs.
    pub abi: Abi,
}

/// The directory below the view that has an architecture's libraries.
#[must_use]
pub const fn library_directory(abi: Abi) -> &'static str {
    match abi {
        Abi::X86_64 | Abi::Aarch64 => "lib64",
        Abi::I386 => "lib",
    }
}

/// A device node and why it is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node.
    pub node: DeviceNode,
    /// What it is for.
    pub why: String,
    /// What to do where it is missing or wrong.
    pub remedy: &'static str,
    /// Whether a container that may not use it does not start. DRM's nodes are a group's alone in most distributions, and
    /// nothing but GBM and Wayland needs them: who did not name a capability that has them does without.
    pub is_required: bool,
    /// A link to it in `/dev`.
    pub link: Option<DeviceLink>,
    /// How the hook makes it where the host does not have it; none where that is its own tool's or its daemon's.
    pub made_as: Option<Nodes>,
}

/// A link in `/dev` by which programs find a GPU's DRM node by its PCI address, as udev makes them (60-drm.rules of systemd).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLink {
    /// Path in the container.
    pub path: String,
    /// What it says.
    pub target: String,
}

/// A directory of the host in which the container can write, attached to the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Path below the driver root, which no link leads to.
    pub host: &'static str,
    /// Path below the view.
    pub inside: &'static str,
    /// Whose.
    pub extra: Extra,
}

/// What a container gets.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The driver.
    pub driver: Driver,
    /// The chosen GPUs.
    pub gpus: Vec<Gpu>,
    /// Where the view stands; nothing else in the plan depends on it.
    pub view: String,
    /// Device nodes, by path.
    pub devices: Vec<Device>,
    /// Files in the view, by path.
    pub binds: Vec<Bind>,
    /// Sockets of the driver's daemons in the view.
    pub sockets: Vec<Bind>,
    /// Directories of the host in the view that the container can write to.
    pub shared: Vec<Shared>,
    /// Files of our own in the view, by path.
    pub texts: Vec<Text>,
    /// Links in the view: paths below it, targets beside them.
    pub view_links: Vec<Link>,
    /// What is found at well-known places.
    pub well_known: Vec<WellKnown>,
    /// What the container has in the place of the kernel module's `/proc/driver/nvidia`; none where its /proc is not to be
    /// changed.
    pub proc: Option<Proc>,
    /// What programs ask the loader for.
    pub sonames: Vec<Soname>,
    /// Nodes of the GPUs that were not chosen, where the container must not be able to see them.
    pub unseen: Option<Vec<DeviceNode>>,
}

impl WellKnown {
    fn has(&self, path: &str) -> bool {
        self.places.iter().any(|place| place.path == path)
    }
}

impl Plan {
    /// The drop-in's content: the view's library directories.
    #[must_use]
    pub fn drop_in(&self) -> String {
        let mut text = String::new();
        for abi in [Abi::NATIVE, Abi::COMPAT32].into_iter().flatten() {
            if self.sonames.iter().any(|soname| soname.abi == abi) {
                text.push_str(&self.inside(library_directory(abi)));
                text.push('\n');
            }
        }
        text
    }

    /// Where a name of [`Plan::sonames`] stands, as the container sees it.
    #[must_use]
    pub fn path_of(&self, soname: &Soname) -> String {
        format!("{}/{}/{}", self.view, library_directory(soname.abi), soname.name)
    }

    /// Well-known places of all that the plan does not have: an earlier start of the container may have left links.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let mut places = places::all();
        places.retain(|path| !self.well_known.iter().any(|known| known.has(path)));
        places
    }

    /// A path below the view as the container sees it.
    #[must_use]
    pub fn inside(&self, path: &str) -> String {
        format!("{}/{path}", self.view)
    }
}

/// Decides what the container gets, with the view where it stands in most images.
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
    let mut plan = Plan {
        driver: inventory.driver.clone(),
        gpus,
        view: VIEW.to_owned(),
        devices,
        binds: Vec::new(),
        sockets: Vec::new(),
        shared: Vec::new(),
        texts: Vec::new(),
        view_links: Vec::new(),
        well_known: Vec::new(),
        proc: None,
        sonames: Vec::new(),
        unseen: None,
    };
    let wanted = request.capabilities;
    // A driver of Windows has no directory in procfs to be covered.
    if inventory.wsl.is_none() {
        visible::add(&mut plan, wanted, inventory);
    }
    files::add_libraries(&mut plan, wanted, inventory);
    files::add_programs(&mut plan, wanted, inventory);
    files::add_data(&mut plan, request, inventory);
    files::add_wsl(&mut plan, wanted, inventory);
    if request.isolate {
        isolate(&mut plan, request, inventory)?;
    } else {
        files::add_sockets(&mut plan, wanted, inventory);
        files::add_shared(&mut plan, &request.extras, inventory)?;
    }
    files::add_directories(&mut plan);
    plan.binds.sort_by(|one, other| one.inside.cmp(&other.inside));
    Ok(plan)
}

/// Nothing shared with other containers, and no other GPU to be seen.
fn isolate(plan: &mut Plan, request: &Request, inventory: &Inventory) -> Result<(), Error> {
    if let Some(row) = catalogue::SHARED.iter().find(|row| request.extras.has(row.extra)) {
        return Err(Error::Shared(row.extra));
    }
    let is_chosen = |gpu: &&Gpu| plan.gpus.iter().any(|chosen| chosen.pci == gpu.pci);
    let others = inventory.gpus.iter().filter(|gpu| !is_chosen(gpu));
    plan.unseen = Some(others.flat_map(|gpu| std::iter::once(&gpu.node).chain(&gpu.drm)).cloned().collect());
    Ok(())
}

#[cfg(test)]
mod tests;
