//! A lane made ready for its cases: nvbind installed as a person would, the image in both users' storage.

use crate::machine;
use crate::podman::{IMAGE, Podman, Runtime, User, said};
use nvbind_fixtures::error::{Error, Result};
use nvbind_lanes::spec::{PAYLOAD, Spec, Suite};
use nvbind_lanes::tree::write;
use std::path::Path;
use std::process::Command;

/// The simulated driver's place in a lane.
pub const DRIVER: &str = "/opt/driver";

/// What cases need to know of their lane.
#[derive(Debug)]
pub struct Lane {
    pub spec: Spec,
}

impl Lane {
    /// Installs nvbind, unless that is what the cases do, and the image; a machine boots with both.
    pub fn make_ready(spec: Spec) -> Result<Self> {
        match spec.suite {
            Suite::Machine(_) => {
                machine::await_boot()?;
                return Ok(Self { spec });
            }
            // No container runs there.
            Suite::Formats => return Ok(Self { spec }),
            Suite::Containers | Suite::Installation => {}
        }
        use_driver(DRIVER)?;
        if spec.suite == Suite::Containers {
            said(Command::new(format!("{PAYLOAD}/bin/nvbind")).arg("setup"))?
                .must()
                .map_err(|ended| Error::failed(format!("{ended:?}")))?;
        }
        for user in [User::Root, User::Rootless] {
            let podman = Podman::new(user, Runtime::Crun);
            let archive = format!("{PAYLOAD}/image.tar");
            podman.must(&["import", &archive, IMAGE]).map_err(|ended| Error::failed(format!("{ended:?}")))?;
        }
        Ok(Self { spec })
    }
}

/// Makes a folder the driver root of every container that starts from now on.
pub fn use_driver(root: &str) -> Result<()> {
    configure(root, "")
}

/// The same, with more tables in the configuration.
pub fn configure(root: &str, more: &str) -> Result<()> {
    let keys = ["root", "dev_root", "proc_root", "sys_root"];
    let lines: Vec<String> = keys.iter().map(|key| format!("{key} = \"{root}\"\n")).collect();
    let config = format!("[driver]\n{}{more}", lines.concat());
    write(Path::new("/etc/nvbind/config.toml"), &config)
}
