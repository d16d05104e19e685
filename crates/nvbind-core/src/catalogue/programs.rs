//! The programs.

use super::places::{WellKnownPlace, always};
use crate::capability::Capabilities;
use crate::capability::Capability::{self, Compute, Display, Utility};

/// A program of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file name on hosts and in the view.
    pub name: &'static str,
    /// Who needs it.
    pub capabilities: Capabilities,
    /// Where people and scripts expect it, whatever PATH says.
    pub places: &'static [WellKnownPlace],
}

const fn program(name: &'static str, capability: Capability) -> Program {
    Program { name, capabilities: Capabilities::of(&[capability]), places: &[] }
}

/// The programs that a container can use.
pub const PROGRAMS: &[Program] = &[
    Program { places: &[always("/usr/bin/nvidia-smi")], ..program("nvidia-smi", Utility) },
    program("nvidia-debugdump", Utility),
    program("nvidia-persistenced", Utility),
    program("nv-fabricmanager", Utility),
    program("nvidia-imex", Utility),
    program("nvidia-imex-ctl", Utility),
    program("nvidia-cuda-mps-control", Compute),
    program("nvidia-cuda-mps-server", Compute),
    program("nvidia-xconfig", Display),
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
