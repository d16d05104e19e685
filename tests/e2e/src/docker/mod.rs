//! Docker, by Debian's own daemon: `--gpus`, devices of CDI, and compose files, as `nvbind setup --docker` makes them
//! work for each version.

mod daemon;

use crate::case::{
    BOOKWORM_PODMAN, CRUN, Case, NO_SYSTEMD, RELEASE, ROOTFUL, RUNC, RUNTIME, SYSTEMD, TRIXIE_PODMAN, V1,
    Where,
};
use crate::container::STAYS;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, Said, User};
use crate::probe::{BOTH, NOTHING, OTHER};
use crate::services::quadlet::systemctl;
use daemon::Daemon;
use nvbind_lanes::spec::Init;
use nvbind_lanes::tree::write;
use std::path::Path;

/// Both versions, both cgroup versions and managers, and both runtimes: Docker has crun limit I/O, for which a lane
/// with cgroup v2 has no controller.
const EACH: Where = &[
    &[BOOKWORM_PODMAN, V1, NO_SYSTEMD, ROOTFUL],
    &[TRIXIE_PODMAN, SYSTEMD, RUNC, ROOTFUL],
    &[TRIXIE_PODMAN, V1, NO_SYSTEMD, CRUN, ROOTFUL],
];

/// The cases, by name. The runtime is that of Docker's containers.
pub(crate) const CASES: &[Case] = &[
    Case::new("docker", docker).each(&[RUNTIME, RELEASE]).only(EACH).takes(20),
    Case::new("docker-compose", compose).each(&[RELEASE]).only(EACH).takes(10),
];

/// The libraries that a container has by `--gpus`, whose default is NVIDIA's: compute and utility.
const LIBRARIES: &str = "NVBIND_PROBE_LIBRARIES='libcuda.so.1 libnvidia-ml.so.1'";

/// The first GPU alone, by its nodes: [`probe::command`](crate::probe::command) looks for all libraries, too.
const FIRST: &str = "nvbind-probe --device /dev/nvidiactl --device /dev/nvidia1 --device /dev/nvidia0=ENOENT";

/// Options of every version, and what a container has by them.
const GPUS: &[(&[&str], &str)] = &[
    (&["--gpus=all"], BOTH),
    (&["--gpus=1"], FIRST),
    (&["--gpus=device=1"], OTHER),
    (&["--gpus=all", "--env=NVIDIA_VISIBLE_DEVICES=0"], BOTH),
    (&["--gpus=device=1", "--privileged=false", "--cap-drop=ALL", "--user=1000", "--read-only"], OTHER),
    (&[], NOTHING),
    (&["--env=NVIDIA_VISIBLE_DEVICES=all"], NOTHING),
];

/// Options of those that know CDI.
const DEVICES: &[(&[&str], &str)] = &[
    (&["--device=nvidia.com/gpu=0"], FIRST),
    (&["--device=nvbind.io/gpu=1"], OTHER),
    (&["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=1"], BOTH),
    (&["--device=nvidia.com/gpu=0", "--gpus=device=1"], BOTH),
    (&["--device=nvidia.com/gpu=none", "--annotation=io.nvbind.gpu=1"], OTHER),
];

fn docker(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    let daemon = Daemon::start(&lane.spec)?;
    let ended = lives(lane, podman, &daemon);
    let stopped = daemon.stop();
    ended.and(stopped)
}

fn lives(lane: &Lane, podman: Podman, daemon: &Daemon) -> Result<(), Ended> {
    let devices = if daemon.knows_cdi { DEVICES } else { &[] };
    for (options, look) in GPUS.iter().chain(devices) {
        let said = daemon.run(podman, options, &format!("{LIBRARIES} {look}"))?;
        claim(said.code == 0, &format!("{options:?}: other GPUs than were asked for"), || said.told())?;
    }
    let refused = daemon.run(podman, &["--gpus=device=7"], "true")?;
    claim(refused.code != 0 && tells(podman, &refused, "there is no GPU 7"), "GPU 7 is there", || {
        refused.told()
    })?;
    let look = format!("{LIBRARIES} {FIRST}");
    let kept = ["--detach", "--name=kept", "--gpus=1"];
    daemon.run(podman, &kept, STAYS)?.must()?;
    let again = |words: &[&str]| daemon.docker(words)?.must();
    again(&["exec", "kept", "sh", "-c", &look])?;
    again(&["restart", "--time=0", "kept"])?;
    again(&["exec", "kept", "sh", "-c", &look])?;
    if lane.spec.init == Init::Systemd {
        // Where NVIDIA's own hook loses the GPUs.
        systemctl(User::Root, &["daemon-reload"])?.must()?;
        again(&["exec", "kept", "sh", "-c", &look])?;
    }
    again(&["rm", "--force", "kept"]).map(drop)
}

/// crun throws a hook's words away.
fn tells(podman: Podman, said: &Said, words: &str) -> bool {
    podman.runtime() == "crun" || said.err.contains(words)
}

/// A service for each of both GPUs, in the words of these documents.
const COMPOSE: &str = "services:
  first:
    image: nvbind-test
    command: [sh, -c, \"STAYS\"]
    network_mode: none
    deploy:
      resources:
        reservations:
          devices:
            - driver: DRIVER
              device_ids: [\"ID\"]
              capabilities: [gpu]
";

fn compose(lane: &Lane, _: Podman) -> Result<(), Ended> {
    let daemon = Daemon::start(&lane.spec)?;
    let ways: &[(&str, &str)] = &[("nvidia", "1"), ("cdi", "nvidia.com/gpu=1")];
    let ways = if daemon.knows_cdi { ways } else { ways.split_at(1).0 };
    let ended = ways.iter().try_for_each(|(driver, id)| {
        let text = COMPOSE.replace("STAYS", STAYS).replace("DRIVER", driver).replace("ID", id);
        write(Path::new("/tmp/docker-case/docker-compose.yml"), &text)?;
        let started = daemon.compose(&["up", "--detach"])?;
        let looked = daemon.compose(&["exec", "-T", "first", "sh", "-c", &format!("{LIBRARIES} {OTHER}")])?;
        daemon.compose(&["down", "--timeout=0"])?;
        claim(started.code == 0 && looked.code == 0, &format!("driver: {driver}: not that GPU"), || {
            format!("{}\n{}", started.told(), looked.told())
        })
    });
    let stopped = daemon.stop();
    ended.and(stopped)
}
