//! The hook by itself, given what no runtime should give it: one line of message, a documented exit code, nothing done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::Function;
use super::ended::{Ended, claim};
use super::lane::Lane;
use super::podman::{Podman, Runtime, User};
use super::{snapshot, traces};
use crate::error::Doing;
use crate::lanes::tree::write;
use crate::limits::limited;

/// The cases, by name.
pub(crate) const CASES: &[(&str, Function)] = &[("bad-state", bad_state), ("bad-bundle", bad_bundle)];

const HOOK: &str = "/usr/local/libexec/nvbind/nvbind-hook";

/// The exit codes in question (docs/reference.md).
const BAD_REQUEST: i32 = 2;
const BAD_ROOTFS: i32 = 5;

/// Larger than anything that the hook reads.
const HUGE: usize = 64 << 20;

/// States that are none.
fn bad_state(_: &Lane, podman: Podman) -> Result<(), Ended> {
    once(podman)?;
    let huge = format!("{{\"id\":\"{}\"}}", "x".repeat(HUGE));
    let states = [
        ("empty", ""),
        ("truncated", "{\"id\":"),
        ("no-json", "hello"),
        ("a-list", "[]"),
        ("huge", &huge),
        ("no-process", &state(Path::new("/tmp"), 0)),
    ];
    for (name, state) in states {
        claim_refused(name, &hook(state)?, BAD_REQUEST)?;
    }
    Ok(())
}

/// Bundles without a configuration that makes sense, and root file systems that are none of a container's.
fn bad_bundle(_: &Lane, podman: Podman) -> Result<(), Ended> {
    once(podman)?;
    let huge = format!("{{\"hostname\":\"{}\"}}", "x".repeat(HUGE));
    let root = |path: &str| format!("{{\"root\":{{\"path\":\"{path}\"}}}}");
    let configs = [
        ("missing", None, BAD_REQUEST),
        ("empty", Some(String::new()), BAD_REQUEST),
        ("truncated", Some("{\"root\":".to_owned()), BAD_REQUEST),
        ("huge", Some(huge), BAD_REQUEST),
        ("no-root", Some("{}".to_owned()), BAD_ROOTFS),
        ("root-of-the-host", Some(root("/")), BAD_ROOTFS),
        ("root-upwards", Some(root("../../../..")), BAD_ROOTFS),
        ("root-not-there", Some(root("/nonexistent")), BAD_ROOTFS),
    ];
    let container = Container::start()?;
    let before = (container.mounts()?, snapshot::of("/etc")?);
    for (name, config, code) in configs {
        let bundle = PathBuf::from("/tmp").join(format!("bundle-{name}"));
        fs::create_dir_all(&bundle).on("create", &bundle)?;
        if let Some(config) = config {
            write(&bundle.join("config.json"), &config)?;
        }
        claim_refused(name, &hook(&state(&bundle, container.0.id()))?, code)?;
        traces::claim_nothing_mounted(&before.0, &container.mounts()?)?;
    }
    before.1.claim_unchanged()
}

/// A process in a mount namespace of its own, where a container's first process would be.
#[derive(Debug)]
struct Container(Child);

impl Container {
    fn start() -> Result<Self, Ended> {
        let mut command = Command::new("unshare");
        let child = command.args(["--mount", "sleep", "60"]).stdin(Stdio::null()).spawn();
        let container = Self(child.doing(|| "start a process in a mount namespace".into())?);
        let own = fs::read_link("/proc/self/ns/mnt").doing(|| "read our mount namespace".into())?;
        let its = format!("/proc/{}/ns/mnt", container.0.id());
        while fs::read_link(&its).doing(|| format!("read {its}"))? == own {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(container)
    }

    fn mounts(&self) -> Result<String, Ended> {
        let path = format!("/proc/{}/mountinfo", self.0.id());
        Ok(fs::read_to_string(&path).doing(|| format!("read {path}"))?)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It ends by itself if it cannot be killed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The same hook for every user and runtime.
fn once(podman: Podman) -> Result<(), Ended> {
    if podman == Podman::new(User::Root, Runtime::Crun) { Ok(()) } else { Err(Ended::NoSuchCase) }
}

fn state(bundle: &Path, pid: u32) -> String {
    let bundle = bundle.display();
    format!(
        "{{\"ociVersion\":\"1.0.2\",\"id\":\"of-no-cgroup\",\"status\":\"creating\",\"pid\":{pid},\
         \"bundle\":\"{bundle}\",\"annotations\":{{\"io.nvbind.gpu\":\"0\"}}}}"
    )
}

fn hook(state: &str) -> Result<Output, Ended> {
    let path = Path::new("/tmp/hook-state");
    fs::write(path, state).on("write", path)?;
    let file = fs::File::open(path).on("open", path)?;
    let mut hook = limited(Duration::from_secs(20), HOOK);
    // Without any root in its input, the hook takes its working directory for one.
    hook.arg("prestart").current_dir("/").stdin(Stdio::from(file));
    Ok(hook.output().doing(|| "run the hook".into())?)
}

fn claim_refused(name: &str, output: &Output, code: i32) -> Result<(), Ended> {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let given = output.status.code();
    claim(given == Some(code), &format!("{name}: exit code {given:?}, not {code}"), || told.clone())?;
    claim(told.lines().count() == 1, &format!("{name}: not one line of message"), || told.clone())
}
