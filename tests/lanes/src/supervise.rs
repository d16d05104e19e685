//! The process above a lane: makes its cgroups, starts its process 1, and takes all of it down again when that ends,
//! when time is up, or when `cargo xtask test` is gone for whatever reason (its end of our standard input closes then).

use super::cgroup::Cgroups;
use super::spec::Spec;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nvbind_fixtures::error::{Doing, Error, Result};
use std::fs;
use std::io::stdin;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a lane's end is looked for, in milliseconds.
const TICK: u8 = 100;

/// Runs the lane that the file describes.
pub fn supervise(spec_file: &Path) -> Result<()> {
    let spec = Spec::read(spec_file)?;
    unshare(CloneFlags::CLONE_NEWNS).doing(|| "leave the mount namespace (lanes need root)".into())?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .doing(|| "make mounts private".into())?;
    let at = spec.run.join("cgroup");
    fs::create_dir_all(&at).on("create", &at)?;
    mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), none).on("mount a tmpfs on", &at)?;
    let name = format!("nvbind-{}-{}", spec.lane, std::process::id());
    let cgroups = Cgroups::make(&spec.hierarchies, &at, &name)?;
    let ended = start(spec_file, &cgroups).and_then(|mut init| wait(&mut init, &spec));
    // Process 1 is gone, and with it every process of its namespace: nothing can hold the cgroups any more.
    cgroups.remove()?;
    println!("process 1 of {} ended: {}", spec.lane, ended?);
    Ok(())
}

fn start(spec_file: &Path, cgroups: &Cgroups) -> Result<Child> {
    unshare(CloneFlags::CLONE_NEWPID).doing(|| "make a pid namespace".into())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("lane-enter").arg(spec_file).args(cgroups.folders()).stdin(Stdio::null());
    command.spawn().doing(|| "start process 1".into())
}

fn wait(init: &mut Child, spec: &Spec) -> Result<ExitStatus> {
    let start = Instant::now();
    let stdin = stdin();
    loop {
        if let Some(status) = init.try_wait().doing(|| "wait for process 1".into())? {
            return Ok(status);
        }
        let mut caller = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let left = poll(&mut caller, PollTimeout::from(TICK)).is_ok_and(|ready| ready > 0);
        let late = start.elapsed() > Duration::from_secs(spec.limit);
        if left || late {
            init.kill().doing(|| "stop process 1".into())?;
            init.wait().doing(|| "wait for process 1".into())?;
            let why = if late {
                format!("ran for more than {} s", spec.limit)
            } else {
                "was interrupted".to_owned()
            };
            return Err(Error::failed(format!("{} {why}", spec.lane)));
        }
    }
}
