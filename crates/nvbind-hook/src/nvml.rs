//! MIG devices that only NVML can look up: the one thing for which the hook starts a program, and only `nvbind`.

use crate::arguments::{Arguments, StageName};
use nvbind_core::host::Host;
use nvbind_core::inventory::Inventory;
use nvbind_core::nvml::{self, Error, Question};
use nvbind_core::request::Request;
use nvbind_core::trust;
use std::fs;
use std::path::{Path, PathBuf};

/// Adds to the inventory what NVML knows, if the request can't be met without.
pub(crate) fn identify(
    request: &Request,
    inventory: &mut Inventory,
    host: &Host,
    arguments: &Arguments,
) -> Result<(), Error> {
    let Some(name) = nvml::needed_for(request, inventory) else { return Ok(()) };
    let why = match arguments {
        Arguments { driver_root: Some(_), .. } => Some(nvml::OTHER_ROOT),
        // Here the container's namespaces are joined already, and what is where in them is its own matter.
        Arguments { stage: StageName::CreateContainer, .. } => Some("at stage createContainer"),
        Arguments { stage: StageName::Prestart, driver_root: None, .. } => None,
    };
    if let Some(why) = why {
        return Err(Error::NotAsked { name: name.to_string(), why });
    }
    let listing = nvml::ask(&program()?, &nvml::library(host, inventory)?, Question::Devices)?;
    for error in &listing.errors {
        log::warn!("NVML leaves out {error}");
    }
    inventory.identify(&listing);
    Ok(())
}

/// The `nvbind` that was installed with this hook, if nobody but root could have put it there.
fn program() -> Result<PathBuf, trust::Error> {
    let exe = Path::new("/proc/self/exe");
    let hook = fs::read_link(exe)
        .map_err(|source| trust::Error::Stat { path: exe.display().to_string(), source })?;
    let [installed, beside] = places(&hook);
    trust::file(if beside.exists() { &beside } else { &installed })
}

/// Where it is: `bin/nvbind` of a prefix that has this hook in `libexec/nvbind`, or beside it, in a build.
fn places(hook: &Path) -> [PathBuf; 2] {
    let above = |levels| hook.ancestors().nth(levels).unwrap_or_else(|| Path::new("/"));
    [above(3).join("bin/nvbind"), above(1).join("nvbind")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvbind_is_looked_for_where_setup_installs_it_and_beside() {
        for (hook, installed, beside) in [
            (
                "/usr/local/libexec/nvbind/nvbind-hook",
                "/usr/local/bin/nvbind",
                "/usr/local/libexec/nvbind/nvbind",
            ),
            (
                "/home/u/.local/libexec/nvbind/nvbind-hook",
                "/home/u/.local/bin/nvbind",
                "/home/u/.local/libexec/nvbind/nvbind",
            ),
            ("/nvbind-hook", "/bin/nvbind", "/nvbind"),
        ] {
            assert_eq!(places(Path::new(hook)), [installed, beside].map(PathBuf::from));
        }
    }
}
