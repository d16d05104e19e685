//! The Container Device Interface: nvbind's own specifications, and those that a machine has.

mod judge;
mod registry;
mod specification;

pub(crate) use judge::{Verdict, judge};
pub(crate) use registry::{File, Registry, Serves};
pub(crate) use specification::{Kind, Specification};

/// Where engines look for specifications, the later before the earlier (CDI's SPEC.md, "CDI JSON Specification"). The
/// second is emptied at boot.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
