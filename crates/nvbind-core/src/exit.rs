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

impl Exit {
    /// All of them.
    const ALL: [Exit; 5] = [Exit::Request, Exit::Driver, Exit::Permission, Exit::Rootfs, Exit::Bug];

    /// The one with this number.
    #[must_use]
    pub fn find(code: u8) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| *exit as u8 == code)
    }

    /// What it means for a container, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Request => "the request, the configuration or the runtime's input is wrong",
            Exit::Driver => "the driver or a GPU is missing, or the image requires another driver",
            Exit::Permission => "permissions, the kernel or the configuration do not allow it",
            Exit::Rootfs => "the container's root filesystem is refused",
            Exit::Bug => "a bug in nvbind",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
