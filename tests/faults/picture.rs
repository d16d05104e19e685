//! What can be seen of a start: on the host, in the container, and in the layer that outlives it.

use crate::cgroup::Cgroup;
use crate::listing;
use crate::setting::Setting;
use crate::world::World;
use std::fs;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) host: Vec<String>,
    /// The container's files.
    pub(crate) files: Vec<String>,
    /// What is mounted in it.
    pub(crate) mounts: Vec<String>,
    /// The layer in which its files are kept for the next start.
    pub(crate) layer: Vec<String>,
    /// The rules of its device cgroup.
    pub(crate) rules: Vec<String>,
}

impl Picture {
    pub(crate) fn of(setting: &Setting) -> Picture {
        let world = &setting.world;
        Picture {
            host: world.host(),
            files: files(world),
            mounts: mounts(world),
            layer: listing::below(&world.path("scratch/upper")),
            rules: setting.cgroup.as_ref().map(Cgroup::rules).unwrap_or_default(),
        }
    }

    /// What is missing or too much in another one of the same container, but for the host.
    pub(crate) fn difference(&self, other: &Picture) -> Vec<String> {
        let mut lines = listing::difference(&self.files, &other.files);
        lines.extend(listing::difference(&self.mounts, &other.mounts));
        lines.extend(listing::difference(&self.layer, &other.layer));
        lines.extend(listing::difference(&self.rules, &other.rules));
        lines
    }

    /// What is changed in the container after a start that failed. Mounts go with the container, and what they cover is
    /// there. A link of an earlier start leads nowhere in between, and may be gone.
    pub(crate) fn leftovers(&self, now: &Picture) -> Vec<String> {
        let new: Vec<&str> = now
            .mounts
            .iter()
            .filter(|line| !self.mounts.contains(line))
            .filter_map(|line| line.split(' ').nth(1)?.rsplit_once("/scratch/root/").map(|(_, path)| path))
            .collect();
        let is_covered = |line: &&String| {
            let path = line.split(' ').nth(1).unwrap();
            new.iter().any(|mount| Path::new(path).starts_with(mount))
        };
        let is_link_of_ours = |line: &&String| {
            line.starts_with("- ") && line.contains(" 120777 ") && line.contains(" /usr/local/nvidia")
        };
        listing::difference(&self.files, &now.files)
            .into_iter()
            .filter(|line| !is_covered(&line) && !is_link_of_ours(&line))
            .collect()
    }
}

/// Of procfs, which changes all the time, only what the hook covers.
fn files(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(world.inside("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = if name == "proc" { "proc/driver" } else { &name };
        let path = world.inside(name);
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let below = if is_directory { listing::below(&path) } else { Vec::new() };
        lines.push(name.to_owned());
        lines.extend(below.into_iter().map(|line| format!("{name}/{line}")));
    }
    lines.sort();
    lines
}

/// The container's mounts, which are all below the test's directory, without what differs from start to start: their
/// numbers, and what a file system says of itself.
fn mounts(world: &World) -> Vec<String> {
    let own = world.path("").display().to_string();
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.contains(&own)).map(without_numbers).collect();
    lines.sort();
    lines
}

fn without_numbers(line: &str) -> String {
    let (mount, file_system) = line.split_once(" - ").unwrap();
    let without = |field| ["shared:", "master:"].into_iter().find(|name| str::starts_with(field, name));
    let fields = mount.split(' ').skip(3).map(|field| without(field).unwrap_or(field));
    fields.chain(file_system.split(' ').take(1)).collect::<Vec<_>>().join(" ")
}
