//! GPUs, from `/proc/driver/nvidia/gpus` and `/sys/bus/pci`: no NVML, so no start-up time and nothing executed.

use super::mig::{self, MigDevice};
use super::{DeviceNode, Error, Majors};
use crate::catalogue::DRM_MAJOR;
use crate::host::{Found as _, Host};
use crate::listing::MigIdentity;
use crate::pci::PciAddress;

const PATH: &str = "/proc/driver/nvidia/gpus";

const DEVICES: &str = "/sys/bus/pci/devices";

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Position in PCI order, of those that this process may use: as `nvidia-smi` counts in a job that has some of a
    /// machine's.
    pub index: u32,
    /// The same of all GPUs of the machine, by which root's configuration counts.
    pub position: u32,
    /// The number in `/dev/nvidiaN`, which is not the index.
    pub minor: u32,
    /// UUID; unknown before the GPU's first use on some drivers.
    pub uuid: Option<String>,
    /// Where it is on the PCI bus.
    pub pci: PciAddress,
    /// Its directory in procfs.
    pub proc: String,
    /// The product's name, as the driver tells it.
    pub model: String,
    /// Its node `/dev/nvidiaN`.
    pub node: DeviceNode,
    /// `/dev/dri/card*` and `/dev/dri/renderD*`; empty where nvidia-drm is not loaded.
    pub drm: Vec<DeviceNode>,
    /// The MIG devices that it is divided into, by GPU instance and compute instance.
    pub mig: Vec<MigDevice>,
    /// Those of them that the device cgroup of this process denies, and that are not in `mig`.
    pub denied_mig: Vec<MigDevice>,
}

impl Gpu {
    /// The name of a MIG device of this GPU: what NVML calls it, else what every driver understands.
    #[must_use]
    pub fn name_of(&self, device: &MigDevice) -> String {
        match &device.identity {
            Some(MigIdentity { index, uuid, profile: Some(profile) }) => {
                format!("{}:{index} ({uuid}, {profile})", self.index)
            }
            Some(MigIdentity { index, uuid, profile: None }) => format!("{}:{index} ({uuid})", self.index),
            None => {
                let uuid = self.uuid.as_deref().unwrap_or("GPU-?");
                format!("MIG-{uuid}/{}/{}", device.gpu_instance, device.compute_instance)
            }
        }
    }

    /// The NUMA node that it is at; none where the machine has no more than one, which the kernel tells by -1
    /// (`Documentation/ABI/testing/sysfs-bus-pci`).
    #[must_use]
    pub fn numa_node(&self, host: &Host) -> Option<u32> {
        let text = host.sys.text(&format!("{DEVICES}/{}/numa_node", self.pci)).ok()?;
        text.trim().parse().ok()
    }
}

/// The GPUs that this process may use, and those that its device cgroup denies: a scheduler of jobs gives each job some
/// of a machine's. What it denies could not be given to a container, and would be seen by no program in it.
pub(super) fn read(host: &Host, majors: &Majors) -> Result<(Vec<Gpu>, Vec<Gpu>), Error> {
    let names = host.proc.names(PATH).found()?.unwrap_or_default();
    let mut addresses: Vec<(PciAddress, String)> = names
        .into_iter()
        .filter_map(|name| PciAddress::parse(&name).map(|address| (address, name)))
        .collect();
    addresses.sort();
    let (mut gpus, mut denied) = (Vec::new(), Vec::new());
    for (pci, name) in addresses {
        let proc = format!("{PATH}/{name}");
        let path = format!("{proc}/information");
        // None: removed since its directory was listed.
        let Some(text) = host.proc.text(&path).found()? else { continue };
        let information = Information::parse(&text)
            .ok_or_else(|| Error::Gpu { path: host.proc.display(&path), field: "Device Minor" })?;
        if information.excluded {
            continue;
        }
        let node = DeviceNode {
            path: format!("/dev/nvidia{}", information.minor),
            major: majors.gpu,
            minor: information.minor,
        };
        let mig = mig::read(&host.proc, information.minor, majors.of(mig::DRIVER).next())?;
        let (mig, denied_mig) = mig::divide(&host.dev, mig)?;
        let is_denied = host.dev.is_denied_by_cgroup(&node.path)? || mig.is_empty() && !denied_mig.is_empty();
        let gpu = Gpu {
            index: count(&gpus),
            position: count(&gpus).saturating_add(count(&denied)),
            minor: information.minor,
            uuid: information.uuid,
            model: information.model,
            drm: drm_nodes(host, &pci)?,
            mig,
            denied_mig,
            pci,
            proc,
            node,
        };
        if is_denied { denied.push(gpu) } else { gpus.push(gpu) }
    }
    Ok((gpus, denied))
}

fn count(gpus: &[Gpu]) -> u32 {
    u32::try_from(gpus.len()).unwrap_or(u32::MAX)
}

pub(super) struct Information {
    model: String,
    uuid: Option<String>,
    minor: u32,
    excluded: bool,
}

impl Information {
    /// Lines are `Key: \t value`. A UUID reads as question marks until the GPU has been used once.
    pub(super) fn parse(text: &str) -> Option<Information> {
        let field = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == key).then(|| value.trim())
            })
        };
        let uuid = field("GPU UUID").filter(|uuid| uuid.starts_with("GPU-") && !uuid.contains('?'));
        Some(Information {
            model: field("Model").unwrap_or("unknown model").to_owned(),
            uuid: uuid.map(str::to_owned),
            minor: field("Device Minor")?.parse().ok().filter(|minor| *minor < 255)?,
            excluded: field("GPU Excluded") == Some("Yes"),
        })
    }
}

/// `drm/` below a PCI device holds `cardA`, `renderDB` and connectors; the number is the minor (`drm_drv.c`).
fn drm_nodes(host: &Host, pci: &PciAddress) -> Result<Vec<DeviceNode>, Error> {
    let mut names = host.sys.names(&format!("{DEVICES}/{pci}/drm")).found()?.unwrap_or_default();
    names.sort();
    let node = |name: String| {
        let number = name.strip_prefix("card").or_else(|| name.strip_prefix("renderD"))?;
        let minor = number.parse().ok()?;
        Some(DeviceNode { path: format!("/dev/dri/{name}"), major: DRM_MAJOR, minor })
    };
    Ok(names.into_iter().filter_map(node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn addresses_are_read_in_every_spelling_and_nothing_else() {
        for (text, expected) in [
            ("0000:01:00.0", Some("0000:01:00.0")),
            ("00000000:C1:1F.7", Some("0000:c1:1f.7")),
            ("10000:01:00.0", Some("10000:01:00.0")),
            ("01:00.0", Some("0000:01:00.0")),
            ("0000:01:20.0", None),
            ("0000:01:00.8", None),
            ("0000:100:00.0", None),
            ("../../x:1:0.0", None),
            ("+1:00.0", None),
            ("", None),
        ] {
            assert_eq!(
                PciAddress::parse(text).map(|address| address.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn index_follows_the_address_and_not_the_minor_or_the_drm_number() {
        let machine = Machine::new();
        machine.gpu("0000:c1:00.0", 0, "GPU-c", &["card0", "renderD128", "card0-DP-1"]);
        machine.gpu("0000:41:00.0", 2, "GPU-????????", &["card5", "renderD133"]);
        machine.gpu("0000:01:00.0", 1, "GPU-a", &[]);
        let gpus = machine.inventory().unwrap().gpus;
        let seen: Vec<_> = gpus
            .iter()
            .map(|gpu| {
                let drm: Vec<_> = gpu.drm.iter().map(|node| (node.path.as_str(), node.minor)).collect();
                (gpu.index, gpu.minor, gpu.uuid.as_deref(), gpu.pci.to_string(), gpu.node.path.as_str(), drm)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (0, 1, Some("GPU-a"), "0000:01:00.0".into(), "/dev/nvidia1", vec![]),
                (
                    1,
                    2,
                    None,
                    "0000:41:00.0".into(),
                    "/dev/nvidia2",
                    vec![("/dev/dri/card5", 5), ("/dev/dri/renderD133", 133)]
                ),
                (
                    2,
                    0,
                    Some("GPU-c"),
                    "0000:c1:00.0".into(),
                    "/dev/nvidia0",
                    vec![("/dev/dri/card0", 0), ("/dev/dri/renderD128", 128)]
                ),
            ]
        );
    }

    #[test]
    fn a_gpu_that_was_removed_leaves_a_directory_or_a_node_and_is_none() {
        let machine = Machine::new();
        machine.gpu("0000:41:00.0", 3, "GPU-b", &[]);
        std::fs::create_dir_all(machine.path("proc/driver/nvidia/gpus/0000:01:00.0")).unwrap();
        machine.write("dev/nvidia0", "");
        machine.write("sys/bus/pci/devices/0000:01:00.0/drm/card0/dev", "226:0\n");
        let gpus = machine.inventory().unwrap().gpus;
        let seen: Vec<_> = gpus.iter().map(|gpu| (gpu.index, gpu.minor)).collect();
        assert_eq!(seen, [(0, 3)]);
    }

    #[test]
    fn an_excluded_gpu_is_left_out_and_a_broken_one_named() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-a", &[]);
        machine.write(
            "proc/driver/nvidia/gpus/0000:02:00.0/information",
            "Device Minor: \t 1\nGPU Excluded:\t Yes\n",
        );
        assert_eq!(machine.inventory().unwrap().gpus.len(), 1);
        machine.write("proc/driver/nvidia/gpus/0000:03:00.0/information", "Model: X\n");
        let error = machine.inventory().unwrap_err().to_string();
        assert!(
            error.ends_with("gpus/0000:03:00.0/information lacks a usable \"Device Minor\" line"),
            "{error}"
        );
    }
}
