//! The device filter of cgroup v2: eBPF programs on the cgroups, all of which must let an access through.

use super::bpf::{Attached, Info, Program};
use super::program::{Instruction, lets_all_through};
use super::{DeviceNumber, Error, evaluate};
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
        let filter = Filter::open(path)?;
        if filter.restricts()? {
            filters.push(filter);
        }
    }
    Ok(filters)
}

/// Sees that each of `cgroups`, which are not the container's alone, lets the devices through: what is forbidden there
/// stays forbidden, and the container could open none of its nodes.
pub(super) fn check_around<'a>(
    cgroups: impl Iterator<Item = &'a Path>,
    devices: &[DeviceNumber],
) -> Result<(), Error> {
    for path in cgroups {
        for program in (Filter::open(path)?).programs()? {
            for device in devices {
                match evaluate::allows(&program.instructions, *device) {
                    Some(true) => {}
                    Some(false) => return Err(Error::Around { path: path.to_owned(), device: *device }),
                    None => {
                        let path = path.display();
                        log::warn!(
                            "whether the cgroup {path} lets the device {device} through cannot be told"
                        );
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

impl Filter {
    fn open(path: &Path) -> Result<Filter, Error> {
        let cgroup = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Ok(Filter { path: path.to_owned(), cgroup })
    }

    /// The programs, read again where one was exchanged meanwhile, whose id is gone then (ENOENT).
    fn programs(&self) -> Result<Vec<Info>, Error> {
        for _ in 0..ATTEMPTS {
            let ids = self.attached()?.ids.into_iter();
            let read = ids.map(|id| Program::by_id(id).and_then(|program| program.info()));
            match read.collect::<io::Result<Vec<Info>>>() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read.map_err(self.failed("read a device program of")),
            }
        }
        Err(Error::Unsettled(self.path.clone()))
    }

    fn restricts(&self) -> Result<bool, Error> {
        Ok(self.programs()?.iter().any(|program| !lets_all_through(&program.instructions)))
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
        let pinned = match Program::pinned(&pin).and_then(|program| program.info()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // By SELinux's policy for a service. It is the runtime's as well, so that crun cannot have made one.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                log::warn!(
                    "whether crun has a pin of its device program cannot be told, and a `systemctl daemon-reload` may take the GPUs away: {error}"
                );
                return Ok(());
            }
            Err(source) => return Err(Error::Pin { path: pin, source }),
            Ok(pinned) => pinned,
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

#[cfg(test)]
mod tests {
    use super::super::program::prologue;
    use super::*;
    use crate::mountinfo;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use std::io::Write as _;

    /// Answers 0 to everything: `r0 = 0; exit`.
    const DENY: [Instruction; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

    /// A scope with a runtime's filter, as crun 1.23 leaves it; it goes with this value.
    struct Scope(PathBuf);

    impl Scope {
        /// An error says what this machine does not allow.
        fn new() -> Result<Scope, String> {
            let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
            let mounts = mountinfo::read().unwrap();
            let root = mountinfo::mounts(&mounts).find(|mount| mount.kind == "cgroup2");
            let root = root.ok_or("no cgroups of version 2")?;
            let none: Option<&str> = None;
            // In this thread's namespace only.
            unshare(CloneFlags::CLONE_NEWNS)
                .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
                .and_then(|()| mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none))
                .map_err(|errno| failed("no namespace with a bpf file system")(errno.into()))?;
            fs::create_dir(CRUN_PINS).unwrap();
            let path = Path::new(&*root.point).join(format!("libpod-test{}.scope", std::process::id()));
            fs::create_dir(&path).map_err(failed("no new cgroup"))?;
            let scope = Scope(path);
            let old = Program::load(&DENY).map_err(failed("no device program"))?;
            let cgroup = File::open(&scope.0).unwrap();
            let attached = Attached::query(cgroup.as_fd()).map_err(failed("no list of programs"))?;
            attached.replace(cgroup.as_fd(), &old, &old).map_err(failed("no program on a cgroup"))?;
            old.pin(&scope.pin()).unwrap();
            if old.info().unwrap().instructions.is_empty() {
                return Err("the kernel hides programs (net.core.bpf_jit_harden)".to_owned());
            }
            Ok(scope)
        }

        fn pin(&self) -> PathBuf {
            Path::new(CRUN_PINS).join(self.0.file_name().unwrap().to_str().unwrap().replace('.', "_"))
        }

        /// The one program on it.
        fn program(&self) -> Info {
            let ids = Attached::query(File::open(&self.0).unwrap().as_fd()).unwrap().ids;
            assert_eq!(ids.len(), 1);
            Program::by_id(ids[0]).unwrap().info().unwrap()
        }
    }

    impl Drop for Scope {
        fn drop(&mut self) {
            fs::remove_dir(&self.0).unwrap();
        }
    }

    #[test]
    fn the_runtimes_program_is_replaced_with_its_pin_by_one_that_lets_the_devices_through() {
        let scope = match Scope::new() {
            Ok(scope) => scope,
            Err(why) => {
                // Past the capture of test output: a skip has to be seen.
                let _ = writeln!(io::stdout(), "test of a real device program ... SKIPPED: {why}");
                return;
            }
        };
        let old = scope.program();
        let prologue = prologue(&[DeviceNumber { major: 195, minor: 255 }]).unwrap();
        let prepend = || {
            let filters = filters(std::iter::once(scope.0.as_path())).unwrap();
            assert_eq!(filters.len(), 1);
            filters.iter().for_each(|filter| filter.prepend(&prologue).unwrap());
        };
        prepend();
        let new = scope.program();
        assert_eq!(new.instructions, [prologue.as_slice(), &old.instructions].concat());
        assert_eq!(Program::pinned(&scope.pin()).unwrap().info().unwrap().id, new.id);
        assert_eq!(fs::read_dir(CRUN_PINS).unwrap().count(), 1);
        prepend();
        assert_eq!(scope.program().id, new.id);
        // With the cgroup and its pin, as a runtime removes them, everything is gone. The kernel takes its time.
        fs::remove_file(scope.pin()).unwrap();
        drop(scope);
        let ids = [old.id, new.id];
        while ids.iter().any(|id| Program::by_id(*id).is_ok()) {
            std::thread::yield_now();
        }
    }
}
