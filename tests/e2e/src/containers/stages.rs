//! The hook at stage createContainer, the alternative for runtimes that give no usable pid.

use crate::case::{Case, RUNTIME, WHO};
use crate::container::{ASK, GPU, control, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane};
use crate::podman::{Podman, Runtime, User};
use crate::probe;
use nvbind_lanes::tree::write;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("create-container", create_container).each(&[RUNTIME, WHO])];

const HOOKS: &str = "/opt/create-container-hooks";

/// The exit code of a hook that may not change what it would have to.
const NOT_ALLOWED: i32 = 4;

/// No cgroup can be changed at this stage: a rootful container has to have been given the nodes.
fn create_container(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let json = r#"{"version": "1.0.0",
        "hook": {"path": "/usr/local/libexec/nvbind/nvbind-hook", "args": ["nvbind-hook", "createContainer"],
                 "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "when": {"annotations": {"^io\\.nvbind\\.gpu$": ".*"}},
        "stages": ["createContainer"]}"#;
    write(&Path::new(HOOKS).join("nvbind.json"), json)?;
    let hooks = [ASK[0], ASK[1], "--hooks-dir", HOOKS];
    then_remove(podman, || {
        control(podman, &[], "true")?;
        let alone = run(podman, GPU, &hooks, &probe::command(None))?;
        if podman.user == User::Rootless {
            return probe::claim_works(&alone);
        }
        let code = match podman.runtime {
            Runtime::Crun => format!("exit code: {NOT_ALLOWED}"),
            Runtime::Runc => format!("exit status {NOT_ALLOWED}"),
        };
        claim(alone.err.contains(&code), "the hook did not refuse what it cannot allow", || alone.told())?;
        podman.remove(&[GPU])?;
        let nodes: Vec<String> =
            probe::NODES.iter().map(|path| format!("--device={DRIVER}{path}:{path}")).collect();
        let all: Vec<&str> = hooks.iter().copied().chain(nodes.iter().map(String::as_str)).collect();
        probe::claim_works(&run(podman, GPU, &all, &probe::command(None))?)
    })
}
