//! The small C programs of the benchmark, compiled with the system's compiler, and the sizes of what is shipped.

use crate::release;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::image::Image;
use nvbind_fixtures::process;
use nvbind_fixtures::tools::{self, Tool};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The container's first process, as its image has it.
pub(crate) const FIRST: &str = "first_instruction";
/// The hook that does nothing.
pub(crate) const NOOP: &str = "noop_hook";
/// The hook that makes the same mounts and nothing else.
pub(crate) const FLOOR: &str = "c_floor";
/// What starts a hook and waits for it.
pub(crate) const TIMER: &str = "hook_timer";

/// The programs that are shipped.
const SHIPPED: &[&str] = &["nvbind-hook", "nvbind"];

/// Compiles all of them into a payload, and puts the first process into its image.
pub(crate) fn build(project: &Path, payload: &Path) -> Result<()> {
    tools::install(&[Tool::Cc])?;
    for name in [FIRST, NOOP, FLOOR, TIMER] {
        let source = project.join(format!("benches/{name}.c"));
        let program = payload.join("bin").join(name);
        process::run(Command::new("cc").args(["-O2", "-static", "-o"]).args([&program, &source]))?;
    }
    Image::append(&payload.join("image.tar"), &payload.join("bin").join(FIRST))
        .map_err(|error| Error::Fixture(error.into()))
}

/// The bytes of each program that is shipped.
pub(crate) fn sizes(project: &Path) -> Result<BTreeMap<String, u64>> {
    let size = |name: &&str| {
        let path = release::folder(project).join(name);
        Ok(((*name).to_owned(), fs::metadata(&path).on("look at", &path)?.len()))
    };
    SHIPPED.iter().map(size).collect()
}
