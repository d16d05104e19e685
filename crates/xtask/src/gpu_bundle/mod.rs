//! `cargo xtask gpu-bundle`: one archive with all that the checks on a real GPU need, for a machine that may have
//! nothing but a kernel, NVIDIA's driver and a shell.
//!
//! podman and the OCI runtimes are those of the Debian 13 lane, with the libraries and the loader of that release, and
//! lie at a fixed place, so that they run on any distribution. How the checks themselves work is in `tests/gpu/run`.
pub(crate) mod computing;
mod programs;

use crate::release;
use nvbind_e2e::drivers::gpu_checks::PLACE;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::image::Image;
use nvbind_fixtures::process;
use nvbind_fixtures::tools::{self, Tool};
use nvbind_fixtures::tree::{STAMP, Tree};
use nvbind_fixtures::{commands, limits};
use nvbind_lanes::tree as lane;
use programs::Toolbox;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that the archive holds.
const NAME: &str = "nvbind-gpu";

/// The archive's name, unless another is given.
const ARCHIVE: &str = "nvbind-gpu.tar.gz";
/// More cannot be carried to every machine, in bytes.
const LARGEST: u64 = 60 << 20;

/// Files of `tests/gpu`, and their places in the bundle.
const FILES: &[(&str, &str, u32)] = &[
    ("run", "run", 0o755),
    ("add-one.cu", "add-one.cu", 0o644),
    ("containers.conf", "etc/containers.conf", 0o644),
    ("policy.json", "etc/policy.json", 0o644),
];
/// podman's system call filter, as Debian's packages have it.
const SECCOMP: &str = "usr/share/containers/seccomp.json";

/// The file that tells what was built.
const COMMIT: &str = "etc/commit";

/// Programs in C, by the names that the bundle has them under. The first runs with the C library of the machine or of
/// the image, the other is static since podman starts it in place of the hook.
const COMPILED: &[(&str, &str, &[&str])] = &[
    (CUDA_CHECK, "tests/gpu/cuda-check.c", &["-ldl"]),
    ("hook-timer", "benches/hook_timer.c", &["-static"]),
];
/// The program that the image has as well.
const CUDA_CHECK: &str = "cuda-check";

/// `cargo xtask gpu-bundle [FILE]`: makes the archive, and says how it is used.
pub fn pack(project: &Path, words: &[&str]) -> Result<()> {
    let archive = match words {
        [] => project.join("target").join(ARCHIVE),
        [file] => PathBuf::from(file),
        [_, word, ..] => return Err(Error::failed(format!("gpu-bundle: {word}: there is only FILE"))),
    };
    release::build(project)?;
    let bundle = ensure(project)?;
    process::read(
        Command::new("tar")
            .args(["--numeric-owner", "--owner=0", "--group=0", "--sort=name"])
            .arg(format!("--exclude={NAME}/{STAMP}"))
            .arg("-C")
            .arg(bundle.parent().unwrap_or(&bundle))
            .arg("-czf")
            .args([archive.as_path(), Path::new(NAME)]),
    )?;
    let size = fs::metadata(&archive).on("look at", &archive)?.len();
    if size > LARGEST {
        return Err(Error::failed(format!("{} has {size} bytes, more than {LARGEST}", archive.display())));
    }
    println!("{} ({:.1} MiB)", archive.display(), size as f64 / f64::from(1 << 20));
    println!("on a machine with a GPU, as root: tar -xzf {ARCHIVE} -C /opt && {PLACE}/run");
    Ok(())
}

/// Makes the bundle's folder below the build directory, from the release binaries that are there.
pub(crate) fn ensure(project: &Path) -> Result<PathBuf> {
    let system = lane::ready(&lane::TRIXIE, &project.join("target/lanes/trees"))?;
    tools::install(&[Tool::Cc, Tool::Patchelf])?;
    let root = project.join("target/gpu-bundle").join(NAME);
    let tree = Tree::create(&root).map_err(fixture)?;
    for (from, to, mode) in FILES {
        let from = project.join("tests/gpu").join(from);
        let content = fs::read(&from).on("read", &from)?;
        tree.file(to, content, *mode).map_err(fixture)?;
    }
    tree.copy(&system.join(SECCOMP), "etc/seccomp.json").map_err(fixture)?;
    tree.file(COMMIT, commit(project), 0o644).map_err(fixture)?;
    tree.dir("bin").map_err(fixture)?;
    for (name, source, options) in COMPILED {
        compile(&project.join(source), &tree.at(format!("bin/{name}")), options)?;
    }
    let toolbox = Toolbox::new(&tree, &system);
    toolbox.system()?;
    for name in release::PROGRAMS {
        toolbox.own(&release::folder(project).join(name))?;
    }
    toolbox.try_all()?;
    image(&tree, project)?;
    tree.finish("gpu-bundle").map_err(fixture)?;
    Ok(root)
}

/// The commit that the bundle is made of, for the record of a run.
fn commit(project: &Path) -> String {
    let words = ["describe", "--always", "--dirty", "--abbrev=12"];
    // Without git, or outside a repository, the record says so.
    process::read(Command::new("git").arg("-C").arg(project).args(words))
        .unwrap_or_else(|_| "of no known commit\n".to_owned())
}

/// Compiles a program of ours.
fn compile(source: &Path, program: &Path, options: &[&str]) -> Result<()> {
    let mut command = limits::limited(std::time::Duration::from_secs(120), "cc");
    process::read(command.args(["-O2", "-Wall", "-Werror", "-o"]).arg(program).arg(source).args(options))?;
    Ok(())
}

/// The image that the containers run, with the program for CUDA.
fn image(tree: &Tree, project: &Path) -> Result<()> {
    let archive = project.join("target/gpu-bundle/image.tar");
    commands::image(&[&archive.to_string_lossy()]).map_err(Error::Fixture)?;
    Image::append(&archive, &tree.at("bin").join(CUDA_CHECK)).map_err(fixture)?;
    tree.copy(&archive, "image.tar").map_err(fixture)
}

fn fixture(error: impl std::error::Error + 'static) -> Error {
    Error::Fixture(Box::new(error))
}
