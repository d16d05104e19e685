//! The cells of a lane, run there one after another.

use crate::cells::{Cell, Extent, cells};
use crate::ended::Ended;
use crate::lane::Lane;
use nix::fcntl::OFlag;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_lanes::report::{Case, Outcome};
use nvbind_lanes::spec::{DONE, REPORT, RESULTS, Spec};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

/// Runs the cells that the lane's file names, writing each result as it comes.
pub fn inside(spec_file: &Path) -> Result<()> {
    let spec = Spec::read(spec_file)?;
    let mut results = result(REPORT)?;
    let wanted: BTreeSet<&String> = spec.cells.iter().collect();
    let lane = Lane::make_ready(spec.clone())?;
    for cell in cells(Extent::Full).iter().filter(|cell| wanted.contains(&cell.name)) {
        let line =
            serde_json::to_string(&ended(cell, &lane)).map_err(|error| Error::failed(error.to_string()))?;
        writeln!(results, "{line}").doing(|| "write a result".into())?;
    }
    // Tells the host that all cases ran.
    writeln!(result(DONE)?, "{DONE}").doing(|| "write that all cases ran".into())
}

/// Runs a cell.
fn ended(cell: &Cell, lane: &Lane) -> Case {
    let name = cell.name.as_str();
    let start = Instant::now();
    let mut case = match (cell.case.run)(lane, cell.place.podman) {
        Ok(()) => Case::new(name, Outcome::Passed, ""),
        Err(Ended::Skipped(reason)) => Case::new(name, Outcome::Skipped, reason),
        Err(Ended::Failed { reason, output }) => Case { output, ..Case::new(name, Outcome::Failed, reason) },
    };
    case.seconds = start.elapsed().as_secs_f64();
    case
}

/// A file of the lane's results, which may be a serial port: it must not become this session's terminal.
fn result(name: &str) -> Result<File> {
    let path = Path::new(RESULTS).join(name);
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(OFlag::O_NOCTTY.bits());
    options.open(&path).on("open", &path)
}
