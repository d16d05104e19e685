//! One run of one lane, seen from the host: what it is given, its results as they come, and its end.

use crate::cgroup::{View, hierarchies};
use crate::machine;
use crate::spec::{CONSOLE, DONE, Init, LOG, PROGRAM, REPORT, Security, Spec, Suite};
use crate::tree::{self, Recipe};
use nvbind_fixtures::error::{Doing, Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Nothing in a lane takes this long, in seconds.
const LIMIT: u64 = 3600;

/// How many of the last lines are told where a lane did not run to its end.
const TOLD: usize = 30;

/// A lane: a tree, and how it is run.
#[derive(Debug, Clone, Copy)]
pub struct Lane {
    /// The name, as in `cargo xtask test NAME` and in front of its cases' names.
    pub name: &'static str,
    /// The tree it runs in.
    pub recipe: &'static Recipe,
    /// The cgroup file systems it sees.
    pub view: View,
    /// What is process 1.
    pub init: Init,
    /// What the kernel of a virtual machine is booted with, if it is one.
    pub machine: Option<Security>,
    /// What is tested.
    pub suite: Suite,
    /// The tree of applications that cases run in containers, if there are such cases.
    pub apps: Option<&'static Recipe>,
}

impl Lane {
    /// Runs these cells, or whatever this program does as `inside` there. Before that, `fill` puts files into the
    /// payload and folders of the host into the lane; `each` is called with every line that is written to the results.
    pub fn run(
        self,
        project: &Path,
        cells: Vec<String>,
        fill: &dyn Fn(&mut Spec) -> Result<()>,
        each: &mut dyn FnMut(&str),
    ) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::failed(format!(
                "{} makes namespaces and mounts of its own: run it as root",
                self.name
            )));
        }
        let lanes = project.join("target/lanes");
        let trees = lanes.join("trees");
        let machine = self.machine.map(|security| machine::ready(security, &trees)).transpose()?;
        let tree = tree::ready(self.recipe, &trees)?;
        let folder = Folder::make(&lanes.join("run"), self.name)?;
        let own = fs::read_to_string("/proc/self/cgroup").doing(|| "read /proc/self/cgroup".into())?;
        // A machine has cgroups of its own.
        let hierarchies = if machine.is_none() { hierarchies(self.view, &own) } else { Vec::new() };
        let mut spec = Spec {
            lane: self.name.to_owned(),
            tree,
            run: folder.0.clone(),
            view: self.view,
            hierarchies,
            init: self.init,
            machine,
            suite: self.suite,
            limit: LIMIT,
            binds: Vec::new(),
            cells,
        };
        let own = Path::new("/proc/self/exe");
        fs::copy(own, spec.payload().join("bin").join(PROGRAM)).on("copy", own)?;
        fill(&mut spec)?;
        let file = spec.payload().join("spec.json");
        spec.write(&file)?;
        watch(&spec, &file, each)
    }
}

/// Starts the supervisor and passes results on until it ends.
fn watch(spec: &Spec, file: &Path, each: &mut dyn FnMut(&str)) -> Result<()> {
    let log_path = spec.results().join(LOG);
    let log = OpenOptions::new().append(true).create_new(true).open(&log_path).on("create", &log_path)?;
    let errors = log.try_clone().on("share", &log_path)?;
    let mut command = Command::new("/proc/self/exe");
    // Out of the terminal's group: an interrupt ends xtask alone, and the supervisor then cleans up in its own time.
    command.process_group(0);
    command.arg("lane-supervise").arg(file).stdin(Stdio::piped()).stdout(log).stderr(errors);
    let mut child = command.spawn().doing(|| "start the lane".into())?;
    // Held open until the end: closing it stops the lane.
    let alive = child.stdin.take();
    let ended = follow(&mut child, spec, each);
    drop(alive);
    let status = child.wait().doing(|| "wait for the lane".into())?;
    ended?;
    // Nothing but the end of the cases writes there; but an emulator makes the file.
    if fs::read_to_string(spec.results().join(DONE)).is_ok_and(|text| !text.is_empty()) {
        return Ok(());
    }
    let mut message = format!("{} did not run to its end ({status}):", spec.lane);
    for path in [log_path, spec.results().join(CONSOLE)] {
        // Only a virtual machine has a console.
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last: Vec<&str> = text.lines().rev().take(TOLD).collect();
        message.extend(last.into_iter().rev().map(|line| format!("\n{}", line.trim_end())));
    }
    Err(Error::failed(message))
}

fn follow(child: &mut Child, spec: &Spec, each: &mut dyn FnMut(&str)) -> Result<()> {
    let path = spec.results().join(REPORT);
    let mut results =
        BufReader::new(File::create_new(&path).and_then(|_| File::open(&path)).on("open", &path)?);
    let mut line = String::new();
    loop {
        let ended = child.try_wait().doing(|| "wait for the lane".into())?.is_some();
        while results.read_line(&mut line).on("read", &path)? > 0 {
            // Half a line: its rest is still being written.
            if !line.ends_with('\n') && !ended {
                break;
            }
            each(line.trim_end());
            line.clear();
        }
        if ended {
            return Ok(());
        }
        sleep(Duration::from_millis(50));
    }
}

/// A run's own folder, removed at its end; those of runs that were killed are removed by the next one.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn make(runs: &Path, lane: &str) -> Result<Self> {
        fs::create_dir_all(runs).on("create", runs)?;
        for entry in fs::read_dir(runs).on("list", runs)? {
            let old = entry.on("list", runs)?.path();
            let process = old.extension().map(|id| Path::new("/proc").join(id));
            if process.is_some_and(|process| !process.exists()) {
                fs::remove_dir_all(&old).on("remove", &old)?;
            }
        }
        let folder = runs.join(format!("{lane}.{}", std::process::id()));
        for part in ["payload/bin", "results"] {
            fs::create_dir_all(folder.join(part)).on("create", &folder.join(part))?;
        }
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left shows at the next run, which tries again and reports.
        drop(fs::remove_dir_all(&self.0));
    }
}
