//! The command line of `cargo xtask driver-sim`.

use super::nvml::{self, MOST};
use super::{DriverSim, Extra, ForwardCompat, Layout, MOST_GPUS, SimError, WslSim};
use lexopt::{Arg, Error, Parser, ValueExt};
use std::path::{Path, PathBuf};

pub const HELP: &str = "\
cargo xtask driver-sim DIR [OPTION…]   make a simulated driver root in DIR, for `nvbind plan --driver-root DIR` and others

  --layout NAME      how a distribution has the files [debian]
  --version VERSION  the driver's version [570.172.08]
  --gpus COUNT       how many GPUs there are, 0 to 16 [2]
  --mig GPU=COUNT    the GPU of this index is divided into 1 to 7 MIG devices; may be given again for others
  --extras LIST      what else the machine has, by commas: all, none, or names [all]
  --compat VERSION   instead, what an image has of CUDA's forward compatibility with this version, for the driver of --version
  --list             print the names that can be chosen
";

/// What is asked for.
#[derive(Debug)]
pub enum Asked {
    Help,
    /// What can be chosen.
    List,
    /// A driver root.
    Driver(PathBuf, DriverSim),
    /// That of a machine under WSL.
    Wsl(PathBuf),
    /// A `usr` for an image.
    Compat {
        root: PathBuf,
        /// The version of the image's libcuda.
        version: String,
        /// The branch of the driver that it is to work on.
        branch: String,
    },
}

/// The layout of which there is only one machine.
const WSL: &str = "wsl";

impl Asked {
    /// Reads the arguments after `driver-sim`.
    pub fn parse(arguments: &[&str]) -> Result<Self, Error> {
        let mut parser = Parser::from_args(arguments);
        let mut sim = DriverSim::default();
        let (mut root, mut compat, mut is_wsl) = (None, None, false);
        let mut divided = Vec::new();
        // What a machine under WSL has no choice of, and what an image has not.
        let mut of_driver = Vec::new();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(Self::Help),
                Arg::Long("list") => return Ok(Self::List),
                Arg::Long("layout") => match parser.value()?.string()?.as_str() {
                    WSL => is_wsl = true,
                    name => sim.layout = find(Layout::ALL, "layout", name)?,
                },
                Arg::Long("version") => sim.version = parser.value()?.parse_with(version)?,
                Arg::Long("gpus") => {
                    sim.gpus =
                        DriverSim::gpus(parser.value()?.parse_with(|text| number(text, 0, MOST_GPUS))?);
                    of_driver.push("--gpus");
                }
                Arg::Long("mig") => {
                    divided.push(parser.value()?.parse_with(division)?);
                    of_driver.push("--mig");
                }
                Arg::Long("extras") => {
                    sim.extras = extras(&parser.value()?.string()?)?;
                    of_driver.push("--extras");
                }
                Arg::Long("compat") => compat = Some(parser.value()?.parse_with(version)?),
                Arg::Value(path) if root.is_none() => root = Some(PathBuf::from(path)),
                other @ (Arg::Short(_) | Arg::Long(_) | Arg::Value(_)) => return Err(other.unexpected()),
            }
        }
        let root = root.ok_or("name the directory to make, or --list")?;
        match (is_wsl, compat, of_driver.first()) {
            (false, None, _) => {
                divide(&mut sim, &divided)?;
                Ok(Self::Driver(root, sim))
            }
            (true, None, None) if sim.version == DriverSim::default().version => Ok(Self::Wsl(root)),
            (false, Some(version), None) => {
                let branch = sim.version.split('.').next().unwrap_or_default().to_owned();
                Ok(Self::Compat { root, version, branch })
            }
            (true, Some(_), _) => Err("--compat and --layout wsl exclude each other".into()),
            (true, None, option) => {
                let option = option.copied().unwrap_or("--version");
                Err(format!("{option} has no effect with --layout wsl: there is one such machine").into())
            }
            (false, Some(_), Some(option)) => {
                Err(format!("{option} has no effect with --compat: an image has no devices").into())
            }
        }
    }

    /// Makes what is asked for, and returns what there is to print.
    pub fn make(self) -> Result<String, SimError> {
        match self {
            Self::Help => return Ok(HELP.to_owned()),
            Self::List => return Ok(list()),
            Self::Driver(root, sim) => sim.ensure(&root)?,
            Self::Wsl(root) => WslSim.ensure(&root)?,
            Self::Compat { root, version, branch } => compat(&root, &version, &branch)?,
        }
        Ok(String::new())
    }
}

fn compat(root: &Path, version: &str, branch: &str) -> Result<(), SimError> {
    // The two parts of CUDA's version do not matter to nvbind; those of 580 are these.
    let note = format!(r#"{{"format":1,"CUDA version":"13.0","driver":[{branch}],"device":[1,2,7]}}"#);
    ForwardCompat { version, note: &note }.ensure(root)
}

/// Divides GPUs, and gives the driver a libnvidia-ml that knows the MIG devices.
fn divide(sim: &mut DriverSim, divided: &[(usize, u64)]) -> Result<(), Error> {
    let count = sim.gpus.len();
    for (index, migs) in divided {
        let gpu = sim
            .gpus
            .get_mut(*index)
            .ok_or_else(|| format!("--mig {index}: there are {count} GPUs, from 0"))?;
        gpu.divide(*migs);
    }
    if !divided.is_empty() {
        sim.nvml = Some(nvml::source(&sim.gpus));
    }
    Ok(())
}

fn list() -> String {
    let row = |name: &str, text: &str| format!("  {name:13} {text}\n");
    let layouts: String = Layout::ALL.iter().map(|(name, layout)| row(name, layout.describe())).collect();
    let wsl = row(WSL, "Windows' Subsystem for Linux: one device for all GPUs, without a choice of more");
    let extras: Vec<&str> = Extra::ALL.iter().map(|(name, _)| *name).collect();
    format!(
        "layouts:\n{layouts}{wsl}extras:\n  {}\nversions: any, for example\n{}{}",
        extras.join(", "),
        row("570.172.08", "the driver's nodes have a name each in /proc/devices, as since 550.40"),
        row("535.261.03", "they have one, nvidia-frontend"),
    )
}

fn find<T: Copy>(all: &[(&str, T)], what: &str, name: &str) -> Result<T, Error> {
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        format!("no {what} {name:?}: expected one of {}", known.join(", ")).into()
    })
}

fn extras(list: &str) -> Result<Vec<Extra>, Error> {
    match list {
        "all" => Ok(Extra::ALL.iter().map(|(_, extra)| *extra).collect()),
        "none" => Ok(Vec::new()),
        names => names.split(',').map(|name| find(Extra::ALL, "extra", name)).collect(),
    }
}

/// Two or three numbers. It becomes a part of file names.
fn version(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if (2..=3).contains(&parts.len()) && parts.iter().all(is_number) {
        return Ok(text.to_owned());
    }
    Err("expected a version such as 570.172.08".to_owned())
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}

fn division(text: &str) -> Result<(usize, u64), String> {
    let (gpu, count) = text.split_once('=').ok_or("expected GPU=COUNT, such as 0=2")?;
    let gpu = gpu.parse().map_err(|_not_a_number| "expected the GPU's index before =".to_owned())?;
    Ok((gpu, number(count, 1, MOST)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(line: &str) -> DriverSim {
        let words: Vec<&str> = line.split(' ').collect();
        let asked = Asked::parse(&words).unwrap();
        let Asked::Driver(root, sim) = asked else { panic!("{line}: {asked:?}") };
        assert_eq!(root, Path::new("DIR"));
        sim
    }

    #[test]
    fn everything_can_be_chosen() {
        let sim = driver("--layout lib64 DIR --version 535.261.03 --gpus=3 --mig 1=2 --extras imex,gds");
        assert_eq!((sim.layout, sim.version.as_str()), (Layout::Lib64, "535.261.03"));
        assert_eq!(sim.extras, [Extra::Imex, Extra::Gds]);
        let migs: Vec<usize> = sim.gpus.iter().map(|gpu| gpu.mig.len()).collect();
        assert_eq!(migs, [0, 2, 0]);
        assert!(sim.nvml.unwrap().contains("MIG-51a7ed01-5170-4000-8000-000000000001"));
        assert_eq!(driver("DIR --extras none").extras, []);
        assert_eq!(format!("{:?}", driver("DIR")), format!("{:?}", DriverSim::default()));
    }

    #[test]
    fn an_image_and_wsl_are_machines_of_their_own() {
        let asked = Asked::parse(&["DIR", "--compat", "580.65.06", "--version=550.1"]).unwrap();
        assert!(matches!(
            asked,
            Asked::Compat { version, branch, .. } if version == "580.65.06" && branch == "550"
        ));
        assert!(matches!(Asked::parse(&["DIR", "--layout", "wsl"]).unwrap(), Asked::Wsl(_)));
    }

    #[test]
    fn the_list_has_every_name() {
        let list = list();
        let names = Layout::ALL.iter().map(|(name, _)| *name).chain(Extra::ALL.iter().map(|(name, _)| *name));
        for name in names.chain([WSL]) {
            assert!(list.contains(name), "{name}: {list}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        for (line, expected) in [
            ("", "name the directory to make, or --list"),
            ("DIR other", "unexpected argument \"other\""),
            ("DIR --gpu 1", "invalid option '--gpu'"),
            ("DIR --layout", "missing argument for option '--layout'"),
            (
                "DIR --layout fhs",
                "no layout \"fhs\": expected one of debian, multiarch, lib64, lib, nix, local-nvidia",
            ),
            ("DIR --gpus 17", "cannot parse argument \"17\": expected a number from 0 to 16"),
            ("DIR --version ../x", "cannot parse argument \"../x\": expected a version such as 570.172.08"),
            ("DIR --mig 0", "cannot parse argument \"0\": expected GPU=COUNT, such as 0=2"),
            ("DIR --mig 0=8", "cannot parse argument \"0=8\": expected a number from 1 to 7"),
            ("DIR --mig 2=1", "--mig 2: there are 2 GPUs, from 0"),
            (
                "DIR --extras mps",
                "no extra \"mps\": expected one of imex, nvswitch, gds, gdrcopy, infiniband",
            ),
            (
                "DIR --layout wsl --gpus 1",
                "--gpus has no effect with --layout wsl: there is one such machine",
            ),
            (
                "DIR --layout wsl --version 1.2",
                "--version has no effect with --layout wsl: there is one such machine",
            ),
            (
                "DIR --compat 580.65.06 --mig 0=1",
                "--mig has no effect with --compat: an image has no devices",
            ),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(Asked::parse(&words).unwrap_err().to_string(), expected, "{line}");
        }
    }
}
