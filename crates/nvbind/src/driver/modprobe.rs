//! The driver's own program that loads its modules and makes its device nodes: set-user-id where it is packaged so, so that
//! it works for any user.

use nvbind_core::catalogue::{CONTROL_NODES, MODPROBE, MODPROBE_LOAD};
use nvbind_core::host::Host;
use nvbind_core::plan::Plan;
use std::process::{Command, Stdio};

/// Has the driver's modules loaded.
pub(super) fn load() -> bool {
    run(MODPROBE_LOAD)
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
    use nvbind_core::inventory::Inventory;
    use nvbind_core::plan;
    use nvbind_core::request::Request;
    use nvbind_core::settings::Driver;
    use std::cell::RefCell;
    use std::fs;

    #[test]
    fn what_is_missing_is_made_once_and_told_if_it_is_there_then() {
        let machine = fixture::Machine::new();
        machine.gpu("0000:01:00.0", 3, "GPU-1", &[]);
        for path in ["nvidiactl", "nvidia-modeset"] {
            machine.write(&format!("dev/{path}"), "");
        }
        let host = Host::open(&Driver::below(&machine.path("/"))).unwrap();
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
