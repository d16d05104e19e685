//! The lane before a file of the guide, and after it: what its commands made and left is removed.

use crate::ended::Ended;
use crate::guide::typing::Traces;
use crate::podman::{Podman, User, said};
use crate::profiles::desktop::home;
use crate::services::quadlet::systemctl;
use crate::snapshot;
use crate::snapshot::Snapshot;
use nvbind_fixtures::error::Doing;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What podman keeps: how it is listed, and removed.
const KEPT: &[(&[&str], &[&str])] = &[
    (&["pod", "ls", "--quiet"], &["pod", "rm", "--force"]),
    (&["ps", "--all", "--quiet"], &["rm", "--force", "--time=0", "--ignore"]),
    (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
    (&["network", "ls", "--quiet"], &["network", "rm", "--force"]),
    (&["secret", "ls", "--format={{.Name}}"], &["secret", "rm"]),
    (&["images", "--quiet", "--no-trunc"], &["rmi", "--force"]),
];

/// What has to be the same afterwards, beside home directories.
const FOLDERS: &[&str] = &["/etc", "/usr/share/containers"];

/// podman's own storage is in the home directory, too.
const LIST: &str = "find \"$1\" -path '*/.local/share/containers' -prune -o -print";

/// What was there.
#[derive(Debug)]
pub(super) struct Machine {
    podmans: Vec<Podman>,
    kept: Vec<Vec<BTreeSet<String>>>,
    paths: BTreeSet<String>,
    folders: Vec<Snapshot>,
}

impl Machine {
    /// Looks at what these podmans' users have.
    pub(super) fn before(podmans: &[Podman]) -> Result<Self, Ended> {
        let kept = podmans.iter().map(|podman| lists(*podman)).collect::<Result<_, _>>()?;
        let folders = FOLDERS.iter().map(|folder| snapshot::of(folder)).collect::<Result<_, _>>()?;
        Ok(Self { podmans: podmans.to_vec(), kept, paths: paths(podmans)?, folders })
    }

    /// Stops the units, removes all that is new, and fails the case if anything else has changed.
    pub(super) fn restore(&self, traces: &Traces) -> Result<(), Ended> {
        let Traces { files, units } = traces;
        for (unit, is_users) in units {
            // Most have been stopped by the guide's own commands.
            for verb in ["stop", "reset-failed"] {
                systemctl(manager(*is_users), &[verb, unit])?;
            }
        }
        for (podman, before) in self.podmans.iter().zip(&self.kept) {
            remove_new(*podman, before)?;
        }
        // What is below comes first.
        for path in paths(&self.podmans)?.iter().rev().filter(|path| !self.paths.contains(*path)) {
            let path = Path::new(path);
            let is_directory = fs::symlink_metadata(path).on("look at", path)?.is_dir();
            if is_directory { fs::remove_dir(path) } else { fs::remove_file(path) }.on("remove", path)?;
        }
        for file in files.iter().filter(|file| file.exists()) {
            fs::remove_file(file).on("remove", file)?;
        }
        let managers: BTreeSet<bool> = units.iter().map(|(_, is_users)| *is_users).collect();
        for is_users in managers {
            systemctl(manager(is_users), &["daemon-reload"])?.must()?;
        }
        self.folders.iter().try_for_each(Snapshot::claim_unchanged)
    }
}

fn lists(podman: Podman) -> Result<Vec<BTreeSet<String>>, Ended> {
    KEPT.iter().map(|(list, _)| listed(podman, list)).collect()
}

fn listed(podman: Podman, words: &[&str]) -> Result<BTreeSet<String>, Ended> {
    Ok(podman.must(words)?.out.split_whitespace().map(str::to_owned).collect())
}

fn remove_new(podman: Podman, before: &[BTreeSet<String>]) -> Result<(), Ended> {
    for ((list, remove), before) in KEPT.iter().zip(before) {
        let now = listed(podman, list)?;
        let new: Vec<&str> = now.difference(before).map(String::as_str).collect();
        if !new.is_empty() {
            podman.must(&[*remove, &new].concat())?;
        }
    }
    Ok(())
}

/// Every path of `/etc` and of the users' home directories.
fn paths(podmans: &[Podman]) -> Result<BTreeSet<String>, Ended> {
    let mut folders: Vec<PathBuf> = podmans.iter().map(|podman| home(podman.user)).collect();
    folders.extend(FOLDERS.iter().map(PathBuf::from));
    let mut paths = BTreeSet::new();
    for folder in folders {
        let listed = said(Command::new("sh").args(["-c", LIST, "sh"]).arg(folder))?.must()?;
        paths.extend(listed.out.lines().map(str::to_owned));
    }
    Ok(paths)
}

fn manager(is_users: bool) -> User {
    if is_users { User::Rootless } else { User::Root }
}
