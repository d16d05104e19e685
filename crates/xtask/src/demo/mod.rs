//! `cargo xtask demo`: the main job, from nothing to a container that has the GPU driver.
//!
//! With the machine's driver where there is one; else with a simulated one, and a probe that shows what works in the
//! container. What it makes is in the build directory, but for missing packages of the system, and what podman keeps
//! until the next boot in `/run/nvbind-demo`.
mod packages;
mod podman;

use nvbind_fixtures::commands;
use nvbind_fixtures::driver_sim::{DriverSim, SimError};
use nvbind_fixtures::image::{Image, ImageError};
use nvbind_fixtures::process::{self, ProcessError};
use podman::Podman;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A word on the command line.
    #[error("demo: {word}: unknown; there is --image IMAGE")]
    Usage { word: String },
    /// Programs are missing and no known package manager is there.
    #[error("{programs}: not on this machine, nor apt-get, dnf or pacman to install it with")]
    Missing { programs: String },
    /// Programs are missing, and only root can install them.
    #[error("only root can install what is missing: {command}")]
    NotRoot {
        /// What root would have to run.
        command: String,
    },
    /// Podman runs no container here, whatever the runtime.
    #[error("podman runs no container on this machine:\n  {reasons}")]
    NoRuntime {
        /// What each attempt said.
        reasons: String,
    },
    /// A program failed.
    #[error("the demo needs this to work")]
    Process(#[from] ProcessError),
    /// No simulated driver.
    #[error("cannot simulate a driver")]
    Sim(#[from] SimError),
    #[error("cannot make an image")]
    Image(#[from] ImageError),
    #[error("cannot build the probe: {reason}")]
    Probe { reason: String },
}

/// `cargo xtask demo [--image IMAGE]`; an image of another's is fetched into the demo's own storage.
pub fn run(arguments: &[&str]) -> Result<(), DemoError> {
    let image = match arguments {
        [] => None,
        ["--image", image] => Some(*image),
        [word, ..] => return Err(DemoError::Usage { word: (*word).into() }),
    };
    packages::ensure(&["podman", "cc", "tar"])?;
    let bench = Bench::build()?;
    let podman = Podman::new(bench.dir.join("storage"));
    let done = bench.show(&podman, image);
    podman.release();
    done
}

/// What the demo is made of.
struct Bench {
    dir: PathBuf,
    nvbind: PathBuf,
    probe: PathBuf,
}

impl Bench {
    /// Builds nvbind as it would be released, and the probe.
    fn build() -> Result<Self, DemoError> {
        say("building nvbind (release)");
        process::run(Command::new(env!("CARGO")).args([
            "build",
            "--release",
            "--quiet",
            "-p",
            "nvbind",
            "-p",
            "nvbind-hook",
        ]))?;
        let probe = commands::probe().map_err(|error| DemoError::Probe { reason: error.to_string() })?;
        // TARGET/debug/nvbind-probe
        let target = probe.ancestors().nth(2).unwrap_or_else(|| Path::new("target"));
        Ok(Self { dir: target.join("demo"), nvbind: target.join("release/nvbind"), probe })
    }

    fn show(&self, podman: &Podman, image: Option<&str>) -> Result<(), DemoError> {
        let image = match image {
            Some(image) => image.to_owned(),
            None => self.image(podman)?,
        };
        let way = podman.find_way(&image)?;
        let real = has_driver();
        let prefix = self.dir.join("prefix");
        let mut setup = Command::new(&self.nvbind);
        setup.arg("setup").arg("--prefix").arg(&prefix);
        if real {
            say("this machine has an NVIDIA driver: using it");
        } else {
            let root = self.dir.join("driver");
            say(&format!("no NVIDIA driver on this machine: simulating one in {}", root.display()));
            DriverSim::default().ensure(&root)?;
            setup.arg("--driver-root").arg(root);
        }
        process::read(&mut setup)?;

        let mut run = Command::new(prefix.join("bin/nvbind"));
        run.args(["run", "--gpu", "all"]).args(podman.storage_options()).args(way.options());
        run.arg(format!("--hooks-dir={}", prefix.join("share/containers/oci/hooks.d").display()));
        run.args(["--rm", "--network=none"]);
        run.arg(format!("--volume={}:{PROBE}:ro", self.probe.display()));
        run.arg(&image);
        if real {
            run.arg("nvidia-smi");
        } else {
            run.args([PROBE, "--table"]);
        }
        say(&process::line(&run));
        process::run(&mut run)?;
        Ok(())
    }

    /// The demo's own image, in the demo's own storage.
    fn image(&self, podman: &Podman) -> Result<String, DemoError> {
        let image = Image { from: Path::new("/"), probe: &self.probe };
        let tag = image.tag();
        if !podman.has_image(&tag)? {
            say("making a container image from this machine's own shell, coreutils and loader");
            let root = self.dir.join("image");
            image.ensure(&root)?;
            let archive = self.dir.join("image.tar");
            Image::pack(&root, &archive)?;
            podman.import(&archive, &tag)?;
        }
        Ok(tag)
    }
}

/// Where the probe is in the container: also in images that do not bring it.
const PROBE: &str = "/usr/bin/nvbind-probe";

/// The driver is usable where its kernel module is loaded and its tools are installed.
fn has_driver() -> bool {
    Path::new("/proc/driver/nvidia/version").exists() && packages::is_there("nvidia-smi")
}

fn say(text: &str) {
    println!("demo: {text}");
}
