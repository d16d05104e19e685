//! What a container gets: a pure function of a request and an inventory.
//!
//! The driver's files appear under one directory, the *view*; everything else is a link into it, an entry of the
//! container's ld.so.cache, or a device node.

use crate::capability::Capabilities;
use crate::catalogue::DRM_CAPABILITIES;
use crate::exit::Exit;
use crate::inventory::{DeviceNode, Driver, Gpu, Inventory};
use crate::request::Request;
use crate::select;
use std::collections::BTreeMap;

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
    /// The GPUs are not there.
    #[error(transparent)]
    Select(#[from] select::Error),
    /// A kernel module that the request needs is not loaded.
    #[error(
        "{path} is needed for {capabilities}, but the kernel module {module} is not loaded; as root, run `nvidia-modprobe -u -c 0` or `modprobe {module}`"
    )]
    Module {
        /// The device node.
        path: &'static str,
        /// The kernel module.
        module: &'static str,
        /// What needs it.
        capabilities: Capabilities,
    },
}

impl Error {
    /// The exit code of this failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Driver
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

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it stands.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

/// A device node and why it is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node.
    pub node: DeviceNode,
    /// What it is for.
    pub why: String,
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
    /// Links in the view: paths below it, targets beside them.
    pub view_links: Vec<Link>,
    /// Links from well-known places: absolute paths, targets below the view.
    pub links: Vec<Link>,
    /// What programs ask the loader for: names in the view's `lib64`.
    pub sonames: Vec<String>,
}

impl Plan {
    /// The drop-in's content: the view's library directory.
    #[must_use]
    pub fn drop_in(&self) -> String {
        format!("{}\n", self.inside("lib64"))
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
/// When a GPU is not there or a kernel module is not loaded.
pub fn plan(request: &Request, inventory: &Inventory) -> Result<Plan, Error> {
    let gpus: Vec<Gpu> = select::select(&request.gpus, inventory)?.into_iter().cloned().collect();
    let devices = devices(request, inventory, &gpus)?;
    let mut plan = Plan {
        driver: inventory.driver.clone(),
        gpus,
        view: VIEW.to_owned(),
        devices,
        binds: Vec::new(),
        view_links: Vec::new(),
        links: Vec::new(),
        sonames: Vec::new(),
    };
    add_libraries(&mut plan, request.capabilities, inventory);
    add_programs(&mut plan, request.capabilities, inventory);
    Ok(plan)
}

fn devices(request: &Request, inventory: &Inventory, gpus: &[Gpu]) -> Result<Vec<Device>, Error> {
    if gpus.is_empty() {
        return Ok(Vec::new());
    }
    let mut devices = Vec::new();
    for (row, node) in &inventory.control_nodes {
        if !row.capabilities.intersects(request.capabilities) {
            continue;
        }
        let capabilities = row.capabilities.intersection(request.capabilities);
        match node {
            Some(node) => devices.push(Device { node: node.clone(), why: capabilities.to_string() }),
            None if row.required => {
                let module = row.drivers.first().copied().unwrap_or_default();
                return Err(Error::Module { path: row.path, module, capabilities });
            }
            None => {}
        }
    }
    for gpu in gpus {
        let why = format!("GPU {} at {}", gpu.index, gpu.pci);
        devices.push(Device { node: gpu.node.clone(), why: why.clone() });
        if request.capabilities.intersects(DRM_CAPABILITIES) {
            devices.extend(gpu.drm.iter().map(|node| Device { node: node.clone(), why: why.clone() }));
        }
    }
    devices.sort_by(|one, other| one.node.path.cmp(&other.node.path));
    Ok(devices)
}

fn add_libraries(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    // By name, so that a soname that two files claim has one link.
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for library in &inventory.libraries {
        let capabilities = library.family.map_or(Capabilities::ALL, |family| family.capabilities);
        if !capabilities.intersects(wanted) {
            continue;
        }
        plan.binds.push(Bind {
            host: library.host.clone(),
            inside: format!("lib64/{}", library.file_name),
            capabilities: capabilities.intersection(wanted),
        });
        names.insert(&library.file_name, &library.file_name);
    }
    for library in &inventory.libraries {
        if !names.contains_key(&*library.file_name) {
            continue;
        }
        let links = library.family.map_or(&[][..], |family| family.links);
        for name in library.soname.iter().map(String::as_str).chain(links.iter().copied()) {
            names.entry(name).or_insert(&library.file_name);
        }
    }
    for (name, file) in names {
        if name != file {
            plan.view_links.push(Link { path: format!("lib64/{name}"), target: file.to_owned() });
        }
        plan.sonames.push(name.to_owned());
    }
}

fn add_programs(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    for file in &inventory.programs {
        let program = file.program;
        if !program.capabilities.intersects(wanted) {
            continue;
        }
        let inside = format!("bin/{}", program.name);
        if program.in_usr_bin {
            plan.links.push(Link { path: format!("/usr/bin/{}", program.name), target: inside.clone() });
        }
        let capabilities = program.capabilities.intersection(wanted);
        plan.binds.push(Bind { host: file.host.clone(), inside, capabilities });
    }
    plan.binds.sort_by(|one, other| one.inside.cmp(&other.inside));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{self, VERSION};

    fn plan_of(gpus: &str, capabilities: &str) -> Result<Plan, Error> {
        let request = Request::parse(gpus, Some(capabilities), None).unwrap();
        plan(&request, &machine::two_gpus())
    }

    fn paths(plan: &Plan) -> Vec<&str> {
        plan.devices.iter().map(|device| device.node.path.as_str()).collect()
    }

    #[test]
    fn nodes_are_those_of_the_chosen_gpu_and_of_the_capabilities() {
        let compute = plan_of("0", "compute").unwrap();
        assert_eq!(
            paths(&compute),
            ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia1", "/dev/nvidiactl"]
        );
        let utility = plan_of("1", "utility").unwrap();
        assert_eq!(paths(&utility), ["/dev/nvidia0", "/dev/nvidiactl"]);
        let graphics = plan_of("1", "graphics").unwrap();
        assert_eq!(
            paths(&graphics),
            [
                "/dev/dri/card0",
                "/dev/dri/renderD128",
                "/dev/nvidia-modeset",
                "/dev/nvidia0",
                "/dev/nvidiactl"
            ]
        );
        assert_eq!(paths(&plan_of("none", "all").unwrap()), Vec::<&str>::new());
    }

    #[test]
    fn libraries_follow_the_capabilities_with_their_links_and_cache_names() {
        let plan = plan_of("none", "compute").unwrap();
        let file = format!("libcuda.so.{VERSION}");
        assert_eq!(
            plan.binds,
            [Bind {
                host: format!("/usr/lib64/{file}"),
                inside: format!("lib64/{file}"),
                capabilities: Capabilities::parse("compute").0,
            }]
        );
        let link = |name: &str| Link { path: format!("lib64/{name}"), target: file.clone() };
        assert_eq!(plan.view_links, [link("libcuda.so"), link("libcuda.so.1")]);
        assert_eq!(plan.sonames, ["libcuda.so", "libcuda.so.1", &file]);
        assert_eq!(plan.links, []);
    }

    #[test]
    fn a_program_is_bound_and_linked_from_usr_bin() {
        let plan = plan_of("none", "utility").unwrap();
        assert!(
            plan.binds
                .iter()
                .any(|bind| bind.inside == "bin/nvidia-smi" && bind.host == "/usr/bin/nvidia-smi")
        );
        let target = "bin/nvidia-smi".to_owned();
        assert_eq!(plan.links, [Link { path: "/usr/bin/nvidia-smi".to_owned(), target }]);
    }

    #[test]
    fn a_module_that_is_needed_and_not_loaded_is_named() {
        let mut inventory = machine::two_gpus();
        for (_, node) in inventory.control_nodes.iter_mut().filter(|(row, _)| row.path != "/dev/nvidiactl") {
            *node = None;
        }
        let request = |list| Request::parse("all", Some(list), None).unwrap();
        let error = plan(&request("compute,utility"), &inventory).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/dev/nvidia-uvm is needed for compute, but the kernel module nvidia-uvm")
        );
        assert_eq!(error.exit(), Exit::Driver);
        assert_eq!(paths(&plan(&request("graphics"), &inventory).unwrap()).len(), 7);
    }

    #[test]
    fn two_libraries_that_claim_a_soname_share_one_link() {
        let mut inventory = machine::two_gpus();
        let mut other = inventory.libraries[0].clone();
        other.file_name = format!("libcuda-copy.so.{VERSION}");
        inventory.libraries.insert(0, other);
        let request = Request::parse("none", Some("compute"), None).unwrap();
        let plan = plan(&request, &inventory).unwrap();
        assert_eq!(plan.view_links.iter().filter(|link| link.path == "lib64/libcuda.so.1").count(), 1);
    }
}
