//! A lane made ready for its cases: nvbind installed as a person would, the image in both users' storage.

use std::process::Command;

use super::ended::Ended;
use super::machine;
use super::podman::{IMAGE, Podman, Runtime, User, said};
use crate::error::{Error, Result};
use crate::lanes::spec::{PAYLOAD, Spec, Suite};
use crate::lanes::tree::write;
use std::path::Path;

/// The simulated driver's place in a lane.
pub(crate) const DRIVER: &str = "/opt/driver";

/// One lane of each release, with cgroups of both versions and both cgroup managers: for cases of what podman and its tools make of a
/// file, which depends on their versions above all, and which take their time with Podman 4.3.
const ONE_OF_EACH_RELEASE: &[(&str, &[Runtime])] =
    &[("bookworm-v1", &[Runtime::Crun]), ("trixie-systemd", &[Runtime::Crun, Runtime::Runc])];

/// What cases need to know of their lane.
#[derive(Debug)]
pub(crate) struct Lane {
    /// The run.
    pub(crate) spec: Spec,
}

impl Lane {
    /// Installs nvbind, unless that is what the cases do, and the image; a machine boots with both.
    pub(crate) fn make_ready(spec: Spec) -> Result<Self> {
        if matches!(spec.suite, Suite::Machine(_)) {
            machine::await_boot()?;
            return Ok(Self { spec });
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

    /// Ends the case where another lane, or another runtime in this one, stands for the release.
    pub(crate) fn must_stand_for_release(&self, podman: Podman) -> std::result::Result<(), Ended> {
        let stands = |(lane, runtimes): &(&str, &[Runtime])| {
            self.spec.lane == *lane && runtimes.contains(&podman.runtime)
        };
        if ONE_OF_EACH_RELEASE.iter().any(stands) { Ok(()) } else { Err(Ended::NoSuchCase) }
    }
}

/// Makes a folder the driver root of every container that starts from now on.
pub(crate) fn use_driver(root: &str) -> Result<()> {
    configure(root, "")
}

/// The same, with more tables in the configuration.
pub(crate) fn configure(root: &str, more: &str) -> Result<()> {
    let keys = ["root", "dev_root", "proc_root", "sys_root"];
    let lines: Vec<String> = keys.iter().map(|key| format!("{key} = \"{root}\"\n")).collect();
    let config = format!("[driver]\n{}{more}", lines.concat());
    write(Path::new("/etc/nvbind/config.toml"), &config)
}
