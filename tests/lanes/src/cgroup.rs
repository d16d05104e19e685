//! A lane's own cgroups: one in each hierarchy of its view, below the caller's, gone when the lane is.

use nix::mount::{MsFlags, mount};
use nvbind_fixtures::error::{Doing, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Which cgroup file systems a lane sees: nothing but v1, or nothing but v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// One file system for each controller.
    V1,
    /// The one unified file system.
    V2,
}

/// One hierarchy and the caller's place in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// The v1 controllers or name, as the mount option; empty for v2.
    pub option: String,
    /// The path of the caller's cgroup.
    pub caller: String,
}

/// v1 hierarchies that are mounted where this kernel runs with v2 alone: what a container runtime cannot do without.
const V1_AT_LEAST: &[&str] = &["devices", "freezer", "none,name=systemd"];

impl Hierarchy {
    /// The name of its folder below the root of a v1 view.
    pub fn folder(&self) -> &str {
        if self.option.is_empty() { "unified" } else { self.option.trim_start_matches("none,name=") }
    }

    /// Whether a view shows it.
    pub fn is_in(&self, view: View) -> bool {
        self.option.is_empty() == (view == View::V2)
    }

    /// Mounts it at `at`, a folder that is made.
    pub fn mount(&self, at: &Path) -> Result<()> {
        fs::create_dir_all(at).on("create", at)?;
        let kind = if self.option.is_empty() { "cgroup2" } else { "cgroup" };
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let option = (!self.option.is_empty()).then_some(self.option.as_str());
        mount(Some(kind), at, Some(kind), flags, option)
            .doing(|| format!("mount the {} cgroup hierarchy", self.folder()))
    }
}

/// The hierarchies of this machine, from the text of /proc/self/cgroup, and those that the view needs beside them.
///
/// A lane has its own cgroup in all of them, also in those that it does not see: the root of its cgroup namespace is
/// there, for whatever in it mounts one of them by itself.
pub fn hierarchies(view: View, own: &str) -> Vec<Hierarchy> {
    let parsed = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let option = match controllers.strip_prefix("name=") {
            Some(name) => format!("none,name={name}"),
            None => controllers.to_owned(),
        };
        // Below another cgroup namespace's root the path starts with "/..": the root is the place to be then.
        let caller = if path.starts_with("/..") { "/" } else { path };
        Some(Hierarchy { option, caller: caller.to_owned() })
    });
    let mut found: Vec<Hierarchy> = parsed.collect();
    if view == View::V1 && !found.iter().any(|one| one.is_in(view)) {
        let one = |option: &&str| Hierarchy { option: (*option).to_owned(), caller: "/".to_owned() };
        found.extend(V1_AT_LEAST.iter().map(one));
    }
    found
}

/// The cgroups of one lane, in file systems that only this mount namespace sees.
#[derive(Debug)]
pub struct Cgroups {
    folders: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes a cgroup `name` below the caller's in each hierarchy, mounted below `at`.
    pub fn make(hierarchies: &[Hierarchy], at: &Path, name: &str) -> Result<Self> {
        let mut made = Self { folders: Vec::new() };
        match hierarchies.iter().try_for_each(|hierarchy| made.add(hierarchy, at, name)) {
            Ok(()) => Ok(made),
            Err(error) => made.remove().and(Err(error)),
        }
    }

    fn add(&mut self, hierarchy: &Hierarchy, at: &Path, name: &str) -> Result<()> {
        let top = at.join(hierarchy.folder());
        hierarchy.mount(&top)?;
        let caller = top.join(hierarchy.caller.trim_start_matches('/'));
        let folder = caller.join(name);
        fs::create_dir(&folder).on("create the cgroup", &folder)?;
        self.folders.push(folder.clone());
        if !hierarchy.option.split(',').any(|word| word == "cpuset") {
            return Ok(());
        }
        // A new v1 cpuset is empty, and nothing can run there.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let value = fs::read(caller.join(file)).on("read", &caller.join(file))?;
            fs::write(folder.join(file), value).on("write", &folder.join(file))?;
        }
        Ok(())
    }

    /// The folders, for a process that is to join them.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Removes them and what was made below; their processes are dead or dying.
    pub fn remove(&self) -> Result<()> {
        for folder in &self.folders {
            let mut attempt = remove_below(folder);
            for _ in 0..50 {
                if attempt.is_ok() {
                    break;
                }
                sleep(Duration::from_millis(100));
                attempt = remove_below(folder);
            }
            attempt?;
        }
        Ok(())
    }
}

/// Moves the calling process into each cgroup.
pub fn join(folders: &[PathBuf]) -> Result<()> {
    for folder in folders {
        let file = folder.join("cgroup.procs");
        fs::write(&file, "0").on("join", folder)?;
    }
    Ok(())
}

fn remove_below(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).on("list", folder)? {
        let path = entry.on("list", folder)?.path();
        if path.is_dir() {
            remove_below(&path)?;
        }
    }
    fs::remove_dir(folder).on("remove the cgroup", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "9:name=systemd:/\n5:devices:/\n4:memory:/ci/1\n0::/\n";

    fn one(option: &str, caller: &str) -> Hierarchy {
        Hierarchy { option: option.to_owned(), caller: caller.to_owned() }
    }

    fn seen(view: View, own: &str) -> Vec<Hierarchy> {
        hierarchies(view, own).into_iter().filter(|one| one.is_in(view)).collect()
    }

    #[test]
    fn a_hybrid_machine_has_both_views() {
        assert_eq!(seen(View::V2, HYBRID), [one("", "/")]);
        assert_eq!(
            seen(View::V1, HYBRID),
            [one("none,name=systemd", "/"), one("devices", "/"), one("memory", "/ci/1")]
        );
    }

    #[test]
    fn a_lane_has_a_cgroup_in_the_hierarchies_that_it_does_not_see() {
        assert_eq!(hierarchies(View::V2, HYBRID), hierarchies(View::V1, HYBRID));
    }

    #[test]
    fn a_v2_machine_gets_the_v1_hierarchies_that_runtimes_need() {
        let own = "0::/user.slice/session.scope\n";
        assert_eq!(seen(View::V2, own), [one("", "/user.slice/session.scope")]);
        let needed = [one("devices", "/"), one("freezer", "/"), one("none,name=systemd", "/")];
        assert_eq!(seen(View::V1, own), needed);
    }

    #[test]
    fn another_cgroup_namespace_shows_no_path_to_stay_below() {
        assert_eq!(seen(View::V2, "0::/../../x\n"), [one("", "/")]);
    }
}
