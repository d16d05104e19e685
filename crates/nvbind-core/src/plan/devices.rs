//! The device nodes of a plan.

use super::{Device, DeviceLink, Error};
use crate::capability::Capabilities;
use crate::catalogue::{DRM_CAPABILITIES, EXTRA_NODES, ExtraNode};
use crate::extras::{Extra, Extras};
use crate::inventory::{DeviceNode, Gpu, Inventory, Wsl};
use crate::request::Request;
use crate::select;

/// What makes the node of WSL2.
const WSL_REMEDY: &str = "run `wsl --update` in Windows";

/// What makes the driver's own nodes.
const DRIVER_REMEDY: &str = "run `nvbind devices` as root";

/// What makes a GPU's DRM nodes, which the kernel does.
const DRM_REMEDY: &str = "run `modprobe nvidia-drm` as root";

/// The nodes of the chosen GPUs, and the control nodes that the capabilities need.
pub(super) fn of_gpus(request: &Request, inventory: &Inventory, gpus: &[Gpu]) -> Result<Vec<Device>, Error> {
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
            Some(node) => devices.push(of_driver(node, capabilities.to_string(), inventory)),
            None if row.required => {
                let module = row.drivers.first().copied().unwrap_or_default();
                return Err(Error::Module { path: row.path, module, capabilities });
            }
            None => {}
        }
    }
    for gpu in gpus {
        let why = format!("GPU {} at {}", gpu.index, gpu.pci);
        devices.push(of_driver(&gpu.node, why.clone(), inventory));
        if request.capabilities.intersects(DRM_CAPABILITIES) {
            devices.extend(gpu.drm.iter().map(|node| {
                let drm = of_driver(node, why.clone(), inventory);
                let is_required = request.capabilities != Capabilities::ALL;
                Device { remedy: DRM_REMEDY, link: by_path(gpu, node), is_required, ..drm }
            }));
        }
        for mig in &gpu.mig {
            let why = format!("MIG device {} of GPU {}", gpu.name_of(mig), gpu.index);
            devices.extend(mig.access.iter().map(|access| {
                let made_as = Some(access.made_as(inventory.nodes));
                Device { made_as, ..of_driver(&access.node, why.clone(), inventory) }
            }));
        }
    }
    Ok(devices)
}

fn by_path(gpu: &Gpu, node: &DeviceNode) -> Option<DeviceLink> {
    let name = node.path.strip_prefix("/dev/dri/")?;
    let kind = if name.starts_with("card") { "card" } else { "render" };
    let path = format!("/dev/dri/by-path/pci-{}-{kind}", gpu.pci);
    Some(DeviceLink { path, target: format!("../{name}") })
}

/// WSL2's one node for all GPUs.
pub(super) fn of_wsl(request: &Request, wsl: &Wsl) -> Result<Vec<Device>, Error> {
    let why = "the GPUs of the Windows host".to_owned();
    let node = Device {
        node: wsl.node.clone(),
        why,
        remedy: WSL_REMEDY,
        is_required: true,
        link: None,
        made_as: None,
    };
    Ok(if select::select_all(request)? { vec![node] } else { Vec::new() })
}

fn of_driver(node: &DeviceNode, why: String, inventory: &Inventory) -> Device {
    let made_as = Some(inventory.nodes);
    Device { node: node.clone(), why, remedy: DRIVER_REMEDY, is_required: true, link: None, made_as }
}

/// The nodes of the extras, also where no GPU is asked for.
pub(super) fn of_extras(extras: &Extras, inventory: &Inventory) -> Result<Vec<Device>, Error> {
    let nodes = || inventory.extra_nodes.iter().filter(|(row, node)| extras.takes(row.extra, node.minor));
    for row in EXTRA_NODES.iter().filter(|row| row.required && extras.has(row.extra)) {
        let missing = |name: &str| {
            let path = format!("{}/{name}", row.directory);
            let missing = format!("there is no {path}, or its kernel module is not loaded");
            Error::Extra { extra: row.extra, missing }
        };
        if !nodes().any(|(found, _)| *found == row) && extras.takes_all(row.extra) {
            return Err(missing(row.name));
        }
        if row.extra == Extra::Imex {
            let has = |channel: &u32| nodes().any(|(found, node)| *found == row && node.minor == *channel);
            if let Some(channel) = extras.channels().find(|channel| !has(channel)) {
                return Err(missing(&row.name.replace('*', &channel.to_string())));
            }
        }
    }
    let device = |(row, node): &(&'static ExtraNode, DeviceNode)| Device {
        node: node.clone(),
        why: row.extra.to_string(),
        remedy: row.extra.remedy(),
        is_required: true,
        link: None,
        made_as: None,
    };
    Ok(nodes().map(device).collect())
}
