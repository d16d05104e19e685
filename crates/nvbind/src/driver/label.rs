//! SELinux's labels of the driver's nodes. Whoever makes them makes them by `mknod`, with the label of `/dev` itself,
//! which no container may use: the policy has transitions for some of their names, or for none, and udev, which would
//! give the right one, does not know of them.

use nvbind_core::selinux;
use std::path::Path;
use std::process::{Command, Stdio};

/// The type of `/dev`, and of what is made there by who does not say otherwise.
pub(crate) const UNLABELLED: &str = "device_t";

/// What gives a file the label that the policy has for its path.
pub(crate) const RESTORECON: &str = "restorecon";

/// Those of these nodes that have the label of `/dev`.
pub(crate) fn unlabelled<'a>(
    nodes: impl Iterator<Item = &'a str>,
    type_of: impl Fn(&Path) -> Option<String>,
) -> Vec<&'a str> {
    nodes.filter(|node| type_of(Path::new(node)).as_deref() == Some(UNLABELLED)).collect()
}

/// Gives these nodes their labels, where they have the one of `/dev`. What could not be done `nvbind doctor` tells.
pub(super) fn restore<'a>(nodes: impl Iterator<Item = &'a str>) {
    let nodes = unlabelled(nodes, selinux::type_of);
    if nodes.is_empty() {
        return;
    }
    log::debug!("runs {RESTORECON} {}", nodes.join(" "));
    let mut command = Command::new(RESTORECON);
    let command = command.args(&nodes).stdin(Stdio::null()).stdout(Stdio::null());
    if let Err(error) = command.status() {
        log::warn!("cannot run {RESTORECON}, which gives device nodes their SELinux labels: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_label_of_dev_is_labelled_anew() {
        let nodes = ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"];
        let type_of = |path: &Path| {
            let name = match path.file_name()?.to_str()? {
                "nvidia0" => "device_t",
                "nvidia1" => "xserver_misc_device_t",
                "nvidiactl" => "container_file_t",
                _ => return None,
            };
            Some(name.to_owned())
        };
        assert_eq!(unlabelled(nodes.into_iter(), type_of), ["/dev/nvidia0"]);
    }
}
