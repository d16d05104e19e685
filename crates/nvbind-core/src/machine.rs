//! A machine for the tests: a directory with the few files that the inventory reads.

use crate::host::Host;
use crate::inventory::{Error, Inventory};
use crate::settings::Driver;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

pub(crate) const VERSION: &str = "570.172.08";

pub(crate) struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    /// A loaded driver without a GPU or a library.
    pub(crate) fn empty() -> Machine {
        let machine = Machine { directory: tempfile::tempdir().unwrap() };
        let version =
            format!("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}  Release Build\n");
        machine.write("proc/driver/nvidia/version", version);
        machine.write(
            "proc/devices",
            "Character devices:\n195 nvidia\n195 nvidia-modeset\n511 nvidia-uvm\n\nBlock devices:\n",
        );
        fs::create_dir(machine.path("sys")).unwrap();
        machine
    }

    /// A loaded driver with its two main libraries.
    pub(crate) fn new() -> Machine {
        let machine = Machine::empty();
        machine.library("/usr/lib64", &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
        machine.library("/usr/lib64", &format!("libnvidia-ml.so.{VERSION}"), "libnvidia-ml.so.1");
        machine
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(crate) fn library(&self, directory: &str, name: &str, soname: &str) {
        self.write(&format!("{directory}/{name}"), shared_object(soname));
    }

    pub(crate) fn gpu(&self, address: &str, minor: u32, uuid: &str, drm: &[&str]) {
        let information = format!(
            "Model: \t\t NVIDIA Test\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"
        );
        self.write(&format!("proc/driver/nvidia/gpus/{address}/information"), information);
        for name in drm {
            fs::create_dir_all(self.path(&format!("sys/bus/pci/devices/{address}/drm/{name}"))).unwrap();
        }
    }

    pub(crate) fn host(&self) -> Host {
        Host::open(&Driver::below(self.directory.path())).unwrap()
    }

    pub(crate) fn inventory(&self) -> Result<Inventory, Error> {
        Inventory::read(&self.host())
    }
}

/// Two GPUs whose index, minor and DRM numbers all disagree.
pub(crate) fn two_gpus() -> Inventory {
    let machine = Machine::new();
    machine.gpu("0000:01:00.0", 1, "GPU-aaaa0000-0000-0000-0000-000000000001", &["card2", "renderD130"]);
    machine.gpu("0000:41:00.0", 0, "GPU-bbbb0000-0000-0000-0000-000000000002", &["card0", "renderD128"]);
    machine.write("usr/bin/nvidia-smi", "#!/bin/sh\n");
    machine.write("dev/nvidia-modeset", "");
    machine.inventory().unwrap()
}

/// The smallest ELF file that has a soname: header, one PT_LOAD, one PT_DYNAMIC, string table.
pub(crate) fn shared_object(soname: &str) -> Vec<u8> {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    let dynamic = HEADER + 2 * SEGMENT;
    let strings = dynamic + 4 * 16;
    let size = strings + 1 + soname.len() as u64 + 1;
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [3_u16, machine] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for word in [0, HEADER, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for (kind, offset, length) in [(1_u32, 0, size), (2, dynamic, 4 * 16)] {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        for word in [offset, offset, offset, length, length, 8] {
            bytes.extend(word.to_le_bytes());
        }
    }
    for (tag, value) in [(14, 1), (5, strings), (10, size - strings), (0, 0)] {
        bytes.extend(u64::to_le_bytes(tag));
        bytes.extend(u64::to_le_bytes(value));
    }
    bytes.push(0);
    bytes.extend(soname.as_bytes());
    bytes.push(0);
    bytes
}
