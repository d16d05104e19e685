//! Others' CDI specifications in the way of nvbind's: which there are, what that means, and how they are moved away.

use super::layout::Layout;
use super::{Error, say};
use crate::cdi::{Kind, Registry};
use std::fs;
use std::path::{Path, PathBuf};

/// What the name of a file ends in that was moved away: engines read none with it.
const AWAY: &str = ".replaced-by-nvbind";

/// The units of NVIDIA's toolkit that write the specification again (nvidia-container-toolkit's packages, since 1.18).
const REFRESHERS: [&str; 2] = ["nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service"];

/// Where a package or an administrator puts units (systemd.unit(5)).
const UNIT_DIRECTORIES: [&str; 3] = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// Others' specifications of `nvidia.com/gpu`.
#[derive(Debug, Default)]
pub(super) struct Rivals(Vec<PathBuf>);

impl Rivals {
    /// Looks at the machine that the layout is for.
    #[must_use]
    pub(super) fn find(layout: &Layout) -> Rivals {
        let registry = Registry::read(layout.root());
        Rivals(registry.rivals(Kind::Nvidia).into_iter().map(|file| file.path.clone()).collect())
    }

    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What follows from them where they stay, or what is left to do where they are moved away.
    #[must_use]
    pub(super) fn notes(&self, layout: &Layout, replace: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if !replace {
            notes.extend(self.0.iter().map(|path| {
                format!(
                    "{} has devices nvidia.com/gpu already, so that nvbind's are nvbind.io/gpu alone; with --replace it is moved away",
                    path.display()
                )
            }));
        } else if !self.is_empty() {
            let is_there = |unit: &&str| {
                UNIT_DIRECTORIES.iter().any(|directory| layout.root().join(directory).join(unit).exists())
            };
            let units: Vec<&str> = REFRESHERS.into_iter().filter(is_there).collect();
            if !units.is_empty() {
                notes.push(format!(
                    "NVIDIA's toolkit would write its specification again: `systemctl disable --now {}`",
                    units.join(" ")
                ));
            }
        }
        notes
    }

    /// Moves them away, or says that it would.
    pub(super) fn move_away(&self, dry_run: bool) -> Result<(), Error> {
        for path in &self.0 {
            let to = away(path);
            if !dry_run {
                fs::rename(path, &to).map_err(|source| Error::Remove { path: path.clone(), source })?;
            }
            let word = if dry_run { "would move" } else { "moved" };
            say(&format!("{word} {} to {}", path.display(), to.display()));
        }
        Ok(())
    }
}

fn away(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(AWAY);
    PathBuf::from(name)
}

/// Those that were moved away at an earlier time.
#[must_use]
pub(super) fn moved_away(layout: &Layout) -> Vec<String> {
    let directories =
        crate::cdi::DIRECTORIES.map(|directory| layout.root().join(directory.trim_start_matches('/')));
    let entries = directories.iter().flat_map(fs::read_dir).flatten().flatten();
    let mut paths: Vec<String> =
        entries.map(|entry| entry.path().display().to_string()).filter(|path| path.ends_with(AWAY)).collect();
    paths.sort();
    let told = |path: &String| {
        format!(
            "{path} was moved away for nvbind's; it is as old as that: `nvidia-ctk cdi generate` makes a new one"
        )
    };
    paths.iter().map(told).collect()
}
