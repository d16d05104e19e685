//! The rest of the system that can stand in the way.

use super::subject::text;
use super::{Facts, Finding, Fix};
use nvbind_core::inventory::Error as Driver;

/// The variable of UEFI: four bytes of attributes, then 1 where it is on (efivarfs, and UEFI 2.10, 3.3).
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Where DKMS and akmods keep the key that they sign modules with.
const KEYS: &[&str] = &["/var/lib/dkms/mok.pub", "/etc/pki/akmods/certs/public_key.der"];

/// Where podman reads CDI specifications (cdi_spec_dirs, containers.conf(5)).
const CDI: &[&str] = &["/etc/cdi", "/var/run/cdi"];

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
    let specs: Vec<_> =
        CDI.iter().flat_map(|directory| machine.files(directory, &["json", "yaml"])).collect();
    for spec in &specs {
        let Some(text) = text(spec) else { continue };
        if !text.contains("nvidia.com/") {
            continue;
        }
        if let Some(gone) = text.lines().filter_map(host_path).find(|path| !machine.has(path)) {
            let spec = spec.display();
            return Finding::warn(
                format!(
                    "{spec} names {gone}, which is not there; nvbind needs no CDI, but `--device nvidia.com/gpu` does"
                ),
                Fix::as_root(machine, ["nvidia-ctk", "cdi", "generate", &format!("--output={spec}")]),
            );
        }
    }
    match specs.len() {
        0 => Finding::ok("there are none, and nvbind needs none"),
        count => Finding::ok(format!("{count} read")),
    }
}

/// The value of a `hostPath` of a CDI specification, as generators write it: one in a line, in YAML or in indented JSON.
fn host_path(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches("- ");
    let rest = line.strip_prefix("hostPath:").or_else(|| line.strip_prefix("\"hostPath\":"))?;
    let value = rest.trim().trim_end_matches(',').trim_matches('"');
    value.starts_with('/').then_some(value)
}
