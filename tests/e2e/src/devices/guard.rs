//! A cgroup with a device filter, around those of containers.

use crate::container::PLAIN;
use crate::devices::bpf;
use crate::ended::Ended;
use crate::podman::{Podman, said};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::cgroup::View;
use nvbind_lanes::spec::{Init, Spec};
use nvbind_lanes::tree::write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the lane has the hierarchy that filters devices.
pub(super) fn hierarchy(spec: &Spec) -> Result<PathBuf, Ended> {
    let root = Path::new("/sys/fs/cgroup");
    if spec.view == View::V2 {
        return Ok(root.to_owned());
    }
    let devices = |option: &str| option.split(',').any(|word| word == "devices");
    let found = spec.hierarchies.iter().find(|one| devices(&one.option));
    Ok(root.join(found.ok_or_else(|| Ended::failed("no hierarchy filters devices", ""))?.folder()))
}

/// A cgroup with a filter that lets every GPU through, around those of containers; without systemd this process is in
/// another below it.
pub(super) struct Guard {
    /// As podman is told it.
    pub(super) parent: String,
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
pub(super) enum Lets {
    /// Every device.
    All,
    /// What every container has. Without systemd on cgroup v2, what [`PLAIN`] has.
    NoGpu,
    /// All but the first GPU, whose minor number is 1, as in a job that has the others. On cgroup v2 what [`PLAIN`]
    /// has: it has to have these.
    OtherGpus,
}

impl Lets {
    const fn name(self) -> &'static str {
        match self {
            Lets::All => "guarded",
            Lets::NoGpu => "closed",
            Lets::OtherGpus => "job",
        }
    }

    /// The lines of a slice; no job's, as podman's own slices are not below the caller's.
    const fn unit(self) -> &'static str {
        match self {
            Lets::All | Lets::OtherGpus => {
                "[Slice]\nDevicePolicy=strict\nDeviceAllow=char-* rwm\nDeviceAllow=block-* rwm\n"
            }
            Lets::NoGpu => {
                "[Slice]\nDevicePolicy=closed\nDeviceAllow=char-* m\nDeviceAllow=block-* m\n\
                 DeviceAllow=char-mem rwm\nDeviceAllow=char-pts rwm\nDeviceAllow=char-misc rwm\n\
                 DeviceAllow=char-/dev/tty rwm\n"
            }
        }
    }

    /// The rules of cgroup v1: what it denies at first, and then allows.
    const fn rules(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Lets::All => ("a", &["c *:* rwm", "b *:* rwm"]),
            Lets::OtherGpus => ("c 195:1 rw", &[]),
            Lets::NoGpu => {
                ("a", &["c *:* m", "b *:* m", "c 1:* rwm", "c 5:* rwm", "c 10:200 rwm", "c 136:* rwm"])
            }
        }
    }
}

impl Guard {
    pub(super) fn make(spec: &Spec, podman: Podman, lets: Lets) -> Result<Self, Ended> {
        let name = format!("{}{}", lets.name(), podman.runtime());
        if spec.init == Init::Systemd {
            return Self::slice(&name, lets);
        }
        let top = hierarchy(spec)?;
        let around = top.join(&name);
        let callers = around.join("caller");
        let own = own_cgroup(spec, &top, "self")?;
        fs::create_dir_all(&around).on("create", &around)?;
        let mut undo = Vec::new();
        match spec.view {
            View::V1 => {
                let (denied, allowed) = lets.rules();
                let allowed = allowed.iter().map(|rule| ("devices.allow", *rule));
                for (file, rule) in [("devices.deny", denied)].into_iter().chain(allowed) {
                    fs::write(around.join(file), rule).on("write to", &around.join(file))?;
                }
                fs::create_dir_all(&callers).on("create", &callers)?;
            }
            View::V2 => {
                fs::create_dir_all(&callers).on("create", &callers)?;
                let pid = podman.must(&["inspect", "--format={{.State.Pid}}", PLAIN])?.out;
                let plain = own_cgroup(spec, &top, pid.trim())?;
                let programs = bpf::attached(&plain).on("look at", &plain)?;
                let program = programs.into_iter().next();
                let program = program.ok_or_else(|| Ended::failed("podman alone does not filter", ""))?;
                let cgroups = match lets {
                    Lets::All => vec![top, around, callers.clone()],
                    Lets::NoGpu | Lets::OtherGpus => vec![around],
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

    pub(super) fn end(self) -> Result<(), Ended> {
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

pub(super) fn systemctl(words: &[&str]) -> Result<(), Ended> {
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
