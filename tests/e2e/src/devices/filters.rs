//! The device filters of the lane's cgroups: nvbind changes those of the container's own, and no others.

use crate::case::{CGROUP, Case, INIT, ROOTFUL, RUNTIME};
use crate::container::{ASK, GPU, PLAIN, claim_works_in, keep, run, then_remove};
use crate::containers::refusals::refused;
use crate::devices::bpf;
use crate::devices::guard::{Guard, Lets, hierarchy, systemctl};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::Podman;
use crate::probe;
use nvbind_fixtures::error::Doing;
use nvbind_lanes::cgroup::View;
use nvbind_lanes::spec::{Init, Spec};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The cases, by name. Only the host's root can change a filter.
pub(crate) const CASES: &[Case] = &[
    Case::new("host-cgroups", host_cgroups).each(&[RUNTIME, CGROUP, INIT]).only(&[&[ROOTFUL]]).takes(4),
    Case::new("filter-around", filter_around).each(&[RUNTIME, CGROUP, INIT]).only(&[&[ROOTFUL]]).takes(2),
    Case::new("privileged-filter", privileged).each(&[RUNTIME, CGROUP, INIT]).only(&[&[ROOTFUL]]),
];

/// The path of each cgroup below the hierarchy that filters devices, with its filter: the list of rules (v1), or the
/// checksums of its programs (v2).
type Filters = BTreeMap<String, String>;

/// The filters of all cgroups.
fn filters(spec: &Spec) -> Result<Filters, Ended> {
    let top = hierarchy(spec)?;
    let mut found = Filters::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        let filter = match filter(spec.view, &folder) {
            // Gone since its folder was listed.
            Err(error) if [Some(libc::ENOENT), Some(libc::ENODEV)].contains(&error.raw_os_error()) => {
                continue;
            }
            other => other.doing(|| format!("read the filter of {}", folder.display()))?,
        };
        let name = folder.strip_prefix(&top).unwrap_or(&folder);
        found.insert(name.display().to_string(), filter);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    Ok(found)
}

fn filter(view: View, cgroup: &Path) -> io::Result<String> {
    match view {
        View::V1 => fs::read_to_string(cgroup.join("devices.list")),
        View::V2 => {
            let tags: Vec<String> =
                bpf::attached(cgroup)?.iter().map(bpf::Program::tag).collect::<Result<_, _>>()?;
            Ok(tags.join("\n"))
        }
    }
}

/// Fails the case unless every cgroup has the filter that it had, but for those of the container with this id.
fn claim_others_unchanged(spec: &Spec, before: &Filters, id: &str) -> Result<(), Ended> {
    let after = filters(spec)?;
    let is_changed = |(name, filter): &(&String, &String)| {
        !name.contains(id) && after.get(*name).is_some_and(|now| now != *filter)
    };
    let changed: Vec<String> = before
        .iter()
        .filter(is_changed)
        .map(|(name, filter)| format!("/{name}:\n{filter}\nthen\n{}", after.get(name).map_or("", |now| now)))
        .collect();
    claim(changed.is_empty(), "the filter of another cgroup changed", || changed.join("\n"))
}

/// Containers that GPUs are given to leave all other cgroups as they are, also one whose filter could be changed
/// because it is around theirs or is their caller's, and a container's that runs meanwhile.
fn host_cgroups(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        let every = ["--detach", "--stop-timeout=0", "--device-cgroup-rule=c *:* rwm"];
        run(podman, PLAIN, &every, "sleep 1000")?.must()?;
        let guard = Guard::make(&lane.spec, podman, Lets::All)?;
        let parent = format!("--cgroup-parent={}", guard.parent);
        let ended = [&[parent.as_str()][..], &["--cgroups=disabled"], &["--userns=auto", &parent]]
            .iter()
            .try_for_each(|options| claim_leaves_others(&lane.spec, podman, options));
        // A slice is not stopped before what is in it.
        let removed = podman.remove(&["--ignore", GPU]);
        let undone = guard.end();
        ended.and(removed).and(undone)
    })
}

/// A cgroup around the container's lets no GPU through: without one the container starts, with one it is refused, and
/// not started with nodes that it cannot open.
fn filter_around(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        run(podman, PLAIN, &["--detach", "--stop-timeout=0"], "sleep 1000")?.must()?;
        let guard = Guard::make(&lane.spec, podman, Lets::NoGpu)?;
        let parent = format!("--cgroup-parent={}", guard.parent);
        let ended = claim_refused_below(podman, &parent);
        let removed = podman.remove(&["--ignore", GPU]);
        let undone = guard.end();
        ended.and(removed).and(undone)
    })
}

fn claim_refused_below(podman: Podman, parent: &str) -> Result<(), Ended> {
    run(podman, GPU, &[parent], "true")?.must()?;
    podman.remove(&[GPU])?;
    refused(podman, &[parent, ASK[0], ASK[1]], &[4], "cgroup")
}

fn claim_leaves_others(spec: &Spec, podman: Podman, options: &[&str]) -> Result<(), Ended> {
    // What podman itself refuses with this runtime is none of its containers. Afterwards all folders are there.
    let alone = run(podman, GPU, options, "true")?;
    podman.remove(&["--ignore", GPU])?;
    if alone.code != 0 {
        return Ok(());
    }
    let before = filters(spec)?;
    keep(podman, options)?;
    let id = id(podman, GPU)?;
    claim_works_in(podman, &[], None)?;
    claim_others_unchanged(spec, &before, &id)?;
    podman.remove(&[GPU])?;
    claim_others_unchanged(spec, &before, &id)
}

fn id(podman: Podman, name: &str) -> Result<String, Ended> {
    Ok(podman.must(&["inspect", "--format={{.Id}}", name])?.out.trim().to_owned())
}

/// Nothing filters a privileged container's devices, with nvbind as without, also after systemd has done its part anew.
fn privileged(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    let options = ["--privileged", "--volume", probe::UNASKED];
    then_remove(podman, || {
        let all = [&options[..], &["--detach", "--stop-timeout=0"]].concat();
        run(podman, PLAIN, &all, "sleep 1000")?.must()?;
        let answer = podman.must(&["exec", PLAIN, "sh", "-c", &probe::unasked_alone()])?;
        let unasked = probe::answer_for_unasked(&answer)?;
        keep(podman, &options)?;
        let found = filters(&lane.spec)?;
        let (plain, gpu) = (own(&found, &id(podman, PLAIN)?), own(&found, &id(podman, GPU)?));
        claim(!plain.is_empty() && plain == gpu, "a privileged container's filter is another", || {
            format!("{plain:#?}\n{gpu:#?}")
        })?;
        if lane.spec.init == Init::Systemd {
            systemctl(&["daemon-reload"])?;
        }
        claim_works_in(podman, &[], Some(&unasked))
    })
}

/// The filters of a container's own cgroups, named without its id.
fn own(filters: &Filters, id: &str) -> Filters {
    // conmon's scope is gone, or not yet, as systemd finds the time.
    let own = filters.iter().filter(|(name, _)| name.contains(id) && !name.contains("conmon"));
    own.map(|(name, filter)| (name.replace(id, "ID"), filter.clone())).collect()
}
