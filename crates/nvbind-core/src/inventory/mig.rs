//! MIG devices: parts of a GPU, each a compute instance in a GPU instance, from the kernel module's capability files.
//!
//! `/proc/driver/nvidia/capabilities/gpuMINOR/mig/giN/access` and `…/giN/ciM/access` are there for what exists, and
//! tell the minor number of the node in `/dev/nvidia-caps` that lets a program use it (NVIDIA's MIG user guide, "Device
//! Nodes and Capabilities"). What NVML alone knows of a MIG device, its index, UUID and profile, is [added
//! later](super::Inventory::identify) where it is needed.

use super::procfs::DIRECTORY;
use super::{DeviceNode, Error, Nodes};
use crate::host::{Found as _, Tree};
use crate::listing::MigIdentity;

/// The driver's name in `/proc/devices`.
pub(super) const DRIVER: &str = "nvidia-caps";

/// Minor numbers of all instances that could exist: lines of a path as below, without `mig/`, and a number.
const MINORS: &str = "/proc/driver/nvidia-caps/mig-minors";

/// The line of an access file that tells the minor number.
const MINOR: &str = "DeviceFileMinor";

/// What lets a program use a GPU instance or a compute instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The node in `/dev/nvidia-caps`.
    pub node: DeviceNode,
    /// The kernel module's file of it: a path below [`PROC`](super::PROC).
    pub file: String,
    /// What the file says.
    pub text: String,
}

impl Access {
    /// How the node is made: as the file says, by the owner of all the driver's nodes. A file that this user may not
    /// read leaves it to others.
    #[must_use]
    pub fn made_as(&self, nodes: Nodes) -> Nodes {
        let number = |name| number(&self.text, name);
        match (number("DeviceFileMode"), number("DeviceFileModify")) {
            (Some(mode), Some(1)) => Nodes { mode: mode & 0o777, ..nodes },
            _ => Nodes { may_be_made: false, ..nodes },
        }
    }
}

/// A MIG device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigDevice {
    /// The number of its GPU instance.
    pub gpu_instance: u32,
    /// The number of its compute instance within that.
    pub compute_instance: u32,
    /// What NVML says of it, where it was asked.
    pub identity: Option<MigIdentity>,
    /// What lets a program use it: the GPU instance, and the compute instance.
    pub access: [Access; 2],
}

/// The MIG devices of the GPU with this minor number; `major` is that of [`DRIVER`].
pub(super) fn read(proc: &Tree, gpu: u32, major: Option<u32>) -> Result<Vec<MigDevice>, Error> {
    let directory = format!("capabilities/gpu{gpu}/mig");
    let gpu_instances = numbers(proc, &directory, "gi")?;
    if gpu_instances.is_empty() {
        return Ok(Vec::new());
    }
    let Some(major) = major else {
        log::warn!("the MIG devices of /dev/nvidia{gpu} are left out: /proc/devices lists no {DRIVER}");
        return Ok(Vec::new());
    };
    let mut devices = Vec::new();
    for gpu_instance in gpu_instances {
        let outer = format!("{directory}/gi{gpu_instance}");
        let compute_instances = numbers(proc, &outer, "ci")?;
        for compute_instance in compute_instances {
            let inner = format!("{outer}/ci{compute_instance}");
            devices.push(MigDevice {
                gpu_instance,
                compute_instance,
                identity: None,
                access: [access(proc, &outer, major)?, access(proc, &inner, major)?],
            });
        }
    }
    Ok(devices)
}

/// Those that this process may use, and those that its device cgroup denies.
pub(super) fn divide(dev: &Tree, devices: Vec<MigDevice>) -> Result<(Vec<MigDevice>, Vec<MigDevice>), Error> {
    let (mut usable, mut denied) = (Vec::new(), Vec::new());
    for device in devices {
        let [gpu_instance, compute_instance] = &device.access;
        let is_denied = dev.is_denied_by_cgroup(&gpu_instance.node.path)?
            || dev.is_denied_by_cgroup(&compute_instance.node.path)?;
        if is_denied { denied.push(device) } else { usable.push(device) }
    }
    Ok((usable, denied))
}

/// The numbers of the subdirectories that are called `PREFIXn`, in order.
fn numbers(proc: &Tree, directory: &str, prefix: &str) -> Result<Vec<u32>, Error> {
    let names = proc.names(&format!("{DIRECTORY}/{directory}")).found()?.unwrap_or_default();
    let number = |name: &String| name.strip_prefix(prefix)?.parse().ok();
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn access(proc: &Tree, directory: &str, major: u32) -> Result<Access, Error> {
    let file = format!("{directory}/access");
    let path = format!("{DIRECTORY}/{file}");
    // An administrator can take the right to read it from users; the table of all instances is everybody's.
    let text = match proc.text(&path) {
        Err(error) if error.is_denied() => String::new(),
        text => text?,
    };
    let minor = match number(&text, MINOR) {
        None => minor_of_table(&proc.text(MINORS).found()?.unwrap_or_default(), &file),
        minor => minor,
    };
    let minor = minor.ok_or_else(|| Error::Gpu { path: proc.display(&path), field: MINOR })?;
    let node = DeviceNode { path: format!("/dev/nvidia-caps/nvidia-cap{minor}"), major, minor };
    Ok(Access { node, file, text })
}

pub(super) fn number(text: &str, name: &str) -> Option<u32> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
    text.lines().find_map(value)
}

pub(super) fn minor_of_table(table: &str, file: &str) -> Option<u32> {
    let name = file.strip_prefix("capabilities/")?.replacen("/mig/", "/", 1);
    let value = |line: &str| line.strip_prefix(&name)?.strip_prefix(' ')?.trim().parse().ok();
    table.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn a_capability_s_node_is_made_as_its_file_says_and_else_not_at_all() {
        let nodes = Nodes { uid: 0, gid: 44, mode: 0o666, may_be_made: true };
        let node = DeviceNode { path: String::new(), major: 1, minor: 2 };
        for (text, mode, may_be_made) in [
            ("DeviceFileMinor: 12\nDeviceFileMode: 292\nDeviceFileModify: 1\n", 0o444, true),
            ("DeviceFileMinor: 12\nDeviceFileMode: 256\nDeviceFileModify: 0\n", 0o666, false),
            ("DeviceFileMinor: 12\n", 0o666, false),
            ("", 0o666, false),
        ] {
            let access = Access { node: node.clone(), file: String::new(), text: text.to_owned() };
            assert_eq!(access.made_as(nodes), Nodes { mode, may_be_made, ..nodes }, "{text}");
        }
    }

    fn of(machine: &Machine, minor: u32) -> Vec<(u32, u32, [u32; 2])> {
        let devices = read(&machine.host().proc, minor, Some(235)).unwrap();
        let numbers = |device: &MigDevice| {
            let [outer, inner] = &device.access;
            (device.gpu_instance, device.compute_instance, [outer.node.minor, inner.node.minor])
        };
        devices.iter().map(numbers).collect()
    }

    #[test]
    fn a_mig_device_has_the_nodes_of_its_gpu_instance_and_its_compute_instance() {
        let machine = Machine::new();
        machine.mig(3, &[(10, 0, 130, 131), (2, 0, 30, 31), (2, 1, 30, 32)]);
        assert_eq!(of(&machine, 3), [(2, 0, [30, 31]), (2, 1, [30, 32]), (10, 0, [130, 131])]);
        assert_eq!(of(&machine, 0), []);
        let devices = read(&machine.host().proc, 3, Some(235)).unwrap();
        let expected = Access {
            node: DeviceNode { path: "/dev/nvidia-caps/nvidia-cap32".into(), major: 235, minor: 32 },
            file: "capabilities/gpu3/mig/gi2/ci1/access".into(),
            text: "DeviceFileMinor: 32\nDeviceFileMode: 292\nDeviceFileModify: 1\n".into(),
        };
        assert_eq!(devices[1].access[1], expected);
    }

    #[test]
    fn an_instance_without_compute_instances_and_one_that_is_none_are_left_out() {
        let machine = Machine::new();
        machine.write("proc/driver/nvidia/capabilities/gpu0/mig/gi1/access", "DeviceFileMinor: 3\n");
        machine.write("proc/driver/nvidia/capabilities/gpu0/mig/gix/ci0/access", "DeviceFileMinor: 4\n");
        machine.write("proc/driver/nvidia/capabilities/mig/config", "DeviceFileMinor: 1\n");
        assert_eq!(of(&machine, 0), []);
    }

    #[test]
    fn the_table_of_all_minor_numbers_stands_in_for_a_file_that_does_not_tell() {
        let machine = Machine::new();
        machine.mig(1, &[(1, 0, 12, 13)]);
        let file = "proc/driver/nvidia/capabilities/gpu1/mig/gi1/access";
        machine.write(file, "");
        let error = read(&machine.host().proc, 1, Some(235)).unwrap_err().to_string();
        assert!(error.ends_with("gpu1/mig/gi1/access lacks a usable \"DeviceFileMinor\" line"), "{error}");
        let table = "config 1\nmonitor 2\ngpu1/gi1/access 12\ngpu1/gi1/ci0/access 13\ngpu11/gi1/access 99\n";
        machine.write("proc/driver/nvidia-caps/mig-minors", table);
        assert_eq!(of(&machine, 1), [(1, 0, [12, 13])]);
    }

    #[test]
    fn without_the_driver_of_the_nodes_there_are_no_mig_devices() {
        let machine = Machine::new();
        machine.mig(0, &[(1, 0, 12, 13)]);
        assert_eq!(read(&machine.host().proc, 0, None).unwrap(), []);
    }
}
