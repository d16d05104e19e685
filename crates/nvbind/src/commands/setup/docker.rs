//! What Docker needs for `--device nvidia.com/gpu=…` and `--gpus`, by its version, installed and taken back.

use super::layout::Layout;
use super::staged::Staged;
use super::{Error, say};
use crate::docker::daemon_json::{self, Change, Undo};
use crate::docker::{self, CDI_NAME, Needs};
use crate::version::Version;
use nvbind_core::oci::DOCKERS_NAME;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where the link goes: the administrator's directory of those that dockerd looks into.
const DIRECTORY: &str = "usr/local/bin";

/// The mode of daemon.json.
const MODE: u32 = 0o644;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The link, and where it is to lead.
    link: Option<(PathBuf, PathBuf)>,
    change: Change,
    pub(super) notes: Vec<String>,
}

/// What the Docker of this machine needs for this hook.
pub(super) fn plan(layout: &Layout, hook: &Path) -> Result<Plan, Error> {
    let dockerd = docker::find(layout.root(), "dockerd").ok_or(Error::NoDocker)?;
    let version = docker::version_of(&dockerd).ok_or(Error::DockersVersion { path: dockerd })?;
    of_version(layout, hook, version)
}

fn of_version(layout: &Layout, hook: &Path, version: Version) -> Result<Plan, Error> {
    let needs = Needs::of(version);
    let mut notes = Vec::new();
    let link = match docker::find(layout.root(), needs.link) {
        Some(path) if !docker::leads_to_nvbind(&path) => {
            notes.push(format!(
                "{} is NVIDIA's own, so that it serves `docker run --gpus`; {}",
                path.display(),
                if needs.knows_cdi {
                    "--device nvidia.com/gpu=… is nvbind's"
                } else {
                    "remove its package first"
                }
            ));
            None
        }
        Some(path) if fs::read_link(&path).is_ok_and(|target| target == hook) => None,
        Some(_) | None => Some((layout.root().join(DIRECTORY).join(needs.link), hook.to_owned())),
    };
    let change = if needs.feature { daemon_json::switch_on(layout.root())? } else { Change::None };
    if link.is_some() || change != Change::None {
        notes.push(format!("Docker {version} reads it when it starts: `systemctl restart docker`"));
    }
    Ok(Plan { link, change, notes })
}

impl Plan {
    /// Does it, or says that it would.
    pub(super) fn carry_out(&self, dry_run: bool) -> Result<(), Error> {
        if let Some((path, target)) = &self.link {
            let failed = |source| Error::Write { path: path.clone(), source };
            if !dry_run {
                fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
                // A link of an earlier installation.
                if docker::leads_to_nvbind(path) {
                    fs::remove_file(path).map_err(failed)?;
                }
                symlink(target, path).map_err(failed)?;
            }
            let word = if dry_run { "would install" } else { "installed" };
            say(&format!("{word} {} as a link to {}", path.display(), target.display()));
        }
        if let Change::Write { path, text, before, kept } = &self.change {
            if !dry_run {
                write(kept, before)?;
                write(path, text.as_bytes())?;
            }
            let word = if dry_run { "would switch" } else { "switched" };
            say(&format!(
                "{word} on features.cdi in {}; what it was is in {}",
                path.display(),
                kept.display()
            ));
        }
        Ok(())
    }
}

/// Takes back what was done at an earlier time, or says that it would.
pub(super) fn undo(layout: &Layout, dry_run: bool) -> Result<(), Error> {
    let word = if dry_run { "would remove" } else { "removed" };
    for name in [DOCKERS_NAME, CDI_NAME] {
        let path = layout.root().join(DIRECTORY).join(name);
        if docker::leads_to_nvbind(&path) {
            if !dry_run {
                remove(&path)?;
            }
            say(&format!("{word} {}", path.display()));
        }
    }
    let (path, kept) = match daemon_json::switch_off(layout.root())? {
        Undo::None => return Ok(()),
        Undo::Remove { path, kept } => {
            if !dry_run {
                remove(&path)?;
            }
            (path, kept)
        }
        Undo::Write { path, text, kept } => {
            if !dry_run {
                write(&path, &text)?;
            }
            (path, kept)
        }
    };
    if !dry_run {
        remove(&kept)?;
    }
    say(&format!("{word} features.cdi from {}", path.display()));
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut bytes = bytes;
    let written = Staged::write(path, MODE, &mut bytes).and_then(Staged::commit);
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|source| Error::Remove { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::commands::setup::layout::Bases;
    use tempfile::TempDir;

    fn layout(root: &Path) -> Layout {
        let bases = Bases {
            home: root.join("home"),
            containers: root.join("c"),
            data: root.join("d"),
            etc: root.join("etc"),
        };
        Layout::new(&args::Setup::default(), &bases)
    }

    fn listed(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for directory in ["usr/local/bin", "etc/docker"] {
            let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
            found.extend(entries.map(|entry| entry.file_name().into_string().unwrap()));
        }
        found.sort();
        found
    }

    #[test]
    fn each_version_gets_what_it_needs_and_all_of_it_is_taken_back() {
        for (version, expected) in [
            ([20, 10, 24], &["nvidia-container-runtime-hook"][..]),
            ([26, 1, 5], &["daemon.json", "daemon.json.before-nvbind", "nvidia-container-runtime-hook"]),
            ([28, 5, 2], &["nvidia-container-runtime-hook"]),
            ([29, 2, 0], &["nvidia-cdi-hook"]),
        ] {
            let root = TempDir::new().unwrap();
            let layout = layout(root.path());
            let plan = |hook: &str| of_version(&layout, Path::new(hook), Version(version)).unwrap();
            plan("/old/nvbind-hook").carry_out(true).unwrap();
            assert_eq!(listed(root.path()), Vec::<String>::new());
            plan("/old/nvbind-hook").carry_out(false).unwrap();
            assert_eq!(listed(root.path()), expected, "{version:?}");
            let moved = plan("/new/nvbind-hook");
            assert!(moved.notes.iter().any(|note| note.contains("systemctl restart docker")), "{moved:?}");
            moved.carry_out(false).unwrap();
            let again = plan("/new/nvbind-hook");
            assert!(again.link.is_none() && again.change == Change::None && again.notes.is_empty());
            undo(&layout, true).unwrap();
            assert_eq!(listed(root.path()), expected, "{version:?}");
            undo(&layout, false).unwrap();
            undo(&layout, false).unwrap();
            assert_eq!(listed(root.path()), Vec::<String>::new());
        }
    }

    #[test]
    fn nvidias_own_hook_stays_and_is_told() {
        let root = TempDir::new().unwrap();
        let theirs = root.path().join("usr/bin").join(DOCKERS_NAME);
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "").unwrap();
        let layout = layout(root.path());
        let plan = of_version(&layout, Path::new("/x/nvbind-hook"), Version([20, 10, 24])).unwrap();
        assert!(plan.link.is_none());
        assert!(plan.notes[0].ends_with("remove its package first"), "{plan:?}");
        undo(&layout, false).unwrap();
        assert!(theirs.exists());
    }
}
