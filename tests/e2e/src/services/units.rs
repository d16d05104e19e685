//! `nvbind run … -d` in a service of type `simple`, as people write it: the service is the container.

use crate::case::{CRUN, Case, RELEASE, ROOTLESS, SYSTEMD, WHO};
use crate::command_line::config;
use crate::containers::refusals::last_failure;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User};
use crate::probe;
use crate::services::quadlet::{install, systemctl};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_lanes::tree::USER;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    // Its container's runtime is podman's own.
    Case::new("service-simple", of_system).each(&[WHO, RELEASE]).only(&[&[SYSTEMD, CRUN]]).takes(5),
    OF_USER_RUNS,
];

pub(crate) const OF_USER_RUNS: Case =
    Case::new("service-simple-user", of_user).each(&[RELEASE]).only(&[&[SYSTEMD, CRUN, ROOTLESS]]).takes(4);

/// For the system, with a user of its own.
const OF_SYSTEM: &str = include_str!("../../../../tests/e2e/gpu-service.service");

/// For a user's own systemd.
const OF_USER: &str = include_str!("../../../../tests/e2e/user-gpu-service.service");

/// The ten seconds of the units would pass at every restart, and systemd's ninety where something of Podman 4.3
/// outlives the stop.
const FASTER: &str = "[Service]\nRestartSec=100ms\nTimeoutStopSec=10s\n";

/// How long a start, or a restart, may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

const LOOK: &str = "nvbind-probe --device /dev/nvidia0 --device /dev/nvidia1 --device /dev/nvidiactl";

/// A unit of a test.
struct Service {
    /// Whose systemd it is.
    manager: User,
    /// Whose container it is.
    podman: Podman,
    unit: &'static str,
    container: &'static str,
    path: PathBuf,
}

fn of_system(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let path = PathBuf::from("/etc/systemd/system/gpu-service.service");
    let (unit, container) = ("gpu-service.service", "gpu-service");
    let service = Service { manager: User::Root, podman, unit, container, path };
    let text = match podman.user {
        User::Rootless => OF_SYSTEM.replace("gpu-user", USER),
        User::Root => OF_SYSTEM.replace("User=gpu-user\nGroup=gpu-user\n", ""),
    };
    service.judge(&text.replace("ai-service:latest", &format!("{IMAGE} sleep 1000")))
}

fn of_user(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let path = PathBuf::from(format!("/home/{USER}/.config/systemd/user/user-gpu-service.service"));
    let (unit, container) = ("user-gpu-service.service", "user-gpu-service");
    let service = Service { manager: User::Rootless, podman, unit, container, path };
    service.judge(&OF_USER.replace("personal-ai:latest", &format!("{IMAGE} sleep 1000")))
}

impl Service {
    fn judge(&self, text: &str) -> Result<(), Ended> {
        let drop_in = self.path.with_extension("service.d");
        install(self.manager, &self.path, text)?;
        install(self.manager, &drop_in.join("faster.conf"), FASTER)?;
        // Lanes have no network for containers, and a `sleep` does not end when it is asked to.
        let ended = config::with(
            self.podman,
            "[runtime]\ndefault_args = [\"--network=none\", \"--stop-timeout=0\"]\n",
            || self.live(),
        );
        let stopped = self.systemctl(&["stop", self.unit]);
        let removed = self.podman.remove(&["--ignore", self.container]);
        fs::remove_dir_all(&drop_in).on("remove", &drop_in)?;
        fs::remove_file(&self.path).on("remove", &self.path)?;
        self.systemctl(&["daemon-reload"])?.must()?;
        ended?;
        stopped?.must()?;
        removed
    }

    /// Started, ended by itself, restarted by systemd, and stopped.
    fn live(&self) -> Result<(), Ended> {
        self.systemctl(&["daemon-reload"])?.must()?;
        let started = self.systemctl(&["start", self.unit])?;
        claim(started.code == 0, "the service did not start", || self.told(&started))?;
        let first = self.running(None)?;
        // What a service that ended at once would do meanwhile: start again.
        thread::sleep(Duration::from_secs(1));
        let still = self.running(None)?;
        claim(first == still, "the container was started twice", || self.told(&started))?;
        probe::claim_works(&self.podman.run(&["exec", self.container, "sh", "-c", LOOK])?)?;
        self.podman.must(&["kill", self.container])?;
        self.running(Some(&first))?;
        probe::claim_works(&self.podman.run(&["exec", self.container, "sh", "-c", LOOK])?)?;
        self.systemctl(&["stop", self.unit])?.must()?;
        let state = self.podman.run(&["inspect", "--format={{.State.Running}}", self.container])?;
        claim(state.out.trim() != "true", "the container outlives its service", || self.told(&state))
    }

    fn running(&self, before: Option<&str>) -> Result<String, Ended> {
        running(self.podman, self.container, before, &|said| self.told(said))
    }

    fn systemctl(&self, words: &[&str]) -> Result<Said, Error> {
        systemctl(self.manager, words)
    }

    fn told(&self, said: &Said) -> String {
        let journal = Command::new("journalctl").args(["--no-pager", "--lines=40"]).output();
        let journal = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        format!("{}\n{}", said.told(), journal.unwrap_or_default())
    }
}

/// The id of the running container of this name, once it is another one than `before`; `told` is what is known where it
/// does not come to that.
pub(crate) fn running(
    podman: Podman,
    name: &str,
    before: Option<&str>,
    told: &dyn Fn(&Said) -> String,
) -> Result<String, Ended> {
    let since = Instant::now();
    loop {
        let said = podman.run(&["inspect", "--format={{.State.Running}} {{.Id}}", name])?;
        if let Some(id) = said.out.trim().strip_prefix("true ").filter(|id| Some(*id) != before) {
            return Ok(id.to_owned());
        }
        claim(since.elapsed() < PATIENCE, "the container does not run", || {
            format!("{}\nthe hook's record: {:?}", told(&said), last_failure(podman.user).ok())
        })?;
        thread::sleep(Duration::from_millis(500));
    }
}
