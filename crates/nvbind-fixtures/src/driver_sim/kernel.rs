//! What the kernel shows of the driver: `/proc`, `/sys` and `/dev`, in the kernel modules' own text formats.
//!
//! Formats: `kernel-open/nvidia/nv-procfs.c` and `nv-frontend.c`/`nv.c` of NVIDIA's open kernel modules, `fs/char_dev.c`
//! `drivers/char/misc.c` and `drivers/gpu/drm` of Linux.
use std::collections::BTreeMap;

use super::{DriverSim, Extra, Gpu};
use crate::tree::{Tree, TreeError};

/// The driver's registered major.
const NVIDIA: u64 = 195;
/// The kernel's major for DRM.
const DRM: u64 = 226;
/// Dynamic majors count down from 254 and then from 511: 384 and up are the last to be given out, so that no driver of
/// the machine that the simulation runs on answers there.
const UVM: u64 = 384;
const CAPS: u64 = 385;
/// The kernel's major for drivers that have one node each.
pub(super) const MISC: u64 = 10;

/// Nodes below `/dev`, with their minors.
type Nodes = &'static [(&'static str, u64)];
/// What extras have: the name that the kernel registers, its major, and the nodes with their minors. That of InfiniBand is the kernel's own, and the nodes count from 192.
const EXTRAS: &[(Extra, &str, u64, Nodes)] = &[
    (
        Extra::Imex,
        "nvidia-caps-imex-channels",
        386,
        &[("nvidia-caps-imex-channels/channel0", 0), ("nvidia-caps-imex-channels/channel1", 1)],
    ),
    (Extra::Nvswitch, "nvidia-nvswitch", 387, &[("nvidia-nvswitchctl", 255), ("nvidia-nvswitch0", 0)]),
    (Extra::Gds, "nvidia-fs", 388, &[("nvidia-fs0", 0)]),
    (Extra::Gdrcopy, "gdrdrv", 389, &[("gdrdrv", 0)]),
    (Extra::Infiniband, "infiniband_verbs", 231, &[("infiniband/uverbs0", 192)]),
];
/// RDMA's connection manager has a dynamic minor of [`MISC`]. These count down from 127 or start at 256, by the kernel's
/// version: 64 is the last to be given out, or never.
const RDMA_CM: (&str, u64, &str) = ("rdma_cm", 64, "infiniband/rdma_cm");

/// A GPU of another vendor, which must never be taken for one of the driver's.
const FOREIGN: (&str, u64, u64) = ("0000:00:02.0", 50, 180);

/// Writes all of it.
pub(super) fn build(sim: &DriverSim, tree: &Tree) -> Result<(), TreeError> {
    proc_files(sim, tree)?;
    sys_files(sim, tree)?;
    nodes(sim, tree)
}

fn proc_files(sim: &DriverSim, tree: &Tree) -> Result<(), TreeError> {
    let proc_nvidia = "proc/driver/nvidia";
    for (name, content) in [
        ("version", version(&sim.version)),
        ("params", PARAMS.to_owned()),
        ("registry", "Binary: \"\"\n".to_owned()),
    ] {
        tree.file(format!("{proc_nvidia}/{name}"), content, 0o444)?;
    }
    for gpu in &sim.gpus {
        let dir = format!("{proc_nvidia}/gpus/{}", gpu.pci);
        tree.file(format!("{dir}/information"), information(gpu, &sim.version), 0o444)?;
        tree.file(format!("{dir}/registry"), "Binary: \"\"\n", 0o444)?;
        for (path, minor) in access(gpu) {
            let text = format!("DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n");
            tree.file(format!("{proc_nvidia}/capabilities/gpu{}/mig/{path}/access", gpu.minor), text, 0o444)?;
        }
    }
    for (name, minor) in [("config", 1), ("monitor", 2)] {
        let text = format!("DeviceFileMinor: {minor}\nDeviceFileMode: 256\nDeviceFileModify: 1\n");
        tree.file(format!("{proc_nvidia}/capabilities/mig/{name}"), text, 0o444)?;
    }
    let rdma = rdma_cm(sim).map(|(name, minor, _)| (minor, name));
    tree.file("proc/misc", misc(rdma.as_slice()), 0o444)?;
    tree.file("proc/devices", devices(&sim.version, &sim.extras), 0o444)
}

fn sys_files(sim: &DriverSim, tree: &Tree) -> Result<(), TreeError> {
    tree.file("sys/module/nvidia/version", format!("{}\n", sim.version), 0o444)?;
    tree.file("sys/module/nvidia_drm/parameters/modeset", "Y\n", 0o400)?;
    for module in ["nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm"] {
        tree.file(format!("sys/module/{module}/initstate"), "live\n", 0o444)?;
    }
    for gpu in &sim.gpus {
        pci_device(tree, &gpu.pci, "0x10de", gpu.card, gpu.render)?;
    }
    let (pci, card, render) = FOREIGN;
    pci_device(tree, pci, "0x8086", card, render)
}

/// `/sys/bus/pci/devices/ADDR` is a link into `/sys/devices`, as on a real machine.
fn pci_device(tree: &Tree, pci: &str, vendor: &str, card: u64, render: u64) -> Result<(), TreeError> {
    let device = format!("devices/pci0000:00/{pci}");
    tree.link(format!("sys/bus/pci/devices/{pci}"), format!("../../../{device}"))?;
    tree.file(format!("sys/{device}/vendor"), format!("{vendor}\n"), 0o444)?;
    tree.file(format!("sys/{device}/class"), "0x030000\n", 0o444)?;
    for (name, minor) in [(format!("card{card}"), card), (format!("renderD{render}"), render)] {
        let numbers = format!("{DRM}:{minor}\n");
        tree.file(format!("sys/{device}/drm/{name}/dev"), numbers, 0o444)?;
        tree.link(format!("sys/class/drm/{name}"), format!("../../{device}/drm/{name}"))?;
    }
    Ok(())
}

fn nodes(sim: &DriverSim, tree: &Tree) -> Result<(), TreeError> {
    for gpu in &sim.gpus {
        tree.node(format!("dev/nvidia{}", gpu.minor), NVIDIA, gpu.minor)?;
        drm_nodes(tree, &gpu.pci, gpu.card, gpu.render)?;
        for (_, minor) in access(gpu) {
            tree.node(format!("dev/nvidia-caps/nvidia-cap{minor}"), CAPS, minor)?;
        }
    }
    let (pci, card, render) = FOREIGN;
    drm_nodes(tree, pci, card, render)?;
    for (path, major, minor) in [
        ("dev/nvidiactl", NVIDIA, 255),
        ("dev/nvidia-modeset", NVIDIA, 254),
        ("dev/nvidia-uvm", UVM, 0),
        ("dev/nvidia-uvm-tools", UVM, 1),
        ("dev/nvidia-caps/nvidia-cap1", CAPS, 1),
        ("dev/nvidia-caps/nvidia-cap2", CAPS, 2),
    ] {
        tree.node(path, major, minor)?;
    }
    for (_, _, major, nodes) in EXTRAS.iter().filter(|(extra, ..)| sim.extras.contains(extra)) {
        for (path, minor) in *nodes {
            tree.node(format!("dev/{path}"), *major, *minor)?;
        }
    }
    rdma_cm(sim).map_or(Ok(()), |(_, minor, path)| tree.node(format!("dev/{path}"), MISC, minor))
}

fn rdma_cm(sim: &DriverSim) -> Option<(&'static str, u64, &'static str)> {
    sim.extras.contains(&Extra::Infiniband).then_some(RDMA_CM)
}

/// The instances of a GPU's MIG devices: their directories, and the minor numbers of the nodes that give access.
fn access(gpu: &Gpu) -> BTreeMap<String, u64> {
    let instances = gpu.mig.iter().flat_map(|mig| {
        let ((outer, outer_minor), (inner, inner_minor)) = (mig.gpu_instance, mig.compute_instance);
        [(format!("gi{outer}"), outer_minor), (format!("gi{outer}/ci{inner}"), inner_minor)]
    });
    // Compute instances of one GPU instance share its file.
    instances.collect()
}

/// The nodes, and udev's links to them (`60-drm.rules` of systemd).
fn drm_nodes(tree: &Tree, pci: &str, card: u64, render: u64) -> Result<(), TreeError> {
    for (name, minor, kind) in
        [(format!("card{card}"), card, "card"), (format!("renderD{render}"), render, "render")]
    {
        tree.node(format!("dev/dri/{name}"), DRM, minor)?;
        tree.link(format!("dev/dri/by-path/pci-{pci}-{kind}"), format!("../{name}"))?;
    }
    Ok(())
}

fn version(version: &str) -> String {
    format!(
        "NVRM version: NVIDIA UNIX Open Kernel Module for {}  {version}  Release Build  (simulated)\n\
         GCC version:  simulated\n",
        std::env::consts::ARCH
    )
}

fn information(gpu: &Gpu, version: &str) -> String {
    format!(
        "Model: \t\t NVIDIA Simulated GPU\n\
         IRQ:   \t\t {irq}\n\
         GPU UUID: \t {uuid}\n\
         Video BIOS: \t 00.00.00.00.00\n\
         Bus Type: \t PCIe\n\
         DMA Size: \t 47 bits\n\
         DMA Mask: \t 0x7fffffffffff\n\
         Bus Location: \t {pci}\n\
         Device Minor: \t {minor}\n\
         GPU Firmware: \t {version}\n\
         GPU Excluded:\t No\n",
        irq = 100 + gpu.minor,
        uuid = gpu.uuid,
        pci = gpu.pci,
        minor = gpu.minor,
    )
}

/// The registered names changed with 550.40: one `nvidia-frontend` before, one for each kind of node since.
fn devices(version: &str, extras: &[Extra]) -> String {
    let branch: u32 = version.split('.').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    let names: &[&str] =
        if branch >= 550 { &["nvidia", "nvidia-modeset", "nvidiactl"] } else { &["nvidia-frontend"] };
    let mut all = vec![(DRM, "drm"), (UVM, "nvidia-uvm"), (CAPS, "nvidia-caps")];
    all.extend(names.iter().map(|name| (NVIDIA, *name)));
    let extras = EXTRAS.iter().filter(|(extra, ..)| extras.contains(extra));
    all.extend(extras.map(|(_, name, major, _)| (*major, *name)));
    character_devices(all)
}

/// `/proc/devices` of a machine with these drivers, which the kernel lists by their majors.
pub(super) fn character_devices(mut drivers: Vec<(u64, &str)>) -> String {
    drivers.extend([(1, "mem"), (5, "/dev/tty"), (MISC, "misc")]);
    drivers.sort_by_key(|(major, _)| *major);
    let lines: String = drivers.iter().map(|(major, name)| format!("{major:3} {name}\n")).collect();
    format!("Character devices:\n{lines}\nBlock devices:\n  7 loop\n254 virtblk\n")
}

/// `/proc/misc` of a machine with these drivers of [`MISC`].
pub(super) fn misc(drivers: &[(u64, &str)]) -> String {
    drivers.iter().map(|(minor, name)| format!("{minor:3} {name}\n")).collect()
}

/// As the driver shows its defaults; those that matter to a container come first in the driver, too.
const PARAMS: &str = "ResmanDebugLevel: 4294967295\n\
    RmLogonRC: 1\n\
    ModifyDeviceFiles: 1\n\
    DeviceFileUID: 0\n\
    DeviceFileGID: 0\n\
    DeviceFileMode: 438\n\
    InitializeSystemMemoryAllocations: 1\n\
    UsePageAttributeTable: 4294967295\n\
    EnableMSI: 1\n\
    EnableUserNUMAManagement: 1\n\
    NvLinkDisable: 0\n\
    RmProfilingAdminOnly: 1\n\
    PreserveVideoMemoryAllocations: 0\n\
    DynamicPowerManagement: 3\n\
    EnableGpuFirmware: 18\n\
    ImexChannelCount: 2048\n\
    CreateImexChannel0: 0\n\
    RegistryDwords: \"\"\n\
    RegistryDwordsPerDevice: \"\"\n\
    RmMsg: \"\"\n\
    GpuBlacklist: \"\"\n\
    TemporaryFilePath: \"\"\n\
    ExcludedGpus: \"\"\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn all_extras() -> Vec<Extra> {
        Extra::ALL.iter().map(|(_, extra)| *extra).collect()
    }

    #[test]
    fn an_extra_that_is_not_there_registers_no_driver() {
        assert!(devices("570.172.08", &[Extra::Gds]).contains("\n388 nvidia-fs\n\n"));
        assert!(!devices("570.172.08", &[Extra::Gds]).contains("gdrdrv"));
    }

    #[test]
    fn the_gpu_major_is_called_as_the_drivers_branch_calls_it() {
        assert!(devices("535.261.03", &all_extras()).contains("\n195 nvidia-frontend\n"));
        assert!(!devices("550.163.01", &all_extras()).contains("nvidia-frontend"));
        assert!(
            devices("550.163.01", &all_extras())
                .contains("\n195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n")
        );
    }

    #[test]
    fn drivers_are_listed_by_their_majors() {
        let text = devices("570.172.08", &all_extras());
        assert!(text.contains("\n 10 misc\n195 nvidia\n"), "{text}");
        assert!(text.contains("\n226 drm\n231 infiniband_verbs\n384 nvidia-uvm\n"), "{text}");
        assert!(text.ends_with("\n389 gdrdrv\n\nBlock devices:\n  7 loop\n254 virtblk\n"), "{text}");
    }

    #[test]
    fn gpu_information_has_the_kernels_tabs() {
        let gpu = Gpu {
            pci: "0000:17:00.0".into(),
            minor: 1,
            uuid: "GPU-x".into(),
            card: 2,
            render: 129,
            mig: Vec::new(),
        };
        let text = information(&gpu, "570.1");
        assert!(text.contains("GPU UUID: \t GPU-x\n"), "{text}");
        assert!(text.contains("Bus Location: \t 0000:17:00.0\nDevice Minor: \t 1\n"), "{text}");
    }
}
