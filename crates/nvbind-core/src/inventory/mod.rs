//! What this host has of an NVIDIA driver, read at the moment of use.

mod data;
mod devices;
mod elf;
mod extras;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gpus;
mod libraries;
mod mig;
mod procfs;
mod programs;
mod version;
mod wsl;

use crate::abi::Abi;
use crate::capability::Capabilities;
use crate::capability::Capability::{Compat32, Utility};
use crate::catalogue::{ControlNode, ExtraNode, MAIN_LIBRARIES, PROGRAM_DIRECTORIES, Shared};
use crate::exit::Exit;
use crate::extras::{Extra, Extras};
use crate::failure::Explain;
use crate::host::{self, Found as _, Host};
use crate::listing::Listing;
pub use data::{DataFile, Source};
pub use devices::{DeviceNode, Majors};
pub use extras::SocketFile;
pub use gpus::Gpu;
pub use libraries::Library;
pub use mig::{Access, MigDevice};
pub use procfs::{DIRECTORY as PROC, Nodes};
pub use programs::ProgramFile;
use serde::Serialize;
use std::time::{Duration, Instant};
pub use wsl::{StoreFile, Wsl};

/// NVIDIA's management library.
const NVML: &str = "libnvidia-ml";

/// How long a driver is read again that is being changed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the driver of this machine cannot be used.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel module is not loaded.
    #[error(
        "no NVIDIA driver is loaded: {path} is not there; load it with `modprobe nvidia`, or install the driver"
    )]
    NotLoaded { path: String },
    /// The kernel module says something else than a version.
    #[error("{path} does not tell the driver's version")]
    Version { path: String },
    /// The user-space half of the driver is not there.
    #[error(
        "the NVIDIA kernel module {version} is loaded, but none of its libraries is on this machine (no libcuda.so.{version} or libnvidia-ml.so.{version}); install the driver's user-space packages"
    )]
    NoLibraries { version: String },
    /// A half-finished upgrade.
    #[error(
        "the NVIDIA kernel module is {version}, but the libraries are {found}; reboot, or reload the nvidia modules, to finish the driver's upgrade"
    )]
    Mismatch { version: String, found: String },
    /// The library that manages GPUs is not there.
    #[error("there is no {NVML}.so.{version} on this machine; install the driver's user-space packages")]
    NoNvml { version: String },
    /// `/proc/devices` lacks the driver.
    #[error("{path} lists no nvidia driver although one is loaded")]
    NoMajor { path: String },
    /// A library of the loaded driver is no shared object: copied half-way, or overwritten.
    #[error("{path} is no shared library; install the driver's user-space packages again")]
    Damaged { path: String },
    /// An installation that is under way.
    #[error(
        "the driver is being changed: its files are still being replaced after {} seconds; start the container again when its installation is finished",
        TIMEOUT.as_secs()
    )]
    Changing,
    /// A GPU's description lacks what is needed.
    #[error("{path} lacks a usable \"{field}\" line")]
    Gpu { path: String, field: &'static str },
    /// Something there could not be read.
    #[error(transparent)]
    Host(#[from] host::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Host(error) => error.exit(),
            Error::NotLoaded { .. }
            | Error::Version { .. }
            | Error::NoLibraries { .. }
            | Error::Mismatch { .. }
            | Error::NoNvml { .. }
            | Error::NoMajor { .. }
            | Error::Damaged { .. }
            | Error::Changing
            | Error::Gpu { .. } => Exit::Driver,
        }
    }
}

/// The driver that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// Exact version, such as `570.172.08`; [`Driver::WSL2`] for one of Windows.
    pub version: String,
    /// Whether the kernel modules are NVIDIA's open ones.
    pub open_modules: bool,
}

impl Driver {
    /// What stands for a version in WSL2, where no file tells it.
    pub const WSL2: &str = "WSL2";
}

/// Everything of the driver that this host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The driver that is loaded.
    pub driver: Driver,
    /// The GPUs in PCI order, without those that the driver excludes and those that are denied.
    pub gpus: Vec<Gpu>,
    /// Those that the device cgroup of this process denies.
    pub denied: Vec<Gpu>,
    /// What is instead of GPUs in WSL2, which does not tell them.
    pub wsl: Option<Wsl>,
    /// The nodes beside `/dev/nvidiaN`, with their numbers where they can be injected: their
    /// kernel module is loaded, and an optional one stands in `/dev`.
    pub control_nodes: Vec<(&'static ControlNode, Option<DeviceNode>)>,
    /// Libraries by file name.
    pub libraries: Vec<Library>,
    /// Programs by name.
    pub programs: Vec<ProgramFile>,
    /// Data files in the catalogue's order.
    pub data: Vec<DataFile>,
    /// The files of [`PROC`] that say nothing of a single GPU, as a container sees them: names and contents.
    pub proc: Vec<(&'static str, String)>,
    /// Sockets of the driver's daemons in the catalogue's order.
    pub sockets: Vec<SocketFile>,
    /// Nodes of the extras whose kernel modules are loaded, in the catalogue's order.
    pub extra_nodes: Vec<(&'static ExtraNode, DeviceNode)>,
    /// Shared directories of the extras.
    pub shared: Vec<&'static Shared>,
    /// How missing device nodes are made.
    pub nodes: Nodes,
}

impl Inventory {
    /// Whether the machine has what an extra needs.
    #[must_use]
    pub fn has(&self, extra: Extra) -> bool {
        self.extra_nodes.iter().any(|(row, _)| row.required && row.extra == extra)
            || self.shared.iter().any(|row| row.extra == extra)
    }

    /// The capabilities for which the host has what they are about: one of [`MAIN_LIBRARIES`], and for `compat32` any
    /// 32-bit library.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let has = |stem: &str| {
            let is_it = |library: &Library| library.family.is_some_and(|family| family.stem == stem);
            self.libraries.iter().any(|library| Some(library.abi) == Abi::NATIVE && is_it(library))
        };
        let rows = MAIN_LIBRARIES.iter().filter(|(_, stems)| stems.iter().any(|stem| has(stem)));
        let compat32 = self.libraries.iter().any(|library| Some(library.abi) == Abi::COMPAT32);
        let found = rows.map(|(capability, _)| *capability).chain(compat32.then_some(Compat32));
        found.fold(Capabilities::default(), |all, one| all.union(Capabilities::of(&[one])))
    }

    /// The path of the loaded driver's NVML inside the driver root, without links.
    ///
    /// # Errors
    /// When the libraries cannot be looked at, or it is not among them.
    pub fn nvml(&self, host: &Host) -> Result<String, Error> {
        let version = &self.driver.version;
        // Those in the inventory are for the capabilities of a request, of which this may not be part.
        let libraries = libraries::read(&host.files, version, Capabilities::of(&[Utility]))?;
        let is_nvml = |library: &&Library| {
            Some(library.abi) == Abi::NATIVE && library.family.is_some_and(|family| family.stem == NVML)
        };
        let library = libraries.iter().find(is_nvml).map(|library| library.host.clone());
        library.ok_or_else(|| Error::NoNvml { version: version.clone() })
    }

    /// Adds what NVML says: UUIDs of GPUs that had none yet, and what it alone knows of MIG devices.
    pub fn identify(&mut self, listing: &Listing) {
        for gpu in &mut self.gpus {
            let Some(listed) = listing.gpus.iter().find(|listed| listed.pci == gpu.pci) else { continue };
            gpu.uuid.get_or_insert_with(|| listed.uuid.clone());
            for device in &mut gpu.mig {
                let instances = (device.gpu_instance, device.compute_instance);
                let found =
                    listed.mig.iter().find(|mig| (mig.gpu_instance, mig.compute_instance) == instances);
                device.identity = found.map(|mig| mig.identity.clone());
            }
        }
    }

    /// Reads what the machine has for containers with the capabilities `wanted` and these extras. Where files were
    /// added or removed beside the driver's just now, it is read again until nothing has changed for a second.
    ///
    /// # Errors
    /// When no driver is loaded, it is half-installed or being installed, or something of it cannot be read.
    pub fn read(host: &Host, wanted: Capabilities, extras: &Extras) -> Result<Inventory, Error> {
        host.files.watch();
        let read = Inventory::read_settled(host, wanted, extras);
        host.files.forget();
        read
    }

    fn read_settled(host: &Host, wanted: Capabilities, extras: &Extras) -> Result<Inventory, Error> {
        let read = Inventory::read_once(host, wanted, extras);
        if host.files.is_settled()? {
            return read;
        }
        log::info!("files were added or removed beside the driver's just now: it is read again");
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            let changes = host.files.watch_for_changes()?;
            host.files.watch();
            let read = Inventory::read_once(host, wanted, extras);
            if changes.is_quiet(libraries::is_drivers)? {
                return read;
            }
        }
        Err(Error::Changing)
    }

    fn read_once(host: &Host, wanted: Capabilities, extras: &Extras) -> Result<Inventory, Error> {
        if let Some(node) = wsl::find_node(host)? {
            return wsl::read(host, node, wanted);
        }
        let driver = version::read(&host.proc)?;
        let majors = Majors::read(&host.proc)?;
        let (gpus, denied) = gpus::read(host, &majors)?;
        let libraries = libraries::read(&host.files, &driver.version, wanted)?;
        let programs = programs::read(&host.files, wanted, PROGRAM_DIRECTORIES)?;
        let (proc, nodes) = procfs::read(&host.proc)?;
        let data = data::read(&host.files, &driver.version, wanted, extras)?;
        let mut control_nodes = majors.control_nodes();
        for (row, node) in &mut control_nodes {
            // A module can be loaded without anything having made its node, as nvidia-modeset is on most servers.
            if let Some(DeviceNode { path, .. }) = node
                && !row.required
                && host.dev.stat(path).found()?.is_none()
            {
                *node = None;
            }
        }
        Ok(Inventory {
            gpus,
            denied,
            wsl: None,
            control_nodes,
            libraries,
            programs,
            data,
            proc,
            nodes,
            sockets: extras::read_sockets(&host.files, wanted)?,
            extra_nodes: extras::read_nodes(host, &majors, extras)?,
            shared: extras::read_shared(&host.files, extras),
            driver,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::MigIdentity;
    use crate::machine::{Machine, VERSION};
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn a_driver_is_taken_that_stays_the_same_while_its_directory_changes() {
        let machine = Machine::new();
        let before = machine.inventory().unwrap();
        fs::write(machine.path("usr/lib64/libother.so.1"), "").unwrap();
        assert_eq!(machine.inventory().unwrap(), before);
    }

    #[test]
    fn a_driver_that_differs_each_time_is_being_changed() {
        let machine = Machine::new();
        let path = machine.path(&format!("usr/lib64/libnvidia-ml.so.{VERSION}"));
        let aside = path.with_extension("tmp");
        let is_over = AtomicBool::new(false);
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    fs::rename(&path, &aside).unwrap();
                    thread::sleep(Duration::from_millis(150));
                    fs::rename(&aside, &path).unwrap();
                    thread::sleep(Duration::from_millis(110));
                }
            });
            thread::sleep(Duration::from_millis(10));
            let read = machine.inventory();
            is_over.store(true, Ordering::Relaxed);
            read.unwrap_err()
        });
        assert!(error.to_string().starts_with("the driver is being changed"), "{error}");
        assert_eq!(machine.inventory().unwrap().libraries.len(), 2);
    }

    #[test]
    fn nvml_is_found_also_where_its_capability_is_not_asked_for() {
        let machine = Machine::new();
        let inventory =
            Inventory::read(&machine.host(), Capabilities::parse("compute").0, &Extras::default()).unwrap();
        let path = inventory.nvml(&machine.host()).unwrap();
        assert_eq!(path, format!("/usr/lib64/libnvidia-ml.so.{VERSION}"));
        fs::remove_file(machine.path(&path)).unwrap();
        let error = inventory.nvml(&machine.host()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no libnvidia-ml.so.{VERSION}")), "{error}");
    }

    #[test]
    fn a_capability_counts_by_its_main_libraries_and_not_by_those_that_it_shares() {
        let machine = Machine::new();
        let covered = || machine.inventory().unwrap().capabilities().to_string();
        machine.library("/usr/lib64", &format!("libnvidia-gpucomp.so.{VERSION}"), "libnvidia-gpucomp.so.1");
        assert_eq!(covered(), "compute,utility");
        machine.library_32("/usr/lib32", &format!("libnvidia-encode.so.{VERSION}"), "libnvidia-encode.so.1");
        assert_eq!(covered(), "compute,utility,compat32");
        for stem in ["libnvcuvid", "libEGL_nvidia", "libnvidia-ngx"] {
            machine.library("/usr/lib64", &format!("{stem}.so.{VERSION}"), &format!("{stem}.so.1"));
        }
        assert_eq!(covered(), "compute,utility,graphics,video,ngx,compat32");
        machine.library("/usr/lib64", &format!("libGLX_nvidia.so.{VERSION}"), "libGLX_nvidia.so.0");
        assert_eq!(covered(), "all");
    }

    #[test]
    fn what_nvml_says_is_added_by_address_and_instances() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 4, "GPU-????", &[]);
        machine.mig(4, &[(1, 0, 12, 13), (2, 0, 21, 22)]);
        machine.gpu("0000:02:00.0", 0, "GPU-bb", &[]);
        let listing = r#"{"gpus": [
            {"pci": "00000000:02:00.0", "uuid": "GPU-other"},
            {"pci": "00000000:01:00.0", "uuid": "GPU-aa", "mig": [
                {"gpu_instance": 2, "compute_instance": 0, "index": 1, "uuid": "MIG-x", "profile": "1g.10gb"},
                {"gpu_instance": 3, "compute_instance": 0, "index": 2, "uuid": "MIG-y", "profile": null}]}]}"#;
        let mut inventory = machine.inventory().unwrap();
        inventory.identify(&serde_json::from_str(listing).unwrap());
        let uuids: Vec<_> = inventory.gpus.iter().map(|gpu| gpu.uuid.as_deref()).collect();
        assert_eq!(uuids, [Some("GPU-aa"), Some("GPU-bb")]);
        let [one, other] = &inventory.gpus[0].mig[..] else { panic!() };
        assert_eq!(one.identity, None);
        let expected = MigIdentity { index: 1, uuid: "MIG-x".into(), profile: Some("1g.10gb".into()) };
        assert_eq!(other.identity, Some(expected));
    }

    #[test]
    fn an_optional_node_that_nothing_made_is_left_out_and_a_required_one_is_not() {
        let machine = Machine::new();
        let nodes = || -> Vec<String> {
            let nodes = machine.inventory().unwrap().control_nodes;
            nodes.into_iter().filter_map(|(_, node)| node).map(|node| node.path).collect()
        };
        let required = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"];
        assert_eq!(nodes(), required);
        machine.write("dev/nvidia-modeset", "");
        assert_eq!(nodes(), [&required[..], &["/dev/nvidia-modeset"]].concat());
    }
}
