//! The programs.

use crate::capability::Capabilities;
use crate::capability::Capability::{self, Compute, Display, Utility};

/// A program of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// File name.
    pub name: &'static str,
    /// Who needs it.
    pub capabilities: Capabilities,
    /// Whether people and scripts expect it in `/usr/bin`, whatever PATH says.
    pub in_usr_bin: bool,
}

const fn program(name: &'static str, capability: Capability, in_usr_bin: bool) -> Program {
    Program { name, capabilities: Capabilities::of(&[capability]), in_usr_bin }
}

/// The programs that a container can use.
pub const PROGRAMS: &[Program] = &[
    program("nvidia-smi", Utility, true),
    program("nvidia-debugdump", Utility, false),
    program("nvidia-persistenced", Utility, false),
    program("nv-fabricmanager", Utility, false),
    program("nvidia-imex", Utility, false),
    program("nvidia-imex-ctl", Utility, false),
    program("nvidia-cuda-mps-control", Compute, false),
    program("nvidia-cuda-mps-server", Compute, false),
    program("nvidia-xconfig", Display, false),
];

/// Where hosts keep the driver's programs. Debian's driver directory stands last: where alternatives are set up,
/// `/usr/bin` leads there.
pub const PROGRAM_DIRECTORIES: &[&str] = &[
    "/usr/bin",
    "/usr/local/bin",
    "/run/current-system/sw/bin",
    "/usr/lib/nvidia/current",
    "/usr/local/nvidia/bin",
];
