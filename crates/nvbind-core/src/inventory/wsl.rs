//! The driver of a Windows host, in WSL2: no procfs, no PCI devices, one node for all GPUs.

use super::extras::{MISC_MAJOR, misc};
use super::{DeviceNode, Driver, Error, Inventory, Library, Nodes, elf, programs};
use crate::abi::Abi;
use crate::capability::Capabilities;
use crate::catalogue::{
    WSL_LIBRARIES, WSL_LIBRARY_DIRECTORY, WSL_MAIN, WSL_MISC, WSL_NODE, WSL_STORE, WSL_STORE_DIRECTORY,
    is_store_file,
};
use crate::host::{self, Found as _, Host, Tree};
use elf::SharedObject;

/// What only WSL2 has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wsl {
    /// The node for all GPUs.
    pub node: DeviceNode,
    /// Files of NVIDIA's drivers in the driver store.
    pub store: Vec<StoreFile>,
}

/// A file of the driver store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFile {
    /// Where libdxcore opens it.
    pub path: String,
    /// Path inside the driver root, without links.
    pub host: String,
}

/// The node, if this is WSL2 with a driver of NVIDIA's and no driver of Linux is loaded.
pub(super) fn find_node(host: &Host) -> Result<Option<DeviceNode>, host::Error> {
    if host.dev.stat(WSL_NODE).found()?.is_none()
        || host.files.stat(WSL_MAIN).found()?.is_none()
        || host.proc.stat("/proc/driver/nvidia/version").found()?.is_some()
    {
        return Ok(None);
    }
    let node = |minor| DeviceNode { path: WSL_NODE.to_owned(), major: MISC_MAJOR, minor };
    Ok(misc(&host.proc, WSL_MISC)?.map(node))
}

pub(super) fn read(host: &Host, node: DeviceNode, wanted: Capabilities) -> Result<Inventory, Error> {
    Ok(Inventory {
        driver: Driver { version: Driver::WSL2.to_owned(), open_modules: false },
        gpus: Vec::new(),
        denied: Vec::new(),
        wsl: Some(Wsl { node, store: read_store(&host.files)? }),
        control_nodes: Vec::new(),
        libraries: read_libraries(&host.files, wanted)?,
        programs: programs::read(&host.files, wanted, &[WSL_LIBRARY_DIRECTORY])?,
        data: Vec::new(),
        proc: Vec::new(),
        nodes: Nodes::parse(""),
        sockets: Vec::new(),
        extra_nodes: Vec::new(),
        shared: Vec::new(),
    })
}

fn read_libraries(files: &Tree, wanted: Capabilities) -> Result<Vec<Library>, Error> {
    let Some(directory) = files.directory(WSL_LIBRARY_DIRECTORY).found()? else { return Ok(Vec::new()) };
    let mut names = directory.names()?;
    names.sort_unstable();
    let mut libraries = Vec::new();
    for file_name in names {
        let stem = file_name.split_once(".so").map(|(stem, _version)| stem);
        let family = WSL_LIBRARIES.iter().find(|family| stem == Some(family.stem));
        let Some(family) = family.filter(|family| family.capabilities.intersects(wanted)) else { continue };
        let Some((file, host)) = directory.file(&file_name).found()? else { continue };
        match elf::read(&file).map_err(|source| directory.error(&file_name, source))? {
            Some(SharedObject::Library(abi, soname)) if Abi::NATIVE == Some(abi) => {
                libraries.push(Library { family: Some(family), file_name, soname, abi, host });
            }
            Some(SharedObject::Library(..) | SharedObject::Foreign) => {}
            None => return Err(Error::Damaged { path: directory.display(&file_name) }),
        }
    }
    Ok(libraries)
}

/// The store has directories of every driver of Windows, thousands of them: they are told by name first.
fn read_store(files: &Tree) -> Result<Vec<StoreFile>, host::Error> {
    let (start, middle, main) = WSL_STORE_DIRECTORY;
    let mut directories = files.names(WSL_STORE).found()?.unwrap_or_default();
    directories.retain(|name| name.starts_with(start) && name.contains(middle));
    directories.sort_unstable();
    let mut found = Vec::new();
    for directory in directories {
        let path = format!("{WSL_STORE}/{directory}");
        let Some(directory) = files.directory(&path).found()? else { continue };
        let mut names = directory.names()?;
        if !names.iter().any(|name| name == main) {
            continue;
        }
        names.retain(|name| is_store_file(name));
        names.sort_unstable();
        for name in names {
            let file = directory.file(&name).found()?;
            found.extend(file.map(|(_file, host)| StoreFile { path: format!("{path}/{name}"), host }));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn the_driver_of_windows_is_found_by_its_node_and_its_libraries() {
        let inventory = Machine::wsl().inventory().unwrap();
        assert_eq!((inventory.driver.version.as_str(), inventory.gpus.len()), ("WSL2", 0));
        let store = "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_5bf4a1";
        let files = ["libcuda.so.1.1", "libcuda_loader.so", "libnvidia-ml.so.1", "nvcubins.bin"];
        let file = |name: &str| {
            let path = format!("{store}/{name}");
            StoreFile { host: path.clone(), path }
        };
        assert_eq!(
            inventory.wsl.unwrap(),
            Wsl {
                node: DeviceNode { path: "/dev/dxg".to_owned(), major: 10, minor: 125 },
                store: files.map(file).into(),
            }
        );
        let libraries: Vec<_> =
            inventory.libraries.iter().map(|library| library.file_name.as_str()).collect();
        assert_eq!(
            libraries,
            ["libcuda.so", "libcuda.so.1", "libcuda.so.1.1", "libdxcore.so", "libnvidia-ml.so.1"]
        );
        let programs: Vec<_> = inventory.programs.iter().map(|program| program.host.as_str()).collect();
        assert_eq!(programs, ["/usr/lib/wsl/lib/nvidia-smi"]);
    }

    #[test]
    fn without_one_of_its_signs_a_host_is_no_wsl2() {
        for missing in ["dev/dxg", "proc/misc", "usr/lib/wsl/lib/libcuda.so.1"] {
            let machine = Machine::wsl();
            std::fs::remove_file(machine.path(missing)).unwrap();
            let error = machine.inventory().unwrap_err().to_string();
            assert!(error.starts_with("no NVIDIA driver is loaded"), "{missing}: {error}");
        }
        let machine = Machine::new();
        for sign in ["dev/dxg", "usr/lib/wsl/lib/libcuda.so.1"] {
            machine.write(sign, "");
        }
        machine.write("proc/misc", "125 dxg\n");
        assert_eq!(machine.inventory().unwrap().wsl, None);
    }
}
