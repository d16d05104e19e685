//! A simulated NVIDIA driver in a directory: everything that nvbind reads of a host, with no NVIDIA code in it.
//!
//! Libraries have the real names, sonames and links but do nothing; `/proc`, `/sys` and `/dev` have the real formats,
//! but no kernel module is behind the nodes, so that opening one gives ENXIO where access is allowed. Everything in it
//! that people can read says that it is simulated.
pub mod arguments;
mod catalog;
mod compat;
mod data;
mod kernel;
mod layout;
mod nvml;
mod objects;
mod wsl;

use crate::tree::{Tree, TreeError};
pub use compat::ForwardCompat;
pub use layout::{Layout, TRIPLET, TRIPLET_32};
use layout::{Placed, Width};
pub use objects::ObjectError;
use std::path::Path;
pub use wsl::WslSim;

/// Why a simulated driver could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A file of it.
    #[error("cannot make the simulated driver")]
    Tree(#[from] TreeError),
    /// A library of it.
    #[error("cannot make the simulated driver's libraries")]
    Object(#[from] ObjectError),
}

/// One simulated GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// PCI address, as in `/proc/driver/nvidia/gpus`; indexes follow its order.
    pub pci: String,
    /// The N of `/dev/nvidiaN`.
    pub minor: u64,
    /// UUID with `GPU-`.
    pub uuid: String,
    /// The N of `/dev/dri/cardN`.
    pub card: u64,
    /// The N of `/dev/dri/renderDN`.
    pub render: u64,
    /// The MIG devices that it is divided into.
    pub mig: Vec<Mig>,
}

/// One simulated MIG device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mig {
    /// The number of its GPU instance, and that of the node that gives access.
    pub gpu_instance: (u64, u64),
    /// The number of its compute instance within that, and that of the node that gives access.
    pub compute_instance: (u64, u64),
}

/// What a driver has only on some machines, and what GPUs are used together with, by nvbind's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Channels to the memory of other machines' GPUs.
    Imex,
    Nvswitch,
    Gds,
    /// Copies by gdrdrv.
    Gdrcopy,
    Infiniband,
}

impl Extra {
    /// Every extra with its name on a command line.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("imex", Self::Imex),
        ("nvswitch", Self::Nvswitch),
        ("gds", Self::Gds),
        ("gdrcopy", Self::Gdrcopy),
        ("infiniband", Self::Infiniband),
    ];
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct DriverSim {
    pub version: String,
    /// Where the files are.
    pub layout: Layout,
    pub gpus: Vec<Gpu>,
    /// What else the machine has.
    pub extras: Vec<Extra>,
    /// The source of a libnvidia-ml that answers, instead of one that finds no driver.
    pub nvml: Option<String>,
}

/// As many GPUs as [`DriverSim::gpus`] makes with numbers that are not in use otherwise.
const MOST_GPUS: u64 = 16;

impl Default for DriverSim {
    fn default() -> Self {
        Self {
            version: "570.172.08".into(),
            layout: Layout::DebianAlternatives,
            gpus: Self::gpus(2),
            extras: Extra::ALL.iter().map(|(_, extra)| *extra).collect(),
            nvml: None,
        }
    }
}

impl DriverSim {
    /// GPUs whose index, minor and DRM numbers all disagree, as after a hot swap or with another card in between.
    /// The DRM numbers are high, so that no GPU of the machine that this runs on answers there.
    pub fn gpus(count: u64) -> Vec<Gpu> {
        let last = count.saturating_sub(1);
        let gpu = |index: u64| {
            let bus = 0x17 + 0x9c * index / last.max(1);
            Gpu {
                pci: format!("0000:{bus:02x}:00.0"),
                minor: last - index,
                uuid: format!("GPU-51a7ed{index:02x}-5170-4000-8000-{bus:012x}"),
                card: 51 + 2 * index,
                render: 181 + 2 * (last - index),
                mig: Vec::new(),
            }
        };
        (0..count).map(gpu).collect()
    }

    /// Makes the driver root at `root`, unless the same is already there.
    pub fn ensure(&self, root: &Path) -> Result<(), SimError> {
        let description = format!("{self:?} format 5");
        if Tree::is_made(root, &description) {
            return Ok(());
        }
        let tree = Tree::create(root)?;
        self.user_space(&tree)?;
        self.kernel_side(&tree)?;
        tree.finish(&description)?;
        Ok(())
    }

    /// `/proc`, `/sys` and `/dev` alone, for a driver root with libraries of its own.
    pub fn kernel_side(&self, tree: &Tree) -> Result<(), TreeError> {
        kernel::build(self, tree)
    }

    fn user_space(&self, tree: &Tree) -> Result<(), SimError> {
        let layout = self.layout;
        for (path, target) in layout.system_links() {
            tree.link(&path, target)?;
        }
        self.libraries(tree)?;
        for width in Width::ALL {
            for (name, target) in catalog::EXTRA_LINKS {
                let (path, target) = layout.extra_link(*width, name, target);
                tree.link(path, target)?;
            }
        }
        for data in data::files(layout, &self.version) {
            tree.file(data.path, data.content, 0o644)?;
            links(tree, data.links)?;
        }
        for name in catalog::FIRMWARE {
            let path = format!("{}/nvidia/{}/{name}", layout.firmware(), self.version);
            tree.file(path, "simulated firmware\n", 0o644)?;
        }
        if let Some((name, directories)) = layout.linker_directories() {
            tree.file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n", 0o644)?;
            tree.file(format!("etc/ld.so.conf.d/{name}"), directories, 0o644)?;
            tree.linker_cache()?;
        }
        Ok(())
    }

    fn libraries(&self, tree: &Tree) -> Result<(), SimError> {
        let scratch = tree.at(".objects");
        for width in Width::ALL {
            let (nvml, is_native) = match width {
                Width::W64 => (self.nvml.as_deref(), true),
                Width::W32 => (None, false),
            };
            let compiler = objects::Compiler::new(&scratch, *width, nvml)?;
            for library in catalog::LIBRARIES.iter().filter(|library| is_native || library.both) {
                let soname = library.soname(&self.version);
                let Placed { file, links: names } = self.layout.place(library, *width, &self.version);
                shared_object(&compiler, tree, library.stem, &soname, &file)?;
                links(tree, names)?;
            }
            if is_native {
                self.programs(&compiler, tree)?;
            }
        }
        tree.remove(".objects")?;
        Ok(())
    }

    /// Modules of the X server, and programs: no driver has 32-bit ones.
    fn programs(&self, compiler: &objects::Compiler, tree: &Tree) -> Result<(), SimError> {
        for module in catalog::MODULES {
            let Placed { file, links: names } = self.layout.place_module(module, &self.version);
            shared_object(compiler, tree, module.stem, &format!("{}.so", module.stem), &file)?;
            links(tree, names)?;
        }
        for name in catalog::PROGRAMS {
            let Placed { file, links: names } = self.layout.place_program(name);
            program(compiler, tree, &file)?;
            links(tree, names)?;
        }
        Ok(())
    }
}

fn shared_object(
    compiler: &objects::Compiler,
    tree: &Tree,
    stem: &str,
    soname: &str,
    file: &str,
) -> Result<(), SimError> {
    // An empty file first: it makes the directories.
    tree.file(file, "", 0o644)?;
    compiler.library(stem, soname, &tree.at(file))?;
    tree.file_mode(file, 0o644)?;
    Ok(())
}

fn program(compiler: &objects::Compiler, tree: &Tree, file: &str) -> Result<(), SimError> {
    tree.file(file, "", 0o755)?;
    compiler.program(&tree.at(file))?;
    Ok(())
}

fn links(tree: &Tree, links: Vec<(String, String)>) -> Result<(), TreeError> {
    links.into_iter().try_for_each(|(path, target)| tree.link(path, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_gpus_share_a_number() {
        let gpus = DriverSim::gpus(MOST_GPUS);
        let count = |of: fn(&Gpu) -> String| gpus.iter().map(of).collect::<BTreeSet<_>>().len();
        let numbers: [fn(&Gpu) -> String; 5] = [
            |gpu| gpu.pci.clone(),
            |gpu| gpu.minor.to_string(),
            |gpu| gpu.uuid.clone(),
            |gpu| gpu.card.to_string(),
            |gpu| gpu.render.to_string(),
        ];
        assert_eq!(numbers.map(count), [gpus.len(); 5]);
        assert!(gpus.is_sorted_by_key(|gpu| gpu.pci.clone()));
        assert!(DriverSim::gpus(0).is_empty());
    }
}
