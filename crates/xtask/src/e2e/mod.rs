//! The end-to-end cases, inside a lane: real podman, crun and runc, judged from within the container and from outside.

pub(crate) mod payload;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::error::{Doing, Result};
use crate::lanes::spec::{RESULTS, Spec};
use crate::report::{Case, Outcome};

/// Runs all cases of the lane that the file describes, writing each result as it comes.
pub fn inside(spec_file: &Path) -> Result<()> {
    let spec = Spec::read(spec_file)?;
    let path = Path::new(RESULTS).join("cases");
    let mut results = OpenOptions::new()
        .append(true)
        .open(&path)
        .on("open", &path)?;
    let mut case = Case::new(format!("{}/x", spec.lane), Outcome::Passed, "");
    let out = std::process::Command::new("/bin/sh")
        .arg("/opt/nvbind/try.sh")
        .output()
        .unwrap();
    case.output = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    case.outcome = Outcome::Failed;
    writeln!(results, "{}", serde_json::to_string(&case).unwrap()).on("write", &path)?;
    fs::write(Path::new(RESULTS).join("done"), "").on("write", &path)
}
