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

impl Error {
    /// The exit code of this failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
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
mod tests {
    use super::*;
    use crate::machine::{self, Machine, VERSION};
    use crate::request::GpuName;
    use crate::security::Allowed;

    fn plan_of(gpus: &str, capabilities: &str) -> Result<Plan, Error> {
        let request = Request::parse(gpus, Some(capabilities), None).unwrap();
        plan(&request, &machine::two_gpus())
    }

    fn targets(plan: &Plan) -> Vec<String> {
        let line = |known: &WellKnown| match &known.places[0] {
            Place { path, when: When::With(with) } => format!("{} at {path} with {with}", known.target),
            Place { path, .. } => format!("{} at {path}", known.target),
        };
        plan.well_known.iter().map(line).collect()
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
    fn a_mig_device_comes_with_its_gpu_and_two_nodes_of_access_and_no_others() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 3, "GPU-aa", &["card0", "renderD128"]);
        machine.mig(3, &[(1, 0, 12, 13), (2, 0, 21, 22), (2, 1, 21, 23)]);
        machine.gpu("0000:02:00.0", 0, "GPU-bb", &[]);
        machine.mig(0, &[(1, 0, 112, 113)]);
        let inventory = machine.inventory().unwrap();
        let plan_of =
            |gpus| plan(&Request::parse(gpus, Some("utility,graphics"), None).unwrap(), &inventory).unwrap();
        let caps = |numbers: &[u32]| -> Vec<String> {
            numbers.iter().map(|number| format!("/dev/nvidia-caps/nvidia-cap{number}")).collect()
        };
        let nodes = |numbers: &[u32], others: &[&str]| {
            [caps(numbers), others.iter().map(|path| (*path).to_owned()).collect()].concat()
        };
        let two = plan_of("MIG-GPU-aa/2/1+MIG-GPU-aa/2/0");
        assert_eq!(paths(&two), nodes(&[21, 22, 23], &["/dev/nvidia3", "/dev/nvidiactl"]));
        let cap = two.devices.iter().find(|device| device.node.minor == 23).unwrap();
        assert_eq!((cap.node.major, cap.why.as_str()), (235, "MIG device MIG-GPU-aa/2/1 of GPU 0"));
        let files = |plan: &Plan| -> Vec<String> {
            let texts = &plan.proc.as_ref().unwrap().texts;
            texts.iter().map(|(name, _)| name.clone()).filter(|name| name.contains("access")).collect()
        };
        let file = |path: &str| format!("capabilities/gpu3/mig/gi2/{path}");
        assert_eq!(files(&two), [file("access"), file("ci0/access"), file("ci1/access")]);
        let whole = plan_of("0");
        let drm = ["/dev/dri/card0", "/dev/dri/renderD128"];
        assert_eq!(paths(&whole), [&drm[..], &["/dev/nvidia3", "/dev/nvidiactl"]].concat());
        assert_eq!(files(&whole), Vec::<String>::new());
        let all = plan_of("all");
        assert_eq!(
            paths(&all),
            nodes(&[112, 113, 12, 13, 21, 22, 23], &["/dev/nvidia0", "/dev/nvidia3", "/dev/nvidiactl"])
        );
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
        let names: Vec<&str> = plan.sonames.iter().map(|soname| soname.name.as_str()).collect();
        assert_eq!(names, ["libcuda.so", "libcuda.so.1", &file]);
        assert_eq!(targets(&plan), ["lib64 at /run/opengl-driver/lib with /nix/store"]);
    }

    #[test]
    fn a_program_is_bound_and_linked_from_usr_bin() {
        let plan = plan_of("none", "utility").unwrap();
        assert!(
            plan.binds
                .iter()
                .any(|bind| bind.inside == "bin/nvidia-smi" && bind.host == "/usr/bin/nvidia-smi")
        );
        assert_eq!(targets(&plan)[0], "bin/nvidia-smi at /usr/bin/nvidia-smi");
    }

    #[test]
    fn compat32_adds_the_32_bit_half_of_the_asked_capabilities() {
        let machine = Machine::new();
        let file = |stem: &str| format!("{stem}.so.{VERSION}");
        machine.library("/usr/lib64", &file("libnvidia-allocator"), "libnvidia-allocator.so.1");
        for (stem, soname) in [
            ("libcuda", "libcuda.so.1"),
            ("libnvidia-allocator", "libnvidia-allocator.so.1"),
            ("libnvidia-ml", "libnvidia-ml.so.1"),
        ] {
            machine.library_32("/usr/lib", &file(stem), soname);
        }
        let plan_of = |list| {
            let request = Request::parse("none", Some(list), None).unwrap();
            plan(&request, &machine.inventory().unwrap()).unwrap()
        };
        let inside = |plan: &Plan| plan.binds.iter().map(|bind| bind.inside.clone()).collect::<Vec<_>>();
        let graphics = plan_of("graphics,compat32");
        let allocator = file("libnvidia-allocator");
        assert_eq!(inside(&graphics), [format!("lib/{allocator}"), format!("lib64/{allocator}")]);
        assert_eq!(graphics.drop_in(), "/usr/local/nvidia/lib64\n/usr/local/nvidia/lib\n");
        assert!(targets(&graphics).iter().any(|known| *known
            == "lib/libnvidia-allocator.so.1 at /usr/lib/i386-linux-gnu/gbm/nvidia-drm_gbm.so with /usr/lib/i386-linux-gnu/libgbm.so.1"));
        assert_eq!(inside(&plan_of("graphics")), [format!("lib64/{allocator}")]);
        assert_eq!(inside(&plan_of("compat32")), Vec::<String>::new());
    }

    #[test]
    fn manifests_come_with_their_library_and_data_with_its_capability() {
        let machine = Machine::new();
        machine.library("/usr/lib64", &format!("libGLX_nvidia.so.{VERSION}"), "libGLX_nvidia.so.0");
        machine.write("usr/share/nvidia/nvoptix.bin", "");
        machine.write(&format!("usr/share/nvidia/nvidia-application-profiles-{VERSION}-rc"), "{}");
        let request = Request::parse("none", Some("graphics"), None).unwrap();
        let plan = plan(&request, &machine.inventory().unwrap()).unwrap();
        let texts: Vec<&str> = plan.texts.iter().map(|text| text.inside.as_str()).collect();
        // Neither the EGL vendor's, nor OptiX' data: their libraries are not there.
        assert_eq!(texts, ["share/vulkan/icd.d/nvidia_icd.json"]);
        let profiles = "share/nvidia/nvidia-application-profiles-rc";
        assert!(plan.binds.iter().any(|bind| bind.inside == profiles));
        assert!(!plan.binds.iter().any(|bind| bind.inside.contains("nvoptix")));
        let known = targets(&plan);
        assert!(known.contains(&format!("{profiles} at /usr/{profiles}")), "{known:?}");
        let icd = "/usr/share/vulkan/icd.d/nvidia_icd.json".to_owned();
        assert!(
            !plan.unused().contains(&icd)
                && plan.unused().contains(&"/etc/OpenCL/vendors/nvidia.icd".to_owned())
        );
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

    const DEVICES: &str = "Character devices:\n195 nvidia\n240 nvidia-caps-imex-channels\n241 nvidia-nvswitch\n\
                           242 nvidia-fs\n243 gdrdrv\n511 nvidia-uvm\n\nBlock devices:\n";

    /// Without a GPU, on a machine with IMEX channels 0 and 3, switch 0 and GPUDirect Storage.
    fn with_extras(list: &str) -> Result<Plan, Error> {
        let machine = Machine::new();
        machine.write("proc/devices", DEVICES);
        for node in [
            "nvidia-caps-imex-channels/channel0",
            "nvidia-caps-imex-channels/channel3",
            "nvidia-nvswitch0",
            "nvidia-nvswitchctl",
            "nvidia-fs0",
        ] {
            machine.write(&format!("dev/{node}"), "");
        }
        machine.write("etc/cufile.json", "{}");
        let request = Request::parse("none", Some("compute"), None).unwrap();
        plan(&request.with_extras(Some(list)).unwrap(), &machine.inventory().unwrap())
    }

    #[test]
    fn isolation_shares_nothing_and_names_what_must_not_be_seen() {
        let request = |extras| {
            let request = Request::parse("0", Some("all"), None).unwrap();
            request.with_extras(extras).unwrap().with_isolation(Some("true")).unwrap()
        };
        let inventory = machine::two_gpus();
        let isolated = plan(&request(None), &inventory).unwrap();
        let unseen: Vec<String> = isolated.unseen.unwrap().into_iter().map(|node| node.path).collect();
        assert_eq!(unseen, ["/dev/nvidia0", "/dev/dri/card0", "/dev/dri/renderD128"]);
        assert_eq!(isolated.sockets, []);
        let error = plan(&request(Some("mps")), &inventory).unwrap_err();
        assert_eq!(
            (error.to_string().contains("mps is shared"), error.exit()),
            (true, Exit::Request),
            "{error}"
        );
        let open = Request::parse("0", None, None).unwrap();
        assert_eq!(plan(&open, &inventory).unwrap().unseen, None);
    }

    #[test]
    fn extras_come_with_their_nodes_and_files_and_only_when_asked_for() {
        let channel = |number| format!("/dev/nvidia-caps-imex-channels/channel{number}");
        for (list, expected) in [
            ("imex", vec![channel(0), channel(3)]),
            ("imex:3", vec![channel(3)]),
            ("imex,imex:3", vec![channel(0), channel(3)]),
            ("nvswitch", vec!["/dev/nvidia-nvswitch0".to_owned(), "/dev/nvidia-nvswitchctl".to_owned()]),
            ("gds", vec!["/dev/nvidia-fs0".to_owned()]),
        ] {
            assert_eq!(paths(&with_extras(list).unwrap()), expected, "{list}");
        }
        let of = |list| targets(&with_extras(list).unwrap());
        let cufile = "etc/cufile.json at /etc/cufile.json".to_owned();
        assert!(of("gds").contains(&cufile) && !of("imex").contains(&cufile));
    }

    #[test]
    fn an_extra_that_is_not_there_is_named_with_what_brings_it() {
        for (list, says) in [
            (
                "imex:0,imex:7",
                "imex was asked for, but there is no /dev/nvidia-caps-imex-channels/channel7, or its kernel module is not loaded; ",
            ),
            ("gds,gdrcopy", "gdrcopy was asked for, but there is no /dev/gdrdrv, or its kernel module"),
            ("infiniband", "infiniband was asked for, but there is no /dev/infiniband/uverbs*, or its"),
            (
                "mps",
                "mps was asked for, but there is no directory /tmp/nvidia-mps; start nvidia-cuda-mps-control -d",
            ),
        ] {
            let error = with_extras(list).unwrap_err();
            assert!(error.to_string().starts_with(says), "{error}");
            assert_eq!(error.exit(), Exit::Driver);
        }
    }

    #[test]
    fn sockets_of_daemons_come_with_utility_and_a_link_to_their_directory() {
        let machine = Machine::new();
        std::fs::create_dir_all(machine.path("run/nvidia-persistenced")).unwrap();
        let path = machine.path("run/nvidia-persistenced/socket");
        let _socket = std::os::unix::net::UnixListener::bind(path).unwrap();
        let of = |list| {
            let request = Request::parse("none", Some(list), None).unwrap();
            plan(&request, &machine.inventory().unwrap()).unwrap()
        };
        let utility = of("utility");
        let sockets: Vec<_> = utility.sockets.iter().map(|bind| (&*bind.host, &*bind.inside)).collect();
        assert_eq!(sockets, [("/run/nvidia-persistenced/socket", "run/nvidia-persistenced/socket")]);
        let link = "run/nvidia-persistenced at /run/nvidia-persistenced".to_owned();
        assert!(targets(&utility).contains(&link));
        assert!(utility.unused().contains(&"/run/nvidia-fabricmanager".to_owned()));
        assert_eq!(of("compute").sockets, []);
        assert!(!targets(&of("compute")).contains(&link));
    }

    #[test]
    fn in_wsl2_all_gpus_are_one_and_the_driver_store_keeps_its_path() {
        let inventory = Machine::wsl().inventory().unwrap();
        let of =
            |gpus, capabilities| plan(&Request::parse(gpus, Some(capabilities), None).unwrap(), &inventory);
        for (gpus, nodes) in [("all", vec!["/dev/dxg"]), ("0", vec!["/dev/dxg"]), ("none", vec![])] {
            assert_eq!(paths(&of(gpus, "all").unwrap()), nodes, "{gpus}");
        }
        for gpus in ["1", "0,1", "GPU-ab", "01:00.0"] {
            let error = of(gpus, "all").unwrap_err().to_string();
            assert!(error.starts_with("WSL2 has one device node for all GPUs"), "{gpus}: {error}");
        }
        for (allowed, is_allowed) in [("0", true), ("0-3", true), ("1-3", false), ("GPU-ab", false)] {
            let names = vec![GpuName::parse(allowed).unwrap()];
            let allowed = Some(Allowed { names, file: "/f".to_owned() });
            for gpus in ["all", "0"] {
                let request =
                    Request { allowed: allowed.clone(), ..Request::parse(gpus, None, None).unwrap() };
                let exit = plan(&request, &inventory).err().map(|error| error.exit());
                assert_eq!(exit, (!is_allowed).then_some(Exit::Permission), "{allowed:?} {gpus}");
            }
            let request = Request { allowed, ..Request::parse("none", None, None).unwrap() };
            assert_eq!(plan(&request, &inventory).unwrap().devices, []);
        }
        let plan = of("all", "utility").unwrap();
        let inside: Vec<&str> = plan.binds.iter().map(|bind| bind.inside.as_str()).collect();
        let store = "wsl/drivers/nv_dispi.inf_amd64_5bf4a1";
        let expected = [
            "bin/nvidia-smi",
            "lib64/libdxcore.so",
            "lib64/libnvidia-ml.so.1",
            &format!("{store}/libcuda.so.1.1"),
            &format!("{store}/libcuda_loader.so"),
            &format!("{store}/libnvidia-ml.so.1"),
            &format!("{store}/nvcubins.bin"),
        ];
        assert_eq!(inside, expected);
        assert_eq!(plan.proc, None);
        assert_eq!(plan.view_links, [Link { path: "wsl/lib".to_owned(), target: "../lib64".to_owned() }]);
        assert!(targets(&plan).contains(&"wsl at /usr/lib/wsl".to_owned()));
        let sonames: Vec<&str> = plan.sonames.iter().map(|soname| soname.name.as_str()).collect();
        assert_eq!(sonames, ["libdxcore.so", "libnvidia-ml.so.1"]);
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
