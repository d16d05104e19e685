//! What only a machine with a kernel of its own shows, and which of the other cases run there too: a container's start takes a
//! second or two under the emulator.

use std::path::Path;

use super::Function;
use crate::error::Result;
use crate::lanes::spec::Security;

/// The cells of the matrix.
pub(super) const CELLS: &[&str] = &[
    "crun/rootful/default/plain",
    "crun/rootless/default/plain",
    "runc/rootful/default/plain",
    "runc/rootless/default/plain",
];

/// The cases.
pub(super) const CASES: &[&[(&str, Function)]] = &[];

/// Makes the machine's disk ready for its boot.
pub(crate) fn before_boot(_root: &Path, _security: Security) -> Result<()> {
    Ok(())
}
