//! Lets device nodes through the device cgroup of a rootful container.
//!
//! The runtime has set the container's filter up from `linux.resources.devices` before it calls the hook. This adds to
//! it, for exactly the nodes given: on cgroup v1 rules in `devices.allow`, on v2 instructions in front of each attached
//! program. Only cgroups that are the container's own by their name are changed; what a cgroup around them forbids
//! stays forbidden, as it does for `--device`. Where the cgroup is a systemd scope, systemd is told too, for it
//! attaches its own filter again.
//!
//! Why it is done in this way, and what was measured: `docs/adr/0001-device-cgroup.md`.

mod bpf;
mod bus;
mod evaluate;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod membership;
mod program;
mod systemd;
mod v1;
mod v2;
mod wire;

use crate::mountinfo;
pub use bus::Error as SystemdError;
use membership::{Membership, Version};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The number of a character device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The major number, which stands for the driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

/// What [`allow`] found and did.
#[must_use]
#[derive(Debug)]
pub enum Outcome {
    /// The container's filter lets the devices through, as long as the container lives.
    Allowed,
    /// As `Allowed`, but systemd could not be told: when it applies the scope's properties the next time (a
    /// `systemctl daemon-reload` or `set-property`), the devices are gone.
    AllowedForNow(SystemdError),
    /// Nothing here keeps devices away (`--privileged`, or crun with a user namespace), so nothing was changed.
    Unfiltered,
    /// The process shares this cgroup with others (`--cgroups=disabled`), so nothing was changed.
    Shared(String),
}

/// What bpf(2) asks of its caller.
const NEEDS: &str =
    "this needs CAP_SYS_ADMIN in the initial user namespace, and a kernel that is not locked down";

/// Why the devices cannot be let through.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cgroup that is not the container's alone forbids what it asks for.
    #[error(
        "the cgroup {path}, which the container is in, keeps the device {device} away: allow it there (DeviceAllow= of a systemd unit), or start the container elsewhere"
    )]
    Around { path: PathBuf, device: DeviceNumber },
    /// A file of procfs or of the cgroup cannot be read.
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    /// The process's cgroup is in no mounted hierarchy that is seen from here.
    #[error("no mounted cgroup file system shows the cgroup of process {0}: mount it at /sys/fs/cgroup")]
    NotMounted(i32),
    /// A cgroup's directory cannot be opened.
    #[error("cannot open the cgroup {path}")]
    Open { path: PathBuf, source: io::Error },
    /// The kernel does not take a rule.
    #[error("cannot allow devices in the cgroup {path}{}", hint(source, "a cgroup around it does not"))]
    Rule { path: PathBuf, source: io::Error },
    /// A bpf(2) call failed.
    #[error("cannot {action} the cgroup {path}{}", hint(source, NEEDS))]
    Bpf { action: &'static str, path: PathBuf, source: io::Error },
    /// The kernel does not show the instructions of the runtime's program.
    #[error(
        "the kernel hides the device program of the cgroup {0}, so it cannot be extended: set net.core.bpf_jit_harden to 0 or 1, \
         or give the nodes to podman with --device"
    )]
    Hidden(PathBuf),
    /// Somebody else kept changing the programs.
    #[error("the device programs of the cgroup {0} do not stop changing")]
    Unsettled(PathBuf),
    /// The new program cannot take the pinned one's place.
    #[error("cannot pin the changed device program at {path}")]
    Pin { path: PathBuf, source: io::Error },
    /// More devices than one program can list.
    #[error("{0} devices are too many for one device program")]
    TooMany(usize),
}

/// Lets `devices` through the filter of container `id`, whose first process is `pid`.
///
/// To be called in the host's namespaces by root of the initial user namespace: elsewhere nothing filters, or nothing
/// may be changed. A second call for the same devices changes nothing.
pub fn allow(pid: i32, id: &str, devices: &[DeviceNumber]) -> Result<Outcome, Error> {
    let membership = membership(pid)?;
    let depth = membership.depth(id);
    let place =
        membership.places.iter().find(|place| place.directory.is_dir()).ok_or(Error::NotMounted(pid))?;
    if membership.version == Version::V2 {
        v2::check_around(place.around(depth), devices)?;
    }
    if depth == 0 {
        if membership.version == Version::V1 {
            v1::check(&place.directory, devices)?;
        }
        return Ok(Outcome::Shared(membership.cgroup));
    }
    let cgroups = place.directory.ancestors().take(depth);
    match membership.version {
        Version::V1 => {
            let failed = |path: &Path| {
                let path = path.to_owned();
                |source| Error::Rule { path, source }
            };
            let mut lists = Vec::new();
            for path in cgroups {
                lists.push((path, v1::rules(path).map_err(failed(path))?));
            }
            let told = tell_systemd(&membership, id, devices);
            // From the outermost inwards: none can allow what the one around it does not.
            for (path, earlier) in lists.into_iter().rev() {
                // systemd has written the scope's list anew, without what the runtime did not tell it of: runc leaves
                // out nodes that have no link in /dev/char.
                v1::restore(path, &earlier).map_err(failed(path))?;
                v1::allow(path, devices).map_err(failed(path))?;
            }
            Ok(told)
        }
        Version::V2 => {
            let filters = v2::filters(cgroups)?;
            if filters.is_empty() {
                return Ok(Outcome::Unfiltered);
            }
            let prologue = program::prologue(devices).ok_or(Error::TooMany(devices.len()))?;
            let told = tell_systemd(&membership, id, devices);
            for filter in filters {
                filter.prepend(&prologue)?;
            }
            Ok(told)
        }
    }
}

fn membership(pid: i32) -> Result<Membership, Error> {
    let failed = |path: &str| {
        let path = Path::new(path).to_owned();
        move |source| Error::Read { path, source }
    };
    let path = format!("/proc/{pid}/cgroup");
    let cgroups = fs::read(&path).map_err(failed(&path))?;
    let cgroups = String::from_utf8_lossy(&cgroups);
    let mounts = mountinfo::read().map_err(failed(mountinfo::PATH))?;
    membership::find(&cgroups, &mounts).ok_or(Error::NotMounted(pid))
}

fn tell_systemd(membership: &Membership, id: &str, devices: &[DeviceNumber]) -> Outcome {
    match membership.scope(id).filter(|_| systemd::runs()).map(|unit| systemd::allow(unit, devices)) {
        None | Some(Ok(())) => Outcome::Allowed,
        Some(Err(error)) => Outcome::AllowedForNow(error),
    }
}

/// What to look at when something was not permitted.
fn hint(source: &io::Error, text: &str) -> String {
    if source.kind() == io::ErrorKind::PermissionDenied { format!(" ({text})") } else { String::new() }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
