//! A job of a scheduler, whose device cgroup has some of the machine's GPUs: containers count and get those.

use crate::case::{CGROUP, Case, NO_SYSTEMD, RUNTIME, WHO};
use crate::command_line::shim::nvbind;
use crate::container::{GPU, PLAIN, run, then_remove};
use crate::containers::refusals::refused;
use crate::devices::guard::{Guard, Lets};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, User};

/// The cases, by name.
pub(crate) const CASES: &[Case] =
    &[Case::new("job", job).each(&[RUNTIME, WHO, CGROUP]).only(&[&[NO_SYSTEMD]]).takes(3)];

/// How the UUID of the GPU begins that the job has not, the machine's first.
const DENIED: &str = "GPU-51a7ed00";

/// Prints the nodes of GPUs, and whether the one that the job has can be opened: the simulated driver answers nothing.
const LOOK: &str = "echo /dev/nvidia[0-9]; (: </dev/nvidia0) || true";

fn job(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    // Root's, as it is its filter that is copied on cgroup v2.
    let root = Podman { user: User::Root, ..podman };
    then_remove(root, || {
        let rules = [
            "c 195:0 rwm",
            "c 195:254 rwm",
            "c 195:255 rwm",
            "c 10:* rwm",
            "c 235:* rwm",
            "c 226:* rwm",
            "c 384:* rwm",
        ];
        let rules = rules.map(|rule| format!("--device-cgroup-rule={rule}"));
        let options: Vec<&str> =
            ["--detach", "--stop-timeout=0"].into_iter().chain(rules.iter().map(String::as_str)).collect();
        run(root, PLAIN, &options, "sleep 1000")?.must()?;
        let guard = Guard::make(&lane.spec, root, Lets::OtherGpus)?;
        let ended = inside(podman, &guard.parent);
        let removed = podman.remove(&["--ignore", GPU]);
        let undone = guard.end();
        ended.and(removed).and(undone)
    })
}

fn inside(podman: Podman, parent: &str) -> Result<(), Ended> {
    // A rootful podman's containers leave their caller's cgroup, unless they are told to be below it.
    let parent = format!("--cgroup-parent={parent}");
    let below: &[&str] = if podman.user == User::Root { &[&parent] } else { &[] };
    for gpus in ["all", "0"] {
        let annotation = format!("--annotation=io.nvbind.gpu={gpus}");
        let options = [below, &[annotation.as_str()]].concat();
        then_remove(podman, || {
            let said = run(podman, GPU, &options, LOOK)?.must()?;
            claim(said.out.trim() == "/dev/nvidia0", "it has other GPUs than the job", || said.told())?;
            claim(!said.err.contains("not permitted"), "the job's GPU cannot be opened", || said.told())
        })?;
    }
    for (gpus, code, says) in [
        (DENIED, 4, "the device cgroup denies GPU"),
        ("0000:17:00.0", 4, "the device cgroup denies GPU"),
        ("1", 3, "there is no GPU 1; this machine has 0 (GPU-51a7ed01"),
    ] {
        let annotation = format!("--annotation=io.nvbind.gpu={gpus}");
        refused(podman, &[below, &[annotation.as_str()]].concat(), &[code], says)?;
        let planned = nvbind(podman.user, &["plan", "--gpu", gpus])?;
        claim(planned.code == code && planned.err.contains(says), "the plan is another", || planned.told())?;
    }
    let told = nvbind(podman.user, &["info"])?.must()?;
    claim(told.out.contains("denied  0000:17:00.0 by the device cgroup"), "info is silent", || told.told())?;
    let told = nvbind(podman.user, &["doctor"])?;
    claim(told.out.contains("have 1 of 2 GPUs"), "doctor is silent", || told.told())
}
