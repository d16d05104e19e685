//! The case of packages that runs on the host: made twice from the same source, in different folders.

use crate::package::Release;
use crate::release;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::limits::limited;
use nvbind_fixtures::process;
use nvbind_lanes::report::{Case, Outcome};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The case of this file.
pub(super) const SAME_BYTES: &str = "packages/from-source-the-same-bytes";

/// About how long it takes, in seconds.
pub(super) const SECONDS: u32 = 150;

/// Nothing that is built here takes this long.
const LIMIT: Duration = Duration::from_secs(1200);

/// Runs the case.
pub(super) fn case(project: &Path) -> Case {
    let start = Instant::now();
    let mut case = match same_bytes(project) {
        Ok(()) => Case::new(SAME_BYTES, Outcome::Passed, ""),
        Err(error) => Case::new(SAME_BYTES, Outcome::Failed, error.chain()),
    };
    case.seconds = start.elapsed().as_secs_f64();
    case
}

/// The archive of the source, unpacked elsewhere, is built and installed by its `install.sh`; its packages are those
/// that are made here, byte for byte.
fn same_bytes(project: &Path) -> Result<()> {
    let elsewhere = project.join("target/lanes/elsewhere");
    if elsewhere.exists() {
        fs::remove_dir_all(&elsewhere).on("remove", &elsewhere)?;
    }
    let here = Release::of(project, elsewhere.join("here"))?;
    let build = here.arch()?;
    let archive = build.with_file_name(format!("nvbind-{}.tar.gz", here.version()));
    let first = [binary(&here)?, vec![archive.clone(), build]].concat();
    let first = first.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    process::read(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&elsewhere))?;
    let source = elsewhere.join(format!("nvbind-{}", here.version()));
    install(&source, &elsewhere.join("prefix"), project)?;
    let there = Release::of(&source, elsewhere.join("there"))?;
    let build = here.arch()?;
    let second = [binary(&there)?, vec![archive, build]].concat();
    for (path, first) in second.iter().zip(&first) {
        if read(path)? != *first {
            return Err(Error::failed(format!("{} is not what was made the first time", path.display())));
        }
    }
    fs::remove_dir_all(&elsewhere).on("remove", &elsewhere)
}

fn binary(release: &Release) -> Result<Vec<PathBuf>> {
    Ok(vec![release.deb()?, release.rpm()?, release.tarball()?])
}

/// Builds by the script, with the environment of every release build, and compares what it installed with what was
/// built here.
fn install(source: &Path, prefix: &Path, project: &Path) -> Result<()> {
    let mut script = limited(LIMIT, "sh");
    script.arg(source.join("install.sh")).arg("--prefix").arg(prefix);
    script.envs(release::environment(source)).env_remove("CARGO_TARGET_DIR");
    process::read(&mut script)?;
    for (installed, program) in ["bin/nvbind", "libexec/nvbind/nvbind-hook"].iter().zip(release::PROGRAMS) {
        let installed = prefix.join(installed);
        if read(&installed)? != read(&release::folder(project).join(program))? {
            return Err(Error::failed(format!("{} is not the program of this source", installed.display())));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).on("read", path)
}
