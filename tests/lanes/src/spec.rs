//! What one lane's run is made of, told by `cargo xtask test` to the processes that make it.

use crate::cgroup::{Hierarchy, View};
use nvbind_fixtures::error::{Doing, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a run's files appear inside the tree.
pub const PAYLOAD: &str = "/opt/nvbind";
/// The name of the program that runs the cases, in the payload's `bin`.
pub(crate) const PROGRAM: &str = "run-cases";

/// Where its results are written inside the tree.
pub const RESULTS: &str = "/opt/results";

/// The file there that has a line for each case that ended.
pub const REPORT: &str = "cases";
/// What programs printed.
pub(crate) const LOG: &str = "log";
/// Not empty as soon as all cases ran.
pub const DONE: &str = "done";
/// What a virtual machine wrote to its console, on the host.
pub(crate) const CONSOLE: &str = "console";

/// What becomes process 1 of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// xtask itself, which runs the cases and reaps orphans.
    Plain,
    /// The tree's systemd, which starts the cases as a service.
    Systemd,
}

/// What confines programs on a machine, beside namespaces and cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// AppArmor, as Debian has it by default.
    AppArmor,
    /// SELinux with Debian's policy, enforcing from the first process on.
    SeLinux,
}

/// A lane that is a virtual machine, with a kernel of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What its kernel is booted with.
    pub security: Security,
    /// The tree with the program that runs it.
    pub emulator: PathBuf,
}

/// What a lane's cases are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// What containers get, with nvbind installed by `nvbind setup`.
    Containers,
    /// What only a kernel of the lane's own shows, with a few of the former.
    Machine(Security),
    /// Packages and the installation script, where nothing is installed.
    Installation,
    /// Packages in the hands of the tools of their formats.
    Formats,
}

/// One run of one lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The lane's name, the first part of its cases' names.
    pub lane: String,
    /// The Debian tree, read only.
    pub tree: PathBuf,
    /// The run's own folder on the host.
    pub run: PathBuf,
    /// The cgroup file systems it sees.
    pub view: View,
    /// The machine's hierarchies, those of that view among them.
    pub hierarchies: Vec<Hierarchy>,
    /// What is process 1.
    pub init: Init,
    /// The virtual machine that it is, if it is one.
    pub machine: Option<Machine>,
    /// What is tested.
    pub suite: Suite,
    /// Folders of the host that are seen in the tree, read only, and their places there.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// When it is stopped, in seconds.
    pub limit: u64,
    /// The names of the cells that run.
    pub cells: Vec<String>,
}

impl Spec {
    /// Reads it from the file that [`Spec::write`] made.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).on("read", path)?;
        serde_json::from_str(&text).map_err(|error| Error::failed(format!("{}: {error}", path.display())))
    }

    /// Writes it for the processes of the lane.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| Error::failed(error.to_string()))?;
        fs::write(path, text).on("write", path)
    }

    /// The folder whose content appears at [`PAYLOAD`].
    pub fn payload(&self) -> PathBuf {
        self.run.join("payload")
    }

    /// The folder that appears at [`RESULTS`].
    pub fn results(&self) -> PathBuf {
        self.run.join("results")
    }
}
