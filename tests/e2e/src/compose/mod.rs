//! Compose files, as `podman-compose` reads them, and `docker-compose` over podman's socket.

use crate::case::{
    BOOKWORM_PODMAN, CRUN, Case, NO_SYSTEMD, ONE_OF_EACH_RELEASE, RELEASE, ROOTLESS, SYSTEMD, TRIXIE_PODMAN,
    V1, WHO, Where,
};
use crate::command_line::shim;
use crate::container::{PLAIN, then_remove};
use crate::containers::cdi::with_specification;
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, configure, use_driver};
use crate::podman::{IMAGE, Podman, Said, User, as_user, said};
use crate::probe;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::{USER_ID, write};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The same with crun only.
const CRUN_OF_EACH_RELEASE: Where =
    &[&[BOOKWORM_PODMAN, V1, NO_SYSTEMD, CRUN], &[TRIXIE_PODMAN, SYSTEMD, CRUN]];

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("compose/podman-compose", podman_compose)
        .each(&[WHO, RELEASE])
        .only(ONE_OF_EACH_RELEASE)
        .takes(8),
    Case::new("compose/docker-compose", docker_compose)
        .each(&[WHO, RELEASE])
        .only(&[&[BOOKWORM_PODMAN, V1, NO_SYSTEMD, CRUN, ROOTLESS], &[TRIXIE_PODMAN, SYSTEMD]])
        .takes(6),
    Case::new("compose/podman", podman_itself).only(&[&[TRIXIE_PODMAN, SYSTEMD, CRUN, ROOTLESS]]).takes(6),
    Case::new("compose/visible-devices", visible_devices)
        .each(&[WHO, RELEASE])
        .only(CRUN_OF_EACH_RELEASE)
        .takes(6),
    Case::new("compose/device-reservations", reservations)
        .each(&[RELEASE])
        .only(&[
            &[BOOKWORM_PODMAN, V1, NO_SYSTEMD, CRUN, ROOTLESS],
            &[TRIXIE_PODMAN, SYSTEMD, CRUN, ROOTLESS],
        ])
        .takes(7),
    Case::new("compose/cdi", devices).only(&[&[TRIXIE_PODMAN, SYSTEMD, CRUN, ROOTLESS]]).takes(8),
];

/// A program that reads compose files.
#[derive(Clone, Copy)]
struct Tool {
    words: &'static [&'static str],
    /// Whether it speaks with podman's service, not with the program.
    by_socket: bool,
}

const PODMAN_COMPOSE: Tool = Tool { words: &["podman-compose"], by_socket: false };
const DOCKER_COMPOSE: Tool = Tool { words: &["docker-compose"], by_socket: true };
const PODMAN_ITSELF: Tool = Tool { words: &["podman", "compose"], by_socket: true };

/// The folder of the file, after which the tools name what they make.
const PROJECT: &str = "/tmp/compose-case";

/// What podman is told for all of a case; docker-compose has no word for it.
const SETTINGS: &str = "/etc/containers/containers.conf.d/compose.conf";

/// Services that ask in both notations, and one that does not. The init ends `sleep` when it is asked to.
const ANNOTATIONS: &str = "services:
  first:
    image: IMAGE
    command: sleep 1000
    init: true
    annotations:
      io.nvbind.gpu: \"0\"
  both:
    image: IMAGE
    command: sleep 1000
    init: true
    annotations:
      - io.nvbind.gpu=0+1
  none:
    image: IMAGE
    command: sleep 1000
    init: true
";

/// One that asks by a variable.
const VARIABLE: &str = "services:
  first:
    image: IMAGE
    command: sleep 1000
    init: true
    environment:
      NVIDIA_VISIBLE_DEVICES: \"0\"
      NVIDIA_DRIVER_CAPABILITIES: all
";

/// One that asks as docker has it.
const RESERVATION: &str = "services:
  first:
    image: IMAGE
    command: sleep 1000
    init: true
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: all
              capabilities: [gpu]
";

/// One that asks by a device, as podman-compose hands it to podman.
const DEVICES: &str = "services:
  first:
    image: IMAGE
    command: sleep 1000
    init: true
    devices:
      - nvidia.com/gpu=0
";

/// What a person adds to that.
const ADDED: &str = "    annotations:\n      io.nvbind.gpu: \"0\"\n";

const BOTH: &str = "nvbind-probe --device /dev/nvidia0 --device /dev/nvidia1 --device /dev/nvidiactl";
const NONE: &str = "test ! -e /dev/nvidiactl && test ! -e /usr/local/nvidia";

/// Where the case of the variable installs nvbind: the hook would judge every container of the lane.
const PREFIX: &str = "/opt/compose-case";

/// How long the socket may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// No case takes this long.
const SERVICE_LIMIT: Duration = Duration::from_secs(240);

fn podman_compose(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with(podman, PODMAN_COMPOSE, "", |project| project.lives())
}

fn docker_compose(_: &Lane, podman: Podman) -> Result<(), Ended> {
    if !is_old(podman)? {
        return with(podman, DOCKER_COMPOSE, "", |project| project.lives());
    }
    // It knows of no annotations, and refuses the file.
    with(podman, DOCKER_COMPOSE, "", |project| {
        project.write(ANNOTATIONS)?;
        let refused = project.run(&["up", "-d"])?;
        let told = refused.err.contains("Unsupported config option for services.first: 'annotations'");
        claim(refused.code != 0 && told, "annotations are taken, or dropped", || refused.told())
    })
}

/// Which only starts another of the tools.
fn podman_itself(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with(podman, PODMAN_ITSELF, "", |project| project.lives())
}

/// What is left where annotations are not taken.
fn visible_devices(_: &Lane, podman: Podman) -> Result<(), Ended> {
    shim::nvbind(User::Root, &["setup", "--visible-devices", "--prefix", PREFIX])?.must()?;
    configure(DRIVER, "[security]\nvisible_devices_when_unprivileged = true\n")?;
    let hooks = format!("hooks_dir = [\"{PREFIX}/share/containers/oci/hooks.d\"]\n");
    let ended = [DOCKER_COMPOSE, PODMAN_COMPOSE].into_iter().try_for_each(|tool| {
        with(podman, tool, &hooks, |project| {
            project.write(VARIABLE)?;
            project.up()?;
            project.claim_sees("first", &probe::command(None))
        })
    });
    use_driver(DRIVER)?;
    shim::nvbind(User::Root, &["setup", "--uninstall", "--prefix", PREFIX])?.must()?;
    ended
}

/// Docker's way to ask: podman-compose makes a CDI device of it, podman's service knows nothing of it.
fn reservations(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let is_old = is_old(podman)?;
    with(podman, PODMAN_COMPOSE, "", |project| {
        project.write(RESERVATION)?;
        let started = project.run(&["up", "-d"])?;
        if is_old {
            return project.claim_sees("first", NONE);
        }
        let told = format!("{}{}", started.out, started.err);
        let told = told.contains("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all");
        claim(told, "podman has a CDI device, or does not tell of it", || started.told())
    })?;
    with(podman, DOCKER_COMPOSE, "", |project| {
        project.write(RESERVATION)?;
        project.up()?;
        project.claim_sees("first", NONE)?;
        project.down()?;
        if is_old {
            return Ok(());
        }
        // Beside the file, with and without what Docker has for it.
        ["", "    deploy: !reset null\n"].into_iter().try_for_each(|more| {
            let text = format!("services:\n  first:\n{ADDED}{more}");
            write(&Path::new(PROJECT).join("compose.override.yaml"), &text)?;
            project.up()?;
            project.claim_sees("first", &probe::command(None))?;
            project.down()
        })
    })
}

/// The same with nvbind's specification: podman-compose's devices are found, and those that docker-compose names as
/// CDI's. podman's service still drops what is for NVIDIA's driver.
fn devices(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let first = RESERVATION.replace("count: all", "device_ids: [\"0\"]");
    let by_cdi = first.replace("driver: nvidia", "driver: cdi").replace("[\"0\"]", "[nvidia.com/gpu=0]");
    let one = probe::command(None);
    with_specification(|| {
        for (tool, text, look) in [
            (PODMAN_COMPOSE, RESERVATION, BOTH),
            (PODMAN_COMPOSE, &first, &one),
            (PODMAN_COMPOSE, DEVICES, &one),
            (DOCKER_COMPOSE, RESERVATION, NONE),
            (DOCKER_COMPOSE, &by_cdi, &one),
        ] {
            with(podman, tool, "", |project| {
                project.write(text)?;
                project.up()?;
                project.claim_sees("first", look)?;
                project.down()
            })?;
        }
        Ok(())
    })
}

/// Whether the lane's docker-compose is the first one, in Python.
fn is_old(podman: Podman) -> Result<bool, Ended> {
    let mut version = Command::new("docker-compose");
    version.arg("--version");
    Ok(said(&mut as_user(podman.user, version))?.must()?.out.contains("version 1."))
}

/// A compose file in the hands of a tool.
struct Project {
    podman: Podman,
    tool: Tool,
}

impl Project {
    fn write(&self, text: &str) -> Result<(), Error> {
        write(&Path::new(PROJECT).join("compose.yaml"), &text.replace("IMAGE", IMAGE))
    }

    fn run(&self, words: &[&str]) -> Result<Said, Error> {
        let [program, first @ ..] = self.tool.words else { return Err(Error::failed("a tool has no name")) };
        let mut command = as_user(self.podman.user, limited(shim::LIMIT, program));
        if self.tool.by_socket {
            command.env("DOCKER_HOST", format!("unix://{}", socket(self.podman.user)));
        }
        said(command.args(first).args(words).current_dir(PROJECT))
    }

    fn up(&self) -> Result<(), Ended> {
        // podman-compose ends with 0 even where podman did not start a container.
        let started = self.run(&["up", "-d"])?;
        claim(started.code == 0, "the services did not start", || started.told())
    }

    fn down(&self) -> Result<(), Ended> {
        let stopped = self.run(&["down"])?;
        let left = self.podman.must(&["ps", "--all", "--quiet"])?;
        claim(stopped.code == 0 && left.out.is_empty(), "containers are left", || {
            format!("{}{}", stopped.told(), left.told())
        })
    }

    /// Started, started again, and stopped.
    fn lives(&self) -> Result<(), Ended> {
        self.write(ANNOTATIONS)?;
        self.up()?;
        let first = self.claim_all()?;
        let restarted = self.run(&["restart"])?;
        claim(restarted.code == 0, "the services did not start again", || restarted.told())?;
        let second = self.claim_all()?;
        claim(first != second, "the services were not started again", || restarted.told())?;
        self.down()
    }

    /// Each service sees what it asked for; the first one's process.
    fn claim_all(&self) -> Result<String, Ended> {
        self.claim_sees("first", &probe::command(None))?;
        self.claim_sees("both", BOTH)?;
        self.claim_sees("none", NONE)?;
        let format = "--format={{.State.Pid}} {{.OCIRuntime}}";
        let shown = self.podman.must(&["inspect", format, &self.container("first")?])?;
        let (process, runtime) = shown.out.trim().split_once(' ').unwrap_or_default();
        claim(runtime == self.podman.runtime(), "the runtime is another one", || shown.told())?;
        Ok(process.to_owned())
    }

    fn claim_sees(&self, service: &str, look: &str) -> Result<(), Ended> {
        let container = self.container(service)?;
        let seen = self.podman.run(&["exec", &container, "sh", "-c", look])?;
        if look == NONE { seen.must().map(drop) } else { probe::claim_works(&seen) }
    }

    /// The container of a service, running or not.
    fn container(&self, service: &str) -> Result<String, Ended> {
        let filter = format!("--filter=label=com.docker.compose.service={service}");
        let found = self.podman.must(&["ps", "--all", "--quiet", &filter])?;
        match found.out.split_whitespace().collect::<Vec<_>>().as_slice() {
            [one] => Ok((*one).to_owned()),
            _ => Err(found.failed(format!("the service {service} has no container"))),
        }
    }
}

/// Runs the body with a tool, where podman has networks; `more` is for containers.conf. Nothing is left of it.
fn with(
    podman: Podman,
    tool: Tool,
    more: &str,
    body: impl FnOnce(&Project) -> Result<(), Ended>,
) -> Result<(), Ended> {
    let runtime = podman.runtime();
    // The lane has no program for podman's newer firewall.
    let text =
        format!("[engine]\nruntime = \"{runtime}\"\n{more}[network]\nfirewall_driver = \"iptables\"\n");
    write(Path::new(SETTINGS), &text)?;
    fs::create_dir_all(PROJECT).on("make", Path::new(PROJECT))?;
    let ended = claim_network(podman).and_then(|()| {
        let service = if tool.by_socket { Some(Service::start(podman)?) } else { None };
        let ended = body(&Project { podman, tool });
        // Pods and networks are podman-compose's to make, and are not always removed.
        let removed = podman.remove(&["--all"]);
        podman.run(&["pod", "rm", "--all", "--force"])?;
        podman.run(&["network", "prune", "--force"])?;
        service.map_or(Ok(()), Service::stop)?;
        ended.and(removed)
    });
    fs::remove_dir_all(PROJECT).on("remove", Path::new(PROJECT))?;
    fs::remove_file(SETTINGS).on("remove", Path::new(SETTINGS))?;
    ended
}

/// A network with a name, as the tools make one, is between podman and the machine.
fn claim_network(podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        podman.must(&["network", "create", PLAIN])?;
        let alone = podman.run(&["run", "--name", PLAIN, "--network", PLAIN, IMAGE, "true"])?;
        podman.remove(&["--ignore", PLAIN])?;
        podman.must(&["network", "rm", PLAIN])?;
        if alone.code == 0 { Ok(()) } else { Err(Ended::Skipped(alone.last_words().to_owned())) }
    })
}

/// podman's service, for one user.
pub(crate) struct Service {
    process: Child,
    pub(crate) path: String,
}

impl Service {
    /// Starts it, and waits for its socket.
    pub(crate) fn start(podman: Podman) -> Result<Service, Ended> {
        let path = socket(podman.user);
        let mut command = as_user(podman.user, limited(SERVICE_LIMIT, "podman"));
        command.args(["system", "service", "--time=0", &format!("unix://{path}")]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().doing(|| "start podman's service".into())?;
        let since = Instant::now();
        while !Path::new(&path).exists() {
            claim(since.elapsed() < PATIENCE, "podman's service has no socket", || path.clone())?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Service { process, path })
    }

    pub(crate) fn stop(mut self) -> Result<(), Ended> {
        let pid = i32::try_from(self.process.id()).map_err(|error| Error::failed(error.to_string()))?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).doing(|| "stop podman's service".into())?;
        self.process.wait().doing(|| "wait for podman's service".into())?;
        if Path::new(&self.path).exists() {
            fs::remove_file(&self.path).on("remove", Path::new(&self.path))?;
        }
        Ok(())
    }
}

fn socket(user: User) -> String {
    match user {
        User::Root => "/run/compose-case.sock".to_owned(),
        User::Rootless => format!("/run/user/{USER_ID}/compose-case.sock"),
    }
}
