//! The command line of the fixtures: `driver-sim`, `image`, `real-driver`.
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::driver_sim::{DriverSim, Gpu, Layout, Mig, WslSim};
use crate::image::Image;
use crate::{process, real_driver};

/// Any error with its causes.
type Failure = Box<dyn std::error::Error>;

/// How `driver-sim` is called.
pub const DRIVER_SIM: &str =
    "driver-sim DIR [--layout NAME] [--version VERSION] [--gpus COUNT] [--mig GPU] | DIR --wsl | --list";

/// `cargo xtask driver-sim`: makes a simulated driver root, or lists what can be simulated.
pub fn driver_sim(arguments: &[&str]) -> Result<(), Failure> {
    match Simulated::parse(arguments)? {
        Simulated::List => print!("{}", simulations()),
        Simulated::Wsl(root) => WslSim.ensure(&root)?,
        Simulated::Driver(sim, root) => sim.ensure(&root)?,
    }
    Ok(())
}

/// What the command line asks for.
#[derive(Debug)]
enum Simulated {
    List,
    /// Windows' Subsystem for Linux.
    Wsl(PathBuf),
    Driver(DriverSim, PathBuf),
}

impl Simulated {
    fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let mut sim = DriverSim::default();
        let (mut root, mut divided, mut is_wsl, mut has_options) = (None, None, false, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument}: its value is missing"));
            has_options |= argument.starts_with("--") && *argument != "--wsl";
            match *argument {
                "--list" => return Ok(Self::List),
                "--wsl" => is_wsl = true,
                "--layout" => {
                    let name = value()?;
                    sim.layout =
                        Layout::parse(name).ok_or_else(|| format!("{name}: no such layout; see --list"))?;
                }
                "--version" => sim.version = (*value()?).into(),
                "--gpus" => sim.gpus = Gpu::several(count(value()?)?),
                "--mig" => divided = Some(value()?.parse::<usize>()?),
                option if option.starts_with("--") => {
                    return Err(format!("unknown option {option}: {DRIVER_SIM}").into());
                }
                path => root = Some(PathBuf::from(path)),
            }
        }
        let root = root.ok_or_else(|| format!("name the directory to make: {DRIVER_SIM}"))?;
        if is_wsl && has_options {
            return Err("--wsl has a driver of its own: no other option goes with it".into());
        }
        if let Some(index) = divided {
            let gpu =
                sim.gpus.get_mut(index).ok_or_else(|| format!("--mig {index}: there is no such GPU"))?;
            gpu.mig = Mig::three();
        }
        Ok(if is_wsl { Self::Wsl(root) } else { Self::Driver(sim, root) })
    }
}

fn count(value: &str) -> Result<u64, Failure> {
    let count: u64 = value.parse()?;
    let is_possible = (1..=Gpu::MOST).contains(&count);
    if is_possible { Ok(count) } else { Err(format!("--gpus: there can be 1 to {}", Gpu::MOST).into()) }
}

/// What `--list` prints.
fn simulations() -> String {
    let default = DriverSim::default();
    let layouts: String = Layout::ALL
        .iter()
        .map(|(name, layout)| {
            format!("  {name}{}\n", if *layout == default.layout { " (without --layout)" } else { "" })
        })
        .collect();
    format!(
        "layouts:\n{layouts}version: any; {} without --version\ngpus: 1 to {}; {} without --gpus\n\
         mig: one GPU by its index is divided into {} devices\nwsl: Windows' Subsystem for Linux\n",
        default.version,
        Gpu::MOST,
        default.gpus.len(),
        Mig::three().len()
    )
}

/// `cargo xtask image ARCHIVE [--from ROOT]`: packs a container image for `podman import`, from this machine's programs
/// or a tree's.
pub fn image(arguments: &[&str]) -> Result<(), Failure> {
    let (archive, from) = match arguments {
        [archive] => (archive, "/"),
        [archive, "--from", root] | ["--from", root, archive] => (archive, *root),
        _ => {
            return Err("image: name the archive to write, and --from ROOT for another tree".into());
        }
    };
    let archive = Path::new(archive);
    let root = archive.with_extension("rootfs");
    let probe = probe()?;
    Image { from: Path::new(from), probe: &probe }.ensure(&root)?;
    Image::pack(&root, archive)?;
    Ok(())
}

/// `cargo xtask real-driver DIR [--suite SUITE]`: unpacks NVIDIA's real driver from Debian's packages into
/// `DIR/real-SUITE`, for every suite or the one named, and returns its shared objects, a line each with its soname.
pub fn real_driver(arguments: &[&str]) -> Result<String, Failure> {
    let (dir, suites) = match arguments {
        [dir] => (dir, real_driver::SUITES),
        [dir, "--suite", suite] => (dir, std::slice::from_ref(suite)),
        _ => return Err("real-driver: name the directory, and --suite SUITE for one alone".into()),
    };
    let mut text = String::new();
    for suite in suites {
        let root = real_driver::ensure(suite, Path::new(dir))?;
        text.push_str(&format!("{}\n", root.display()));
        for (path, soname) in real_driver::shared_objects(&root)? {
            let soname = soname.unwrap_or_else(|| "no soname".into());
            text.push_str(&format!("{}\t{soname}\n", path.display()));
        }
    }
    Ok(text)
}

/// Builds the probe, which `cargo xtask` alone does not, and says where it is.
pub fn probe() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe()?;
    // A benchmark lies one folder deeper than a program.
    let folder = here.parent().ok_or("this program lies in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let mut build = Command::new(env!("CARGO"));
    // With the features of the whole workspace, as its tests are built: nothing is built again for it then.
    build.args(["build", "--quiet", "--workspace", "--bin", "nvbind-probe"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    process::run(&mut build)?;
    Ok(folder.join("nvbind-probe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulated(words: &[&str]) -> DriverSim {
        match Simulated::parse(words).unwrap() {
            Simulated::Driver(sim, root) => {
                assert_eq!(root, Path::new("DIR"));
                sim
            }
            other @ (Simulated::List | Simulated::Wsl(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_that_can_be_simulated_can_be_asked_for() {
        let words = ["DIR", "--layout", "nix", "--version", "580.1", "--gpus", "3", "--mig", "1"];
        let sim = simulated(&words);
        assert_eq!((sim.layout, sim.version.as_str(), sim.gpus.len()), (Layout::Nix, "580.1", 3));
        let divided: Vec<usize> = sim.gpus.iter().map(|gpu| gpu.mig.len()).collect();
        assert_eq!(divided, [0, 3, 0]);
        assert!(matches!(Simulated::parse(&["DIR", "--wsl"]).unwrap(), Simulated::Wsl(_)));
        let list = simulations();
        assert!(list.starts_with("layouts:\n  debian (without --layout)\n  multiarch\n"), "{list}");
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        for (words, expected) in [
            (&["DIR", "--gpus", "0"][..], "there can be 1 to 16"),
            (&["DIR", "--mig", "2"], "--mig 2: there is no such GPU"),
            (&["DIR", "--layout", "gentoo"], "no such layout; see --list"),
            (&["DIR", "--wsl", "--gpus", "1"], "no other option goes with it"),
            (&["--gpus", "1"], "name the directory"),
            (&["DIR", "--gpu", "1"], "unknown option --gpu"),
        ] {
            let error = Simulated::parse(words).unwrap_err().to_string();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn no_number_of_a_gpu_is_another_s_and_none_is_its_index() {
        let gpus = Gpu::several(Gpu::MOST);
        let numbers: std::collections::BTreeSet<(u64, u64, u64)> =
            gpus.iter().map(|gpu| (gpu.minor, gpu.card, gpu.render)).collect();
        assert_eq!(numbers.len(), gpus.len());
        assert!(gpus.is_sorted_by_key(|gpu| gpu.pci.clone()));
        assert_ne!(gpus.first().map(|gpu| gpu.minor), Some(0));
    }
}
