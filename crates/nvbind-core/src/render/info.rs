//! What `nvbind info` tells of a machine.

use super::{GpuEntry, driver_line, gpu_line, mig_lines};
use crate::capability::{Capabilities, Capability};
use crate::cuda::{Cuda, Version};
use crate::extras::Extra;
use crate::host::Host;
use crate::inventory::{DataFile, DeviceNode, Driver, Gpu, Inventory};
use crate::listing::Listing;
use serde::Serialize;
use std::fmt::Write;

const MIB: u64 = 1 << 20;

/// The JSON form: keys may be added, never renamed.
#[derive(Debug, Serialize)]
pub struct InfoDocument<'a> {
    driver: &'a Driver,
    #[serde(serialize_with = "exactly")]
    cuda: Cuda,
    gpus: Vec<InfoGpu<'a>>,
    /// PCI addresses.
    denied: Vec<String>,
    capabilities: Vec<&'static str>,
    devices: Vec<&'a str>,
    libraries: Vec<LibraryEntry<'a>>,
    programs: Vec<String>,
    data: Vec<String>,
    sockets: Vec<String>,
    extras: Vec<Extra>,
}

#[derive(Debug, Serialize)]
struct InfoGpu<'a> {
    #[serde(flatten)]
    gpu: GpuEntry<'a>,
    drm: Vec<&'a str>,
    numa_node: Option<u32>,
    memory: Option<u64>,
}

#[derive(Debug, Serialize)]
struct LibraryEntry<'a> {
    soname: Option<&'a str>,
    host: String,
    capability: Capabilities,
}

/// A program has no use for a version that may be another.
fn exactly<S: serde::Serializer>(cuda: &Cuda, serializer: S) -> Result<S::Ok, S::Error> {
    match cuda {
        Cuda::Exactly(major, minor) => serializer.collect_str(&format_args!("{major}.{minor}")),
        Cuda::AtLeast(..) | Cuda::Unknown => serializer.serialize_none(),
    }
}

impl<'a> InfoDocument<'a> {
    /// The document of an inventory that was read from `host`, with what NVML says where it was asked.
    #[must_use]
    pub fn new(inventory: &'a Inventory, listing: Option<&Listing>, host: &Host) -> InfoDocument<'a> {
        let files = &host.files;
        let control = inventory.control_nodes.iter().filter_map(|(_, node)| node.as_ref());
        let control = control.chain(inventory.wsl.iter().map(|wsl| &wsl.node));
        let nodes =
            inventory.gpus.iter().flat_map(|gpu| std::iter::once(&gpu.node).chain(&gpu.drm)).chain(control);
        let data = inventory.data.iter().filter_map(DataFile::host);
        let data = data.chain(inventory.wsl.iter().flat_map(|wsl| &wsl.store).map(|file| file.host.as_str()));
        InfoDocument {
            driver: &inventory.driver,
            cuda: cuda(&inventory.driver, listing),
            gpus: inventory.gpus.iter().map(|gpu| InfoGpu::new(gpu, listing, host)).collect(),
            denied: inventory.denied.iter().map(|gpu| gpu.pci.to_string()).collect(),
            capabilities: inventory.capabilities().iter().map(Capability::name).collect(),
            devices: paths(nodes),
            libraries: inventory
                .libraries
                .iter()
                .map(|library| LibraryEntry {
                    soname: library.soname.as_deref(),
                    host: files.display(&library.host),
                    capability: library.capabilities(),
                })
                .collect(),
            programs: inventory.programs.iter().map(|program| files.display(&program.host)).collect(),
            data: data.map(|path| files.display(path)).collect(),
            sockets: inventory.sockets.iter().map(|socket| files.display(socket.host)).collect(),
            extras: Extra::ALL.into_iter().filter(|extra| inventory.has(*extra)).collect(),
        }
    }
}

impl<'a> InfoGpu<'a> {
    fn new(gpu: &'a Gpu, listing: Option<&Listing>, host: &Host) -> InfoGpu<'a> {
        let listed = listing.and_then(|listing| listing.gpus.iter().find(|listed| listed.pci == gpu.pci));
        InfoGpu {
            gpu: gpu.into(),
            drm: paths(&gpu.drm),
            numa_node: gpu.numa_node(host),
            memory: listed.and_then(|listed| listed.memory),
        }
    }
}

fn paths<'a>(nodes: impl IntoIterator<Item = &'a DeviceNode>) -> Vec<&'a str> {
    nodes.into_iter().map(|node| node.path.as_str()).collect()
}

/// NVML's answer, else that of the driver's branch.
fn cuda(driver: &Driver, listing: Option<&Listing>) -> Cuda {
    let told = listing.and_then(|listing| listing.cuda).map(Cuda::of_number);
    told.unwrap_or_else(|| Version::parse(&driver.version).map_or(Cuda::Unknown, Cuda::of_driver))
}

/// An inventory as text: the driver, the GPUs, and what else there is.
#[must_use]
pub fn info_text(inventory: &Inventory, listing: Option<&Listing>, host: &Host) -> String {
    let document = InfoDocument::new(inventory, listing, host);
    let mut text = driver_line(&inventory.driver);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "brings  {}", document.cuda);
    for (gpu, entry) in inventory.gpus.iter().zip(&document.gpus) {
        text.push_str(&gpu_line(gpu));
        let facts = [
            entry.memory.map(|bytes| format!("{} MiB of memory", bytes / MIB)),
            entry.numa_node.map(|node| format!("NUMA node {node}")),
            (!entry.drm.is_empty()).then(|| entry.drm.join(" ")),
        ];
        let facts: Vec<_> = facts.into_iter().flatten().collect();
        if !facts.is_empty() {
            let _ = writeln!(text, "  has   {}", facts.join(", "));
        }
        text.push_str(&mig_lines(gpu));
    }
    if !document.denied.is_empty() {
        let _ = writeln!(text, "denied  {} by the device cgroup of this process", document.denied.join(", "));
    }
    let _ = writeln!(text, "parts      {}", document.capabilities.join(","));
    let _ = writeln!(text, "devices    {}", document.devices.join(" "));
    let _ = writeln!(text, "libraries  {}", document.libraries.len());
    for library in &document.libraries {
        let _ = writeln!(text, "  {} for {}", library.host, library.capability);
    }
    for program in &document.programs {
        let _ = writeln!(text, "program    {program}");
    }
    for data in &document.data {
        let _ = writeln!(text, "data       {data}");
    }
    for socket in &document.sockets {
        let _ = writeln!(text, "socket     {socket}");
    }
    for extra in &document.extras {
        let _ = writeln!(text, "extra      {extra}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Machine, VERSION};
    use serde_json::json;

    /// Two GPUs, one of them divided, and what NVML says of the other.
    fn machine() -> (Machine, Listing) {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 1, "GPU-aa", &["card2", "renderD130"]);
        machine.write("sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n");
        machine.gpu("0000:41:00.0", 0, "GPU-????", &[]);
        machine.write("sys/bus/pci/devices/0000:41:00.0/numa_node", "-1\n");
        machine.mig(0, &[(2, 0, 21, 22)]);
        let listing = json!({"cuda": 12090, "gpus": [
            {"pci": "00000000:01:00.0", "uuid": "GPU-aa", "memory": 85_899_345_920_u64}]});
        (machine, serde_json::from_value(listing).unwrap())
    }

    #[test]
    fn the_json_of_a_machine_has_the_documented_keys() {
        let (machine, listing) = machine();
        let root = machine.path("").display().to_string();
        let root = root.trim_end_matches('/');
        let library = |stem: &str, capability: &str| {
            json!({"soname": format!("{stem}.so.1"), "host": format!("{root}/usr/lib64/{stem}.so.{VERSION}"),
                   "capability": capability})
        };
        let expected = json!({
            "driver": {"version": VERSION, "open_modules": true},
            "cuda": "12.9",
            "gpus": [
                {"index": 0, "minor": 1, "uuid": "GPU-aa", "pci": "0000:01:00.0", "model": "NVIDIA Test",
                 "drm": ["/dev/dri/card2", "/dev/dri/renderD130"], "numa_node": 1, "memory": 85_899_345_920_u64},
                {"index": 1, "minor": 0, "uuid": null, "pci": "0000:41:00.0", "model": "NVIDIA Test",
                 "drm": [], "numa_node": null, "memory": null,
                 "mig": [{"gpu_instance": 2, "compute_instance": 0, "index": null, "uuid": null, "profile": null}]},
            ],
            "denied": [],
            "capabilities": ["compute", "utility"],
            "devices": ["/dev/nvidia1", "/dev/dri/card2", "/dev/dri/renderD130", "/dev/nvidia0", "/dev/nvidiactl",
                        "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"],
            "libraries": [library("libcuda", "compute,video"), library("libnvidia-ml", "utility")],
            "programs": [], "data": [], "sockets": [], "extras": [],
        });
        let (inventory, host) = (machine.inventory().unwrap(), machine.host());
        let document = InfoDocument::new(&inventory, Some(&listing), &host);
        assert_eq!(serde_json::to_value(document).unwrap(), expected);
    }

    #[test]
    fn without_nvml_the_branch_tells_the_version_of_cuda_and_nothing_the_memory() {
        let (machine, _) = machine();
        let (inventory, host) = (machine.inventory().unwrap(), machine.host());
        let json = serde_json::to_value(InfoDocument::new(&inventory, None, &host)).unwrap();
        assert_eq!((&json["cuda"], &json["gpus"][0]["memory"]), (&json!("12.8"), &json!(null)));
        let driver = Driver { version: "999.10".into(), ..inventory.driver.clone() };
        assert_eq!(cuda(&driver, None).to_string(), "CUDA 13.4 or newer");
        let json = serde_json::to_value(InfoDocument::new(&Inventory { driver, ..inventory }, None, &host));
        assert_eq!(json.unwrap()["cuda"], json!(null));
    }

    #[test]
    fn the_text_has_a_line_for_what_is_known_of_a_gpu_and_none_where_nothing_is() {
        let (machine, listing) = machine();
        let text = info_text(&machine.inventory().unwrap(), Some(&listing), &machine.host());
        let expected = format!(
            "driver  {VERSION} (open kernel modules)\n\
             brings  CUDA 12.9\n\
             gpu 0   NVIDIA Test GPU-aa 0000:01:00.0 /dev/nvidia1\n  \
               has   81920 MiB of memory, NUMA node 1, /dev/dri/card2 /dev/dri/renderD130\n\
             gpu 1   NVIDIA Test UUID not known before its first use 0000:41:00.0 /dev/nvidia0\n  \
               mig   MIG-GPU-?/2/0 GPU instance 2, compute instance 0\n\
             parts      compute,utility\n"
        );
        assert!(text.starts_with(&expected), "{text}");
    }
}
