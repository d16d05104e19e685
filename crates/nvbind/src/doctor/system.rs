//! The rest of the system that can stand in the way.

use super::{Facts, Finding, Fix};
use crate::cdi::{self, Kind, Registry, Verdict};
use nvbind_core::inventory::Error as Driver;

/// The variable of UEFI: four bytes of attributes, then 1 where it is on (efivarfs, and UEFI 2.10, 3.3).
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Where DKMS and akmods keep the key that they sign modules with.
const KEYS: &[&str] = &["/var/lib/dkms/mok.pub", "/etc/pki/akmods/certs/public_key.der"];

fn is_unloaded(facts: &Facts<'_>) -> bool {
    matches!(facts.driver, Some(Err(Driver::NotLoaded { .. })))
}

pub(super) fn nouveau(facts: &Facts<'_>) -> Finding {
    if !facts.machine.has("/sys/module/nouveau") {
        Finding::ok("nouveau is not loaded")
    } else if is_unloaded(facts) {
        Finding::fail(
            "nouveau is loaded instead of NVIDIA's driver; once it is excluded, make the initramfs anew and reboot",
            Fix::script(facts.machine, "echo blacklist nouveau > /etc/modprobe.d/nvbind-nouveau.conf"),
        )
    } else {
        Finding::ok("nouveau is loaded beside the driver")
    }
}

pub(super) fn secure_boot(facts: &Facts<'_>) -> Finding {
    if !is_unloaded(facts) {
        return Finding::skipped("asked where no driver is loaded");
    }
    let machine = facts.machine;
    let is_on = std::fs::read(machine.path(SECURE_BOOT)).is_ok_and(|bytes| bytes.get(4) == Some(&1));
    if !is_on {
        return Finding::ok("it is off");
    }
    let key = KEYS.iter().find(|key| machine.has(key)).or_else(|| KEYS.first()).copied().unwrap_or_default();
    Finding::warn(
        "it is on: the kernel loads only modules that are signed with a known key",
        Fix::as_root(machine, ["mokutil", "--import", key]),
    )
}

pub(super) fn cdi(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let registry = Registry::read(&machine.root);
    if !Kind::ALL.into_iter().any(|kind| registry.of(kind).next().is_some()) && registry.unusable.is_empty() {
        return Finding::ok(
            "there are none; `nvbind setup --cdi` makes engines take `--device nvidia.com/gpu=0`",
        );
    }
    let findings = cdi::judge(&registry, &machine.root);
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Fine);
    let worst: Vec<_> = findings.iter().filter(|finding| finding.verdict == verdict).collect();
    let detail = worst.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ");
    let remedy = worst.iter().find(|finding| !finding.remedy.is_empty());
    let fix = remedy.map(|finding| {
        // By the name under which this program is found.
        let words = finding.remedy.iter().map(|word| if word == "nvbind" { &machine.nvbind } else { word });
        Fix::as_root(machine, words.cloned())
    });
    match verdict {
        Verdict::Fine => Finding::ok(detail),
        Verdict::Warning => Finding::warn(detail, fix),
        Verdict::Broken => Finding::fail(detail, fix),
    }
}
