//! What tells a container of GPUs beside device nodes: the kernel module's directory in procfs, and what EGL enumerates.

use super::{Entry, Proc};
use crate::capability::Capabilities;
use crate::catalogue::{PLUGINS as GRAPHICS, WellKnownPlace, When};
use crate::inventory::{Gpu, Inventory};
use std::collections::BTreeMap;

/// An application profile of the directory that NVIDIA's libraries read before their own file.
pub(super) const PROFILE: &str = "share/nvidia/nvidia-application-profiles-rc.d/10-nvbind.conf";

/// Where they look for it.
pub(super) const PROFILE_PLACES: &[WellKnownPlace] = &[WellKnownPlace {
    path: "/etc/nvidia/nvidia-application-profiles-rc.d/10-nvbind.conf",
    when: When::Always,
}];

/// The kernel module's directory with what it has of the chosen GPUs.
pub(super) fn proc(inventory: &Inventory, gpus: &[Gpu]) -> Proc {
    let general = inventory.proc.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
    // By path: compute instances share the file of their GPU instance.
    let access = gpus.iter().flat_map(|gpu| &gpu.mig).flat_map(|mig| &mig.access);
    let access: BTreeMap<String, String> =
        access.map(|access| (access.file.clone(), access.text.clone())).collect();
    Proc {
        texts: general.chain(access).collect(),
        directories: gpus.iter().map(|gpu| gpu.proc.clone()).collect(),
    }
}

/// The profile by which EGL leaves out the GPUs that were not chosen, where it would enumerate some.
pub(super) fn profile(wanted: Capabilities, inventory: &Inventory, gpus: &[Gpu]) -> Option<Entry> {
    let is_some = !gpus.is_empty() && gpus.len() < inventory.gpus.len();
    (is_some && wanted.intersects(GRAPHICS)).then(|| {
        let text = render_profile(gpus.iter().map(|gpu| gpu.minor));
        Entry::Text { text, from: None, capabilities: wanted.intersection(GRAPHICS) }
    })
}

/// A profile for every program: EGL, and Vulkan by it, ignore devices whose minor number has no bit in the mask
/// (`EGLVisibleDGPUDevices` in the driver's README, "Application Profiles").
fn render_profile(minors: impl Iterator<Item = u32>) -> String {
    let mask = minors.filter_map(|minor| 1_u64.checked_shl(minor)).fold(0, |mask, bit| mask | bit);
    format!(
        r#"{{"profiles":[{{"name":"nvbind","settings":["EGLVisibleDGPUDevices",{mask:#x}]}}],"rules":[{{"pattern":[],"profile":"nvbind"}}]}}"#
    ) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_a_bit_for_each_minor_number() {
        for (minors, mask) in
            [(vec![0], "0x1"), (vec![1, 3], "0xa"), (vec![63], "0x8000000000000000"), (vec![200], "0x0")]
        {
            let text = render_profile(minors.into_iter());
            assert!(text.contains(&format!(r#"["EGLVisibleDGPUDevices",{mask}]"#)), "{text}");
        }
    }
}
