//! The documented exit codes of `nvbind-hook` and `nvbind`: crun shows nothing else of a hook.

use std::process::ExitCode;

/// Why nothing was injected. The numbers are part of the interface (docs/reference.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The request or the configuration is wrong.
    Request = 2,
    /// The driver, or a GPU that was asked for, is not there, or not the driver that the image requires.
    Driver = 3,
    /// The kernel, the file permissions or the configuration do not allow it.
    Permission = 4,
    /// The container's root filesystem is not one that may be written to.
    Rootfs = 5,
    /// A bug in nvbind.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
