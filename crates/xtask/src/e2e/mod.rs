//! The end-to-end cases, inside a lane: real podman, crun and runc, judged from within the container and from outside.

mod annotation;
mod boot;
mod bpf;
mod cell;
mod cgroups;
mod compat;
mod compose;
mod config;
mod container;
mod devices;
mod doctor;
mod drivers;
mod ended;
mod filters;
mod generate;
mod gpu;
mod groups;
mod guide;
pub(crate) mod images;
mod kube;
pub(crate) mod lane;
mod layouts;
mod life;
pub(crate) mod machine;
mod matrix;
mod mig;
mod nodes;
pub(crate) mod packages;
pub(crate) mod payload;
pub(crate) mod podman;
mod probe;
mod profiles;
mod quadlet;
mod real;
mod refusals;
mod rootfs;
mod services;
mod setup;
mod shim;
mod snapshot;
mod stages;
mod stand_in;
mod template;
mod traces;
mod update;
mod visible_devices;
mod volumes;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use nix::fcntl::OFlag;

use crate::error::{Doing, Error, Result};
use crate::lanes::spec::{DONE, REPORT, RESULTS, Spec, Suite};
use crate::report::{Case, Outcome};
use ended::Ended;
use lane::Lane;
use podman::Podman;

/// A case that is the same for every user and runtime.
type Function = fn(&Lane, Podman) -> std::result::Result<(), Ended>;

/// All of them, by what they are about.
const CASES: &[&[(&str, Function)]] = &[
    life::CASES,
    volumes::CASES,
    rootfs::CASES,
    cgroups::CASES,
    devices::CASES,
    filters::CASES,
    refusals::CASES,
    drivers::CASES,
    groups::CASES,
    layouts::CASES,
    real::CASES,
    stages::CASES,
    shim::CASES,
    setup::CASES,
    compose::CASES,
    config::CASES,
    doctor::CASES,
    profiles::gaming::CASES,
    profiles::computing::CASES,
    profiles::own::CASES,
    profiles::command_lines::CASES,
    quadlet::CASES,
    generate::CASES,
    kube::CASES,
    services::CASES,
    template::CASES,
    annotation::CASES,
    visible_devices::CASES,
    compat::CASES,
    images::loaders::CASES,
    images::baked::CASES,
    images::places::CASES,
    images::applications::CASES,
    images::layers::CASES,
    gpu::CASES,
    mig::CASES,
    update::CASES,
    boot::CASES,
    nodes::CASES,
    guide::CASES,
];

/// Runs the cases of the lane that the file describes, writing each result as it comes.
pub fn inside(spec_file: &Path) -> Result<()> {
    let spec = Spec::read(spec_file)?;
    let mut results = Results::open(&spec)?;
    match spec.suite {
        Suite::Containers => {
            let lane = Lane::make_ready(spec.clone())?;
            for cell in matrix::cells() {
                results.case(&cell.name(), || cell::judge(&cell))?;
            }
            results.cases(&lane, CASES)?;
        }
        Suite::Machine(security) => {
            let lane = Lane::make_ready(spec.clone())?;
            for (names, cases) in machine::cases(security) {
                for podman in matrix::podmans().filter(|podman| names.contains(&podman.name().as_str())) {
                    results.cases_of(&lane, podman, cases)?;
                }
            }
            // Last: what the boot started has been stopped, and comes to no case's mount table.
            let cells = machine::cells(security);
            for cell in matrix::cells().iter().filter(|cell| cells.contains(&cell.name().as_str())) {
                results.case(&cell.name(), || cell::judge(cell))?;
            }
        }
        Suite::Installation => {
            let lane = Lane::make_ready(spec.clone())?;
            results.cases(&lane, &[packages::deb::CASES, packages::script::CASES])?;
        }
        Suite::Formats => {
            for (name, run) in packages::formats::CASES {
                results.case(name, run)?;
            }
        }
    }
    results.done()
}

/// The file that the host reads while cases run.
#[derive(Debug)]
struct Results<'a> {
    spec: &'a Spec,
    file: File,
}

impl<'a> Results<'a> {
    fn open(spec: &'a Spec) -> Result<Self> {
        Ok(Self { spec, file: result(REPORT)? })
    }

    /// Runs cases with every user and runtime.
    fn cases(&mut self, lane: &Lane, cases: &[&[(&str, Function)]]) -> Result<()> {
        for podman in matrix::podmans() {
            for cases in cases {
                self.cases_of(lane, podman, cases)?;
            }
        }
        Ok(())
    }

    /// Runs cases with one user and runtime.
    fn cases_of(&mut self, lane: &Lane, podman: Podman, cases: &[(&str, Function)]) -> Result<()> {
        for (name, run) in cases {
            self.case(&format!("{}/{name}", podman.name()), || run(lane, podman))?;
        }
        Ok(())
    }

    /// Runs a case, if it is among those wanted, and writes how it ended.
    fn case(&mut self, name: &str, run: impl FnOnce() -> std::result::Result<(), Ended>) -> Result<()> {
        let name = format!("{}/{name}", self.spec.lane);
        let only = &self.spec.only;
        if !only.is_empty() && !only.iter().any(|text| name.contains(text)) {
            return Ok(());
        }
        let start = Instant::now();
        let mut case = match run() {
            Ok(()) => Case::new(name, Outcome::Passed, ""),
            Err(Ended::NoSuchCase) => return Ok(()),
            Err(Ended::Skipped(reason)) => Case::new(name, Outcome::Skipped, reason),
            Err(Ended::Failed { reason, output }) => {
                let mut case = Case::new(name, Outcome::Failed, reason);
                case.output = output;
                case
            }
        };
        case.seconds = start.elapsed().as_secs_f64();
        let line = serde_json::to_string(&case).map_err(|error| Error::failed(error.to_string()))?;
        writeln!(self.file, "{line}").doing(|| "write a result".into())
    }

    /// Tells the host that all cases ran.
    fn done(self) -> Result<()> {
        writeln!(result(DONE)?, "{DONE}").doing(|| "write that all cases ran".into())
    }
}

/// A file of the lane's results, which may be a serial port: it must not become this session's terminal.
fn result(name: &str) -> Result<File> {
    let path = Path::new(RESULTS).join(name);
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(OFlag::O_NOCTTY.bits());
    options.open(&path).on("open", &path)
}
