//! Podman with a storage of the demo's own, and an OCI runtime that works on this machine.
use super::{DemoError, packages};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t};
use nvbind_fixtures::process;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runtimes to try besides podman's default, which is crun nearly everywhere.
const RUNTIMES: &[&str] = &["runc", "crun"];

/// Podman's options for the demo.
#[derive(Debug)]
pub(super) struct Podman {
    /// Image storage, in the build directory.
    storage: PathBuf,
    /// What does not outlive a boot; short, since sockets are made in it.
    runtime_dir: PathBuf,
}

/// What a container of the demo is run with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    runtime: Option<&'static str>,
    limits: Vec<String>,
}

impl Way {
    /// As options of `podman run`.
    pub(super) fn options(&self) -> Vec<String> {
        let runtime = self.runtime.map(|runtime| format!("--runtime={runtime}"));
        runtime.into_iter().chain(self.limits.iter().map(|limit| format!("--ulimit={limit}"))).collect()
    }

    fn told(&self) -> String {
        let words: Vec<String> = ["podman run".to_owned()].into_iter().chain(self.options()).collect();
        words.join(" ")
    }
}

impl Podman {
    pub(super) fn new(storage: PathBuf) -> Self {
        let runtime_dir = if nix::unistd::geteuid().is_root() {
            PathBuf::from("/run/nvbind-demo")
        } else {
            std::env::temp_dir().join(format!("nvbind-demo-{}", nix::unistd::geteuid()))
        };
        Self { storage, runtime_dir }
    }

    /// The options that make podman use the demo's storage; podman takes them before and after `run`.
    pub(super) fn storage_options(&self) -> Vec<String> {
        vec![
            format!("--root={}", self.storage.display()),
            format!("--runroot={}/storage", self.runtime_dir.display()),
            format!("--tmpdir={}/libpod", self.runtime_dir.display()),
            // Not every machine has a journal.
            "--events-backend=none".into(),
        ]
    }

    fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.args(self.storage_options()).args(subcommand);
        command
    }

    pub(super) fn has_image(&self, image: &str) -> Result<bool, DemoError> {
        Ok(process::capture(&mut self.command(&["image", "exists", image]))?.status.success())
    }

    pub(super) fn import(&self, archive: &Path, image: &str) -> Result<(), DemoError> {
        process::read(self.command(&["import", "--quiet"]).arg(archive).arg(image))?;
        Ok(())
    }

    /// The first way to run a container that works here; where it is not podman's default, that is said with the
    /// reason.
    pub(super) fn find_way(&self, image: &str) -> Result<Way, DemoError> {
        let mut reasons: Vec<String> = Vec::new();
        for way in ways(&own_limits()) {
            if let Some(runtime) = way.runtime {
                packages::ensure(&[runtime])?;
            }
            let mut command = self.command(&["run", "--rm", "--network=none"]);
            let output = process::capture(command.args(way.options()).args([image, "true"]))?;
            if output.status.success() {
                for reason in &reasons {
                    super::say(reason);
                }
                if !reasons.is_empty() {
                    super::say(&format!("{}: works", way.told()));
                }
                return Ok(way);
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().next_back().unwrap_or_default();
            reasons.push(format!("{}: {last}", way.told()));
        }
        Err(DemoError::NoRuntime { reasons: reasons.join("\n  ") })
    }

    /// Takes back the mount that podman leaves at its storage, so that the build directory can be removed.
    pub(super) fn release(&self) {
        let overlay = self.storage.join("overlay");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted = mounts
            .lines()
            .any(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == overlay));
        if mounted {
            // If a container of another demo holds it, that demo will take it back.
            let _ = process::capture(Command::new("umount").arg(&overlay));
        }
    }
}

/// Podman's default first, then what helps on a machine that may not raise limits, then each runtime by name.
fn ways(limits: &[String]) -> Vec<Way> {
    let mut ways = Vec::new();
    for runtime in std::iter::once(None).chain(RUNTIMES.iter().copied().map(Some)) {
        ways.push(Way { runtime, limits: Vec::new() });
        ways.push(Way { runtime, limits: limits.to_vec() });
    }
    ways
}

/// The limits that this process has: podman raises them by default, which needs CAP_SYS_RESOURCE.
fn own_limits() -> Vec<String> {
    [("nofile", Resource::RLIMIT_NOFILE, RLIM_INFINITY), ("nproc", Resource::RLIMIT_NPROC, PODMANS_PROCESSES)]
        .into_iter()
        .filter_map(|(name, resource, most)| {
            let (soft, hard) = getrlimit(resource).ok()?;
            Some(format!("{name}={}:{}", number(soft.min(most)), number(hard.min(most))))
        })
        .collect()
}

/// Podman 4 lowers its own limit of processes to this first, and the runtime can't go back.
const PODMANS_PROCESSES: rlim_t = 32768;

/// Podman knows no word for "unlimited" but -1.
fn number(limit: rlim_t) -> String {
    if limit == RLIM_INFINITY { "-1".into() } else { limit.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_runtime_with_the_default_limits_is_tried_first() {
        let ways = ways(&["nofile=1:2".to_owned()]);
        assert_eq!(ways.first(), Some(&Way::default()));
        assert_eq!(ways.last().unwrap().options(), ["--runtime=crun", "--ulimit=nofile=1:2"]);
    }

    #[test]
    fn no_limit_is_minus_one() {
        assert_eq!(number(RLIM_INFINITY), "-1");
        assert_eq!(number(1024), "1024");
    }
}
