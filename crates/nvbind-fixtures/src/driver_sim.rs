//! A simulated NVIDIA driver in a directory: everything that nvbind reads of a host, with no NVIDIA code in it.
//!
//! Libraries have the real names, sonames and links but do nothing; `/proc`, `/sys` and `/dev` have the real formats,
//! but no kernel module is behind the nodes, so that opening one gives ENXIO where access is allowed. Everything in it
//! that people can read says that it is simulated.
mod catalog;
mod compat;
mod data;
mod kernel;
mod layout;
mod objects;
mod wsl;

use std::path::Path;

use crate::tree::{Tree, TreeError};
use layout::{Placed, Width};

pub use compat::ForwardCompat;
pub use layout::{Layout, TRIPLET, TRIPLET_32};
pub use objects::ObjectError;
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

/// The PCI buses of the first and of the last GPU.
const BUSES: (u64, u64) = (0x17, 0xb3);

impl Gpu {
    /// The most that [`Gpu::several`] makes.
    pub const MOST: u64 = 16;

    /// GPUs whose index, minor and DRM numbers all disagree, as after a hot swap or with another card in between. The DRM
    /// numbers are high, so that no GPU of the machine that this runs on answers there.
    pub fn several(count: u64) -> Vec<Self> {
        let (first, last) = BUSES;
        let step = (last - first) / count.saturating_sub(1).max(1);
        let gpu = |index: u64| {
            let (bus, minor) = (first + step * index, count - 1 - index);
            Self {
                pci: format!("0000:{bus:02x}:00.0"),
                minor,
                uuid: format!("GPU-51a7ed{index:02}-5170-4000-8000-0000000000{bus:02x}"),
                card: 51 + 2 * index,
                render: 181 + 2 * minor,
                mig: Vec::new(),
            }
        };
        (0..count).map(gpu).collect()
    }
}

impl Mig {
    /// What a GPU is divided into: two compute instances of one GPU instance, and one of another.
    pub fn three() -> Vec<Self> {
        let numbers = [((1, 12), (0, 13)), ((1, 12), (1, 14)), ((9, 84), (0, 85))];
        numbers.map(|(gpu_instance, compute_instance)| Self { gpu_instance, compute_instance }).into()
    }
}

/// One simulated MIG device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mig {
    /// The number of its GPU instance, and that of the node that gives access.
    pub gpu_instance: (u64, u64),
    /// The number of its compute instance within that, and that of the node that gives access.
    pub compute_instance: (u64, u64),
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct DriverSim {
    /// Driver version.
    pub version: String,
    /// Where the files are.
    pub layout: Layout,
    /// The GPUs.
    pub gpus: Vec<Gpu>,
    /// The source of a libnvidia-ml that answers, instead of one that finds no driver.
    pub nvml: Option<&'static str>,
}

impl Default for DriverSim {
    /// Two GPUs.
    fn default() -> Self {
        Self {
            version: "570.172.08".into(),
            layout: Layout::DebianAlternatives,
            gpus: Gpu::several(2),
            nvml: None,
        }
    }
}

impl DriverSim {
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
        let compiler = objects::Compiler::new(&scratch, self.nvml)?;
        for library in catalog::LIBRARIES {
            let soname = library.soname(&self.version);
            let Placed { file, links: names } = self.layout.place(library, Width::W64, &self.version);
            shared_object(&compiler, tree, library.stem, &soname, Width::W64, &file)?;
            links(tree, names)?;
            if library.both && Width::ALL.contains(&Width::W32) {
                let Placed { file, links: names } = self.layout.place(library, Width::W32, &self.version);
                shared_object(&compiler, tree, library.stem, &soname, Width::W32, &file)?;
                links(tree, names)?;
            }
        }
        for module in catalog::MODULES {
            let Placed { file, links: names } = self.layout.place_module(module, &self.version);
            shared_object(&compiler, tree, module.stem, &format!("{}.so", module.stem), Width::W64, &file)?;
            links(tree, names)?;
        }
        for name in catalog::PROGRAMS {
            let Placed { file, links: names } = self.layout.place_program(name);
            program(&compiler, tree, &file)?;
            links(tree, names)?;
        }
        tree.remove(".objects")?;
        Ok(())
    }
}

fn shared_object(
    compiler: &objects::Compiler,
    tree: &Tree,
    stem: &str,
    soname: &str,
    width: Width,
    file: &str,
) -> Result<(), SimError> {
    // An empty file first: it makes the directories.
    tree.file(file, "", 0o644)?;
    compiler.library(stem, soname, width, &tree.at(file))?;
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
