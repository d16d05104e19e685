//! A small program, compiled on the host: for an image without any loader, and for one whose only loader is musl's.

use nvbind_fixtures::error::{Doing, Result};
use nvbind_fixtures::process::read;
use nvbind_fixtures::tools::{self, Tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("small.c");

/// The names in the payload's `bin`: linked statically, linked with musl, and musl's loader itself.
pub(crate) const STATIC: &str = "small-static";
pub(crate) const MUSL: &str = "small-musl";
pub(crate) const LOADER: &str = "ld-musl";

/// Where musl's loader has to be, on the host as in an image.
pub(crate) fn loader() -> PathBuf {
    PathBuf::from(format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH))
}

/// Compiles both into a folder, and puts the loader beside them.
pub fn compile(bin: &Path) -> Result<()> {
    tools::install(&[Tool::Cc, Tool::MuslGcc])?;
    let source = bin.join("small.c");
    fs::write(&source, SOURCE).on("write", &source)?;
    for (compiler, options, name) in
        [("cc", &["-static"][..], STATIC), ("musl-gcc", &["-DLOADS", "-fPIE", "-pie"], MUSL)]
    {
        read(
            Command::new(compiler)
                .args(["-O1", "-s"])
                .args(options)
                .arg("-o")
                .args([&bin.join(name), &source]),
        )?;
    }
    let loader = loader();
    fs::copy(&loader, bin.join(LOADER)).on("copy", &loader).map(drop)
}
