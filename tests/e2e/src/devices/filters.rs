//! The device filters of the lane's cgroups: nvbind changes those of the container's own, and no others.

use crate::case::{CGROUP, Case, INIT, ROOTFUL, RUNTIME};
use crate::container::{ASK, GPU, PLAIN, claim_works_in, keep, run, then_remove};
use crate::containers::refusals::refused;
use crate::devices::bpf;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, said};
use crate::probe;
use nvbind_fixtures::error::Doing;
use nvbind_lanes::cgroup::View;
use nvbind_lanes::spec::{Init, Spec};
use nvbind_lanes::tree::write;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cases, by name. Only the host's root can change a filter.
pub(crate) const CASES: &[Case] = &[
    Case::new("host-cgroups", host_cgroups).each(&[RUNTIME, CGROUP, INIT]).only(&[&[ROOTFUL]]).takes(4),
    Case::new("filter-around", filter_around).each(&[RUNTIME, CGROUP, INIT]).only(&[&[ROOTFUL]]).takes(2),
    Case::new("privileged-filter", privileged).each(&[RUNTIME, CGROUP, INIT]).only(&[&[ROOTFUL]]),
];

/// The path of each cgroup below the hierarchy that filters devices, with its filter: the list of rules (v1), or the
/// checksums of its programs (v2).
type Filters = BTreeMap<String, String>;

/// Where the lane has the hierarchy that filters devices.
fn hierarchy(spec: &Spec) -> Result<PathBuf, Ended> {
    let root = Path::new("/sys/fs/cgroup");
    if spec.view == View::V2 {
        return Ok(root.to_owned());
    }
    let devices = |option: &str| option.split(',').any(|word| word == "devices");
    let found = spec.hierarchies.iter().find(|one| devices(&one.option));
    Ok(root.join(found.ok_or_else(|| Ended::failed("no hierarchy filters devices", ""))?.folder()))
}

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

/// A cgroup with a filter that lets every GPU through, around those of containers; without systemd this process is in
/// another below it.
struct Guard {
    /// As podman is told it.
    parent: String,
    /// What is undone in the end.
    undo: Vec<Undo>,
}

enum Undo {
    /// This process's way back.
    Leave {
        to: PathBuf,
    },
    /// The copies of a program.
    Detach {
        program: bpf::Program,
        cgroups: Vec<PathBuf>,
    },
    Stop {
        name: String,
    },
}

/// What a guard's filter lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lets {
    /// Every device.
    All,
    /// What every container has. Without systemd on cgroup v2, what [`PLAIN`] has.
    NoGpu,
}

impl Lets {
    const fn name(self) -> &'static str {
        match self {
            Lets::All => "guarded",
            Lets::NoGpu => "closed",
        }
    }

    /// The lines of a slice.
    const fn unit(self) -> &'static str {
        match self {
            Lets::All => "[Slice]\nDevicePolicy=strict\nDeviceAllow=char-* rwm\nDeviceAllow=block-* rwm\n",
            Lets::NoGpu => {
                "[Slice]\nDevicePolicy=closed\nDeviceAllow=char-* m\nDeviceAllow=block-* m\n\
                 DeviceAllow=char-mem rwm\nDeviceAllow=char-pts rwm\nDeviceAllow=char-misc rwm\n\
                 DeviceAllow=char-/dev/tty rwm\n"
            }
        }
    }

    /// The rules of cgroup v1.
    const fn rules(self) -> &'static [&'static str] {
        match self {
            Lets::All => &["c *:* rwm", "b *:* rwm"],
            Lets::NoGpu => &["c *:* m", "b *:* m", "c 1:* rwm", "c 5:* rwm", "c 10:200 rwm", "c 136:* rwm"],
        }
    }
}

impl Guard {
    fn make(spec: &Spec, podman: Podman, lets: Lets) -> Result<Self, Ended> {
        let name = format!("{}{}", lets.name(), podman.runtime());
        if spec.init == Init::Systemd {
            return Self::slice(&name, lets);
        }
        let top = hierarchy(spec)?;
        let around = top.join(&name);
        let callers = around.join("caller");
        let own = own_cgroup(spec, &top, "self")?;
        fs::create_dir(&around).on("create", &around)?;
        let mut undo = Vec::new();
        match spec.view {
            View::V1 => {
                let allowed = lets.rules().iter().map(|rule| ("devices.allow", *rule));
                for (file, rule) in [("devices.deny", "a")].into_iter().chain(allowed) {
                    fs::write(around.join(file), rule).on("write to", &around.join(file))?;
                }
                fs::create_dir(&callers).on("create", &callers)?;
            }
            View::V2 => {
                fs::create_dir(&callers).on("create", &callers)?;
                let pid = podman.must(&["inspect", "--format={{.State.Pid}}", PLAIN])?.out;
                let plain = own_cgroup(spec, &top, pid.trim())?;
                let programs = bpf::attached(&plain).on("look at", &plain)?;
                let program = programs.into_iter().next();
                let program = program.ok_or_else(|| Ended::failed("podman alone does not filter", ""))?;
                let cgroups = match lets {
                    Lets::All => vec![top, around, callers.clone()],
                    Lets::NoGpu => vec![around],
                };
                for cgroup in &cgroups {
                    program.attach(cgroup).on("attach a program to", cgroup)?;
                }
                undo.push(Undo::Detach { program, cgroups });
            }
        }
        enter(&callers)?;
        undo.push(Undo::Leave { to: own });
        Ok(Self { parent: format!("/{name}"), undo })
    }

    fn slice(name: &str, lets: Lets) -> Result<Self, Ended> {
        let name = format!("{name}.slice");
        write(&Path::new("/run/systemd/system").join(&name), lets.unit())?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["start", &name])?;
        Ok(Self { parent: name.clone(), undo: vec![Undo::Stop { name }] })
    }

    fn end(self) -> Result<(), Ended> {
        for undo in self.undo.into_iter().rev() {
            match undo {
                Undo::Leave { to } => enter(&to)?,
                Undo::Detach { program, cgroups } => {
                    for cgroup in &cgroups {
                        program.detach(cgroup).on("detach a program from", cgroup)?;
                    }
                }
                Undo::Stop { name } => systemctl(&["stop", &name])?,
            }
        }
        Ok(())
    }
}

fn systemctl(words: &[&str]) -> Result<(), Ended> {
    said(Command::new("systemctl").args(words))?.must().map(drop)
}

/// Moves this process.
fn enter(cgroup: &Path) -> Result<(), Ended> {
    Ok(fs::write(cgroup.join("cgroup.procs"), "0").on("enter", cgroup)?)
}

/// The cgroup of a process in the hierarchy that filters devices.
fn own_cgroup(spec: &Spec, top: &Path, process: &str) -> Result<PathBuf, Ended> {
    let path = PathBuf::from(format!("/proc/{process}/cgroup"));
    let text = fs::read_to_string(&path).on("read", &path)?;
    let controllers = if spec.view == View::V1 { "devices" } else { "" };
    let line = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, cgroup) = rest.split_once(':')?;
        names.split(',').any(|name| name == controllers).then_some(cgroup)
    });
    let cgroup = line.ok_or_else(|| Ended::failed("the process has no such cgroup", text.clone()))?;
    Ok(top.join(cgroup.trim_start_matches('/')))
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
