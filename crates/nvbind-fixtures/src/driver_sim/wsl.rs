//! A simulated NVIDIA driver under Windows' Subsystem for Linux, version 2: the libraries that Windows lays into the
//! machine, one device for all GPUs, and nothing of an NVIDIA kernel module.
use std::path::Path;

use super::kernel::{self, MISC};
use super::layout::Width;
use super::{SimError, objects, program, shared_object};
use crate::tree::Tree;

/// Where WSL lays what its own loader configuration names.
const LIB: &str = "usr/lib/wsl/lib";
/// The driver store's directory of the driver; the hash is made up.
const STORE: &str = "usr/lib/wsl/drivers/nv_dispi.inf_amd64_0123456789abcdef";
/// The minor of the kernel's `dxgkrnl`; it is dynamic.
const DXG: u64 = 125;
/// The machine's GPU as the guest sees it: a device of Microsoft's without a DRM node.
const PCI: &str = "5582:00:00.0";

/// The files of [`LIB`] with their sonames. There are no links among them: every name is a file.
const LIBRARIES: &[(&str, &str)] = &[
    ("libcuda.so", "libcuda.so.1"),
    ("libcuda.so.1", "libcuda.so.1"),
    ("libcuda.so.1.1", "libcuda.so.1"),
    ("libdxcore.so", "libdxcore.so"),
    ("libd3d12.so", "libd3d12.so"),
    ("libnvidia-ml.so.1", "libnvidia-ml.so.1"),
    ("libnvcuvid.so.1", "libnvcuvid.so.1"),
    ("libnvidia-encode.so.1", "libnvidia-encode.so.1"),
    ("libnvidia-opticalflow.so.1", "libnvidia-opticalflow.so.1"),
];
/// Those of [`STORE`].
const STORE_LIBRARIES: &[(&str, &str)] = &[
    ("libcuda.so.1.1", "libcuda.so.1"),
    ("libcuda_loader.so", "libcuda_loader.so"),
    ("libnvidia-ptxjitcompiler.so.1", "libnvidia-ptxjitcompiler.so.1"),
    ("libnvidia-ml.so.1", "libnvidia-ml.so.1"),
    ("libnvidia-ml_loader.so", "libnvidia-ml_loader.so"),
    ("libnvdxgdmal.so.1", "libnvdxgdmal.so.1"),
];

/// What to simulate: there is one such machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct WslSim;

impl WslSim {
    /// Makes the driver root at `root`, unless the same is already there.
    pub fn ensure(self, root: &Path) -> Result<(), SimError> {
        let description = format!("{self:?} format 1");
        if Tree::is_made(root, &description) {
            return Ok(());
        }
        let tree = Tree::create(root)?;
        for (path, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            tree.dir(target)?;
            tree.link(path, target)?;
        }
        user_space(&tree)?;
        tree.file("proc/devices", kernel::character_devices(Vec::new()), 0o444)?;
        tree.file("proc/misc", kernel::misc(&[(DXG, "dxg")]), 0o444)?;
        tree.file(format!("sys/bus/pci/devices/{PCI}/vendor"), "0x1414\n", 0o444)?;
        tree.file(format!("sys/bus/pci/devices/{PCI}/class"), "0x030200\n", 0o444)?;
        tree.node("dev/dxg", MISC, DXG)?;
        tree.finish(&description)?;
        Ok(())
    }
}

fn user_space(tree: &Tree) -> Result<(), SimError> {
    let compiler = objects::Compiler::new(&tree.at(".objects"), Width::W64, None)?;
    for (folder, libraries) in [(LIB, LIBRARIES), (STORE, STORE_LIBRARIES)] {
        for (name, soname) in libraries {
            let stem = name.split(".so").next().unwrap_or(name);
            shared_object(&compiler, tree, stem, soname, &format!("{folder}/{name}"))?;
        }
        program(&compiler, tree, &format!("{folder}/nvidia-smi"))?;
    }
    tree.remove(".objects")?;
    tree.file(format!("{STORE}/nvcubins.bin"), "simulated cubins\n", 0o644)?;
    tree.file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n", 0o644)?;
    tree.file("etc/ld.so.conf.d/ld.wsl.conf", format!("/{LIB}\n"), 0o644)?;
    tree.linker_cache()?;
    Ok(())
}
