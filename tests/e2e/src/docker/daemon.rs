//! Docker's daemon in a lane, with nothing of the lane's own network.

use crate::command_line::shim::nvbind;
use crate::ended::Ended;
use crate::podman::{Podman, Said, User, said};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::spec::{Init, PAYLOAD, Spec};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Its data: on a file system that an overlay can lie on.
const DATA: &str = "/var/lib/docker";

/// What is made for it outside of nvbind's own installation.
const MADE: [&str; 3] = [
    "/usr/local/bin/nvidia-container-runtime-hook",
    "/etc/docker/daemon.json",
    "/etc/docker/daemon.json.before-nvbind",
];

const LOG: &str = "/tmp/dockerd.log";

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Daemon {
    process: Child,
    pub(super) knows_cdi: bool,
}

impl Daemon {
    /// With what `nvbind setup --docker` makes for it, and the test image.
    pub(super) fn start(spec: &Spec) -> Result<Daemon, Ended> {
        nvbind(User::Root, &["setup", "--docker"])?.must()?;
        fs::create_dir_all(DATA).on("make", Path::new(DATA))?;
        said(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2g", "docker", DATA]))?.must()?;
        let manager = if spec.init == Init::Systemd { "systemd" } else { "cgroupfs" };
        let log = File::create(LOG).on("create", Path::new(LOG))?;
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        dockerd.args(["--storage-driver=overlay2", "--add-runtime=crun=/usr/bin/crun"]);
        dockerd.arg(format!("--exec-opt=native.cgroupdriver={manager}"));
        let errors = log.try_clone().on("share", Path::new(LOG))?;
        dockerd.stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = dockerd.spawn().doing(|| "start dockerd".to_owned())?;
        let mut daemon = Daemon { process, knows_cdi: false };
        match daemon.make_ready() {
            Ok(()) => Ok(daemon),
            Err(ended) => {
                daemon.stop()?;
                Err(ended)
            }
        }
    }

    fn make_ready(&mut self) -> Result<(), Ended> {
        let start = Instant::now();
        let version = loop {
            let version = self.docker(&["version", "--format={{.Server.Version}}"])?;
            if version.code == 0 {
                break version.out;
            }
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(LOG).unwrap_or_default();
                return Err(Ended::failed("dockerd does not answer", format!("{}\n{log}", version.told())));
            }
            thread::sleep(Duration::from_millis(100));
        };
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.knows_cdi = major.is_some_and(|major| major >= 25);
        self.docker(&["import", &format!("{PAYLOAD}/image.tar"), "nvbind-test"])?.must().map(drop)
    }

    pub(super) fn docker(&self, words: &[&str]) -> Result<Said, Error> {
        said(limited(LIMIT, "docker").args(words))
    }

    /// A container with these options.
    pub(super) fn run(&self, podman: Podman, options: &[&str], command: &str) -> Result<Said, Error> {
        let runtime = format!("--runtime={}", podman.runtime());
        let removed: &[&str] = if options.contains(&"--detach") { &[] } else { &["--rm"] };
        let image = ["nvbind-test", "sh", "-c", command];
        self.docker(&[&["run", "--network=none", &runtime], removed, options, &image].concat())
    }

    /// docker-compose, in the case's folder.
    pub(super) fn compose(&self, words: &[&str]) -> Result<Said, Error> {
        said(limited(LIMIT, "docker-compose").current_dir("/tmp/docker-case").args(words))
    }

    /// Ends it, and takes back what was made for it.
    pub(super) fn stop(mut self) -> Result<(), Ended> {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap_or_default());
        // One that has ended already is waited for all the same.
        let _ = kill(id, Signal::SIGTERM);
        self.process.wait().doing(|| "wait for dockerd".to_owned())?;
        said(Command::new("umount").args(["--recursive", "--lazy", DATA]))?.must()?;
        // What `nvbind setup --uninstall` would take back; the lane's other cases need the rest.
        for path in MADE.iter().map(Path::new).filter(|path| path.symlink_metadata().is_ok()) {
            fs::remove_file(path).on("remove", path)?;
        }
        nvbind(User::Root, &["cdi", "remove"])?.must().map(drop)
    }
}
