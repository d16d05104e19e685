//! What tells a container of GPUs beside device nodes: the kernel module's directory in procfs, and what EGL enumerates.

use super::{Place, Plan, Proc, Text, WellKnown, When};
use crate::capability::Capabilities;
use crate::catalogue::PLUGINS as GRAPHICS;
use crate::inventory::Inventory;
use std::collections::BTreeMap;

/// An application profile of the directory that NVIDIA's libraries read before their own file.
const PROFILE: &str = "share/nvidia/nvidia-application-profiles-rc.d/10-nvbind.conf";

/// Where they look for it.
pub(super) const PROFILE_PLACE: &str = "/etc/nvidia/nvidia-application-profiles-rc.d/10-nvbind.conf";

pub(super) fn add(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    let general = inventory.proc.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
    // By path: compute instances share the file of their GPU instance.
    let access = plan.gpus.iter().flat_map(|gpu| &gpu.mig).flat_map(|mig| &mig.access);
    let access: BTreeMap<String, String> =
        access.map(|access| (access.file.clone(), access.text.clone())).collect();
    plan.proc = Some(Proc {
        texts: general.chain(access).collect(),
        directories: plan.gpus.iter().map(|gpu| gpu.proc.clone()).collect(),
    });
    let is_some = !plan.gpus.is_empty() && plan.gpus.len() < inventory.gpus.len();
    if is_some && wanted.intersects(GRAPHICS) {
        let text = profile(plan.gpus.iter().map(|gpu| gpu.minor));
        let capabilities = wanted.intersection(GRAPHICS);
        plan.texts.push(Text { inside: PROFILE.to_owned(), text, from: None, capabilities });
        let places = vec![Place { path: PROFILE_PLACE.to_owned(), when: When::Always }];
        plan.well_known.push(WellKnown { target: PROFILE.to_owned(), places });
    }
}

/// A profile for every program: EGL, and Vulkan by it, ignore devices whose minor number has no bit in the mask
/// (`EGLVisibleDGPUDevices` in the driver's README, "Application Profiles").
fn profile(minors: impl Iterator<Item = u32>) -> String {
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
            let text = profile(minors.into_iter());
            assert!(text.contains(&format!(r#"["EGLVisibleDGPUDevices",{mask}]"#)), "{text}");
        }
    }
}
