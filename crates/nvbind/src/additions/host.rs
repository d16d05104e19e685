//! What a profile asks of the machine and of the user before it names something.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{AccessFlags, access, geteuid};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A machine, and a user of it.
pub(crate) trait Host {
    /// Whether there is such a file.
    fn exists(&self, path: &Path) -> bool;
    /// Whether there is, and the user may read it.
    fn is_readable(&self, path: &Path) -> bool;
    /// Whether there is, and it is the user's own.
    fn is_own(&self, path: &Path) -> bool;
    /// The names in a directory; none, if there is no such directory.
    fn names(&self, directory: &Path) -> Vec<OsString>;
    /// The hard limit of this name, where it is below `wanted` and the user may not raise it so far.
    fn limit_below(&self, name: &str, wanted: u64) -> Option<u64>;
}

/// This machine and this process' user.
pub(crate) struct This;

impl Host for This {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_readable(&self, path: &Path) -> bool {
        access(path, AccessFlags::R_OK).is_ok()
    }

    fn is_own(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.uid() == geteuid().as_raw())
    }

    fn names(&self, directory: &Path) -> Vec<OsString> {
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    }

    fn limit_below(&self, name: &str, wanted: u64) -> Option<u64> {
        let (_, resource) = LIMITS.iter().find(|(known, _)| *known == name)?;
        let (soft, hard) = getrlimit(*resource).ok().filter(|(_, hard)| *hard < wanted)?;
        // root need not have CAP_SYS_RESOURCE, nor be the machine's root. To lower it again is always allowed.
        let is_raised = setrlimit(*resource, soft, wanted).is_ok();
        (!is_raised || setrlimit(*resource, soft, hard).is_err()).then_some(hard)
    }
}

/// podman's names of limits (go-units, `ulimit.go`).
const LIMITS: &[(&str, Resource)] = &[
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];
