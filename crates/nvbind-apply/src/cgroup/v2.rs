//! The device filter of cgroup v2: eBPF programs on the cgroups, all of which must let an access through.

use super::Error;
use super::bpf::{Attached, Info, Program};
use super::program::{Instruction, lets_all_through};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where crun 1.23 and newer pins the program that it has systemd attach, a file for each scope.
const CRUN_PINS: &str = "/sys/fs/bpf/crun";

/// How often to start over when somebody else changes the same cgroup.
const ATTEMPTS: usize = 16;

/// A cgroup that has device programs.
pub(super) struct Filter {
    path: PathBuf,
    cgroup: File,
}

/// Opens those of `cgroups` that have a program which keeps devices away.
pub(super) fn filters<'a>(cgroups: impl Iterator<Item = &'a Path>) -> Result<Vec<Filter>, Error> {
    let mut filters = Vec::new();
    for path in cgroups {
        let cgroup = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let filter = Filter { path: path.to_owned(), cgroup };
        if filter.restricts()? {
            filters.push(filter);
        }
    }
    Ok(filters)
}

impl Filter {
    fn restricts(&self) -> Result<bool, Error> {
        for id in self.attached()?.ids {
            // One that is gone by now was exchanged for another.
            let instructions =
                Program::by_id(id).and_then(|program| program.info()).map(|info| info.instructions);
            if !instructions.is_ok_and(|instructions| lets_all_through(&instructions)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts `prologue` in front of every device program of the cgroup that does not start with it yet.
    pub(super) fn prepend(&self, prologue: &[Instruction]) -> Result<(), Error> {
        // Where systemd or the runtime exchanges a program meanwhile, its id is gone (ENOENT): look again.
        for _ in 0..ATTEMPTS {
            match self.prepend_once(prologue) {
                Err(Error::Bpf { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
        }
        Err(Error::Unsettled(self.path.clone()))
    }

    fn prepend_once(&self, prologue: &[Instruction]) -> Result<(), Error> {
        let attached = self.attached()?;
        for id in &attached.ids {
            let old = Program::by_id(*id).map_err(self.failed("open a device program of"))?;
            let info = old.info().map_err(self.failed("read a device program of"))?;
            if info.instructions.is_empty() {
                return Err(Error::Hidden(self.path.clone()));
            }
            if info.instructions.starts_with(prologue) || lets_all_through(&info.instructions) {
                continue;
            }
            let new = Program::load(&[prologue, &info.instructions].concat())
                .map_err(self.failed("load a changed device program for"))?;
            attached
                .replace(self.cgroup.as_fd(), &old, &new)
                .map_err(self.failed("replace a device program of"))?;
            self.pin_again(&info, &new)?;
        }
        Ok(())
    }

    /// Gives the new program the old one's pin, if crun pinned the old one: systemd attaches whatever it finds there at
    /// each reload.
    fn pin_again(&self, old: &Info, new: &Program) -> Result<(), Error> {
        let Some(scope) = self.path.file_name().and_then(|name| name.to_str()) else {
            return Ok(());
        };
        // Names in the bpf file system have no dots.
        let pin = Path::new(CRUN_PINS).join(scope.replace('.', "_"));
        let Ok(pinned) = Program::pinned(&pin).and_then(|program| program.info()) else {
            return Ok(());
        };
        if pinned.id != old.id {
            return Ok(());
        }
        // By rename: systemd may look at any time.
        let fresh = Path::new(CRUN_PINS).join(format!("nvbind-{}", std::process::id()));
        let renamed = new.pin(&fresh).and_then(|()| fs::rename(&fresh, &pin));
        renamed.map_err(|source| {
            // It may not be there; what failed before is what counts.
            let _ = fs::remove_file(&fresh);
            Error::Pin { path: pin, source }
        })
    }

    fn attached(&self) -> Result<Attached, Error> {
        Attached::query(self.cgroup.as_fd()).map_err(self.failed("list the device programs of"))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Bpf { action, path, source }
    }
}
