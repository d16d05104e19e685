//! `cargo bench podman_performance [-- --rounds N]`: what nvbind adds to a container's start. See `xtask::performance`.
#![allow(clippy::print_stderr, reason = "a program for the terminal of the person who measures")]

use nvbind_fixtures::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use xtask::performance::{self, Settings};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("podman_performance: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let (verb, rest) = words.split_first().ok_or_else(|| Error::failed("start it with `cargo bench`"))?;
    let paths: Vec<PathBuf> = rest.iter().map(PathBuf::from).collect();
    match (verb.as_str(), &*paths) {
        // A lane's own processes are this program again.
        ("lane-supervise", [spec]) => nvbind_lanes::supervise(spec),
        ("lane-enter", [spec, cgroups @ ..]) => nvbind_lanes::enter(spec, cgroups, |_, _| Ok(())),
        ("inside", [spec]) => performance::inside(spec),
        _ => performance::run(project(), Settings::parse(words)?),
    }
}

/// The workspace's root.
fn project() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}
