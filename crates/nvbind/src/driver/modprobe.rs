//! The driver's own program that makes its device nodes: set-user-id where it is packaged so, so that
//! it works for any user.

use super::{HookOptions, Modules, label};
use nvbind_core::catalogue::{CONTROL_NODES, MODPROBE};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::host::Host;
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use std::path::Path;
use std::process::{Command, Stdio};

/// Why nodes are not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nodes are made for this machine alone.
    #[error("the installed hook takes the driver from another directory, where nvbind makes no device nodes")]
    OtherRoot,
    /// A node is missing, and so is what makes it.
    #[error("{path} is not there, and {MODPROBE}, which makes it, is not installed")]
    NoModprobe { path: String },
    /// A node is missing still.
    #[error("{MODPROBE} did not make {path}")]
    NotMade { path: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::OtherRoot => Exit::Request,
            Error::NoModprobe { .. } => Exit::Driver,
            Error::NotMade { .. } => Exit::Permission,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::OtherRoot => None,
            Error::NoModprobe { .. } => Some("install nvidia-modprobe, of the driver's version".into()),
            Error::NotMade { .. } => Some(
                "run this as root; where `ModifyDeviceFiles` in /proc/driver/nvidia/params is 0, udev has to make it".into(),
            ),
        }
    }
}

/// Has the driver's modules loaded, all its nodes made that are missing, and labelled where SELinux is; returns the paths of
/// those that were made.
pub(crate) fn make_nodes(hook: &HookOptions) -> Result<Vec<String>, super::Error> {
    let machine = hook.open_for_all(Modules::Load)?;
    let host = machine.host();
    if !host.is_machine() {
        return Err(Error::OtherRoot.into());
    }
    // A plan has no optional node that is missing.
    let mut made = make_optional(host);
    let plan = machine.plan(Request::parse("all", None, None)?)?;
    made.extend(make_missing(&plan, host, run));
    match missing(&plan, host).first() {
        Some((path, _)) if !Path::new(MODPROBE).exists() => {
            Err(Error::NoModprobe { path: (*path).to_owned() }.into())
        }
        Some((path, _)) => Err(Error::NotMade { path: (*path).to_owned() }.into()),
        None => {
            if nix::unistd::geteuid().is_root() {
                label::restore(plan.devices.iter().map(|device| device.node.path.as_str()));
            }
            Ok(made)
        }
    }
}

/// The nodes of this machine's GPUs that nobody has made yet.
pub(crate) fn missing_nodes(hook: &HookOptions) -> Result<Vec<String>, super::Error> {
    let machine = hook.open_for_all(Modules::Leave)?;
    if !machine.host().is_machine() {
        return Err(Error::OtherRoot.into());
    }
    let plan = machine.plan(Request::parse("all", None, None)?)?;
    Ok(missing(&plan, machine.host()).into_iter().map(|(path, _)| path.to_owned()).collect())
}

/// Runs it; whether it ran and was content. What it could not do shows afterwards.
pub(super) fn run(arguments: &[impl AsRef<std::ffi::OsStr>]) -> bool {
    let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    log::debug!("runs {MODPROBE} {}", words.join(" "));
    let status = Command::new(MODPROBE).args(arguments).stdin(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Has the nodes made that not every container of their capability needs, and returns those that were.
pub(super) fn make_optional(host: &Host) -> Vec<String> {
    let optional = CONTROL_NODES.iter().filter(|node| !node.required && is_missing(node.path, host));
    let made = optional.filter(|node| run(node.modprobe) && !is_missing(node.path, host));
    made.map(|node| node.path.to_owned()).collect()
}

fn is_missing(path: &str, host: &Host) -> bool {
    host.dev.stat(path).is_err_and(|error| error.is_not_found())
}

/// The nodes of the plan that the host does not have, and the arguments that make each.
pub(super) fn missing<'a>(plan: &'a Plan, host: &Host) -> Vec<(&'a str, Vec<String>)> {
    plan.modprobe().into_iter().filter(|(path, _)| is_missing(path, host)).collect()
}

/// Has the missing nodes made, with `run` for the program, and returns those that are there now.
pub(super) fn make_missing(plan: &Plan, host: &Host, run: impl Fn(&[String]) -> bool) -> Vec<String> {
    let before = missing(plan, host);
    for (position, (_, arguments)) in before.iter().enumerate() {
        // Both nodes of unified memory are made by the same call.
        if !before.iter().take(position).any(|(_, earlier)| earlier == arguments) {
            run(arguments);
        }
    }
    let after = missing(plan, host);
    let is_made = |path: &str| !after.iter().any(|(missing, _)| *missing == path);
    before.into_iter().map(|(path, _)| path).filter(|path| is_made(path)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use nvbind_core::capability::Capabilities;
    use nvbind_core::extras::Extras;
    use nvbind_core::host::Roots;
    use nvbind_core::inventory::Inventory;
    use nvbind_core::plan;
    use nvbind_core::request::Request;
    use std::cell::RefCell;
    use std::fs;

    #[test]
    fn what_is_missing_is_made_once_and_told_if_it_is_there_then() {
        let machine = fixture::Machine::new();
        machine.gpu("0000:01:00.0", 3, "GPU-1", &[]);
        for path in ["nvidiactl", "nvidia-modeset"] {
            machine.write(&format!("dev/{path}"), "");
        }
        let host = Host::open(&Roots::below(&machine.path("/"))).unwrap();
        let inventory = Inventory::read(&host, Capabilities::ALL, &Extras::default()).unwrap();
        let plan = plan::plan(&Request::parse("all", None, None).unwrap(), &inventory).unwrap();
        let runs = RefCell::new(Vec::new());
        let made = make_missing(&plan, &host, |arguments| {
            runs.borrow_mut().push(arguments.join(" "));
            // It fails to make the GPU's.
            for name in ["nvidia-uvm", "nvidia-uvm-tools"] {
                fs::write(machine.path("dev").join(name), "").unwrap();
            }
            true
        });
        assert_eq!(*runs.borrow(), ["-u -c 0", "-c 3"]);
        assert_eq!(made, ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]);
        let missing: Vec<&str> = missing(&plan, &host).iter().map(|(path, _)| *path).collect();
        assert_eq!(missing, ["/dev/nvidia3"]);
    }
}
