//! MIG devices, and a libnvidia-ml that knows them.

use std::fmt::Write;

use super::{Gpu, Mig};

/// The functions; its own GPUs are others.
const MOCK: &str = include_str!("../../../../tests/nvml/mock.c");

/// As many MIG devices as a GPU can be divided into.
pub(super) const MOST: u64 = 7;

/// The number of the first GPU instance of one seventh.
const FIRST: u64 = 7;

impl Gpu {
    /// Divides it into as many MIG devices of one seventh each. The nodes have the numbers of the kernel module
    /// (`nvidia-caps` and `/proc/driver/nvidia-caps/mig-minors`): 135 to a GPU, 9 to a GPU instance.
    pub(super) fn divide(&mut self, count: u64) {
        self.mig = (FIRST..FIRST + count)
            .map(|instance| {
                let minor = 3 + 135 * self.minor + 9 * instance;
                Mig { gpu_instance: (instance, minor), compute_instance: (0, minor + 1) }
            })
            .collect();
    }
}

/// The source of a libnvidia-ml that knows these GPUs.
pub(super) fn source(gpus: &[Gpu]) -> String {
    let (mut rows, mut migs) = (String::new(), String::new());
    for (index, gpu) in gpus.iter().enumerate() {
        let bus = gpu.pci.split(':').nth(1).unwrap_or_default();
        let is_divided = u8::from(!gpu.mig.is_empty());
        let row =
            format!("{{\"{}\", \"NVIDIA Simulated GPU\", 0x{bus}, 0, {is_divided}, 0, 0, 0, 0}}, ", gpu.uuid);
        rows.push_str(&row);
        for (place, mig) in gpu.mig.iter().enumerate() {
            let ((outer, _), (inner, _)) = (mig.gpu_instance, mig.compute_instance);
            // Writing to a string does not fail.
            let _ = write!(
                migs,
                "{{\"MIG-51a7ed{index:02x}-5170-4000-8000-{place:012x}\", \"NVIDIA Simulated GPU MIG 1g.10gb\", \
                 0, 0, 0, {index}, {place}, {outer}, {inner}}}, "
            );
        }
    }
    format!("#define GPUS {rows}\n#define MIGS {migs}\n#define PLACES {MOST}\n{MOCK}")
}
