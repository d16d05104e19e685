//! `podman update`, which hands the runtime podman's own list of device rules. It does not have those that the hook
//! made, and crun of Podman 5 takes away what is not in it; `nvbind run --device-rules` puts them there.

use crate::case::{
    CRUN, Case, RELEASE, ROOTFUL, ROOTLESS, RUNC, RUNTIME, SAME_KERNEL, Skip, V1, V2, WHO, skip,
};
use crate::command_line::shim;
use crate::container::{ASK, GPU, PLAIN, claim_works_in, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, User};
use crate::probe;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    WITH_RULES,
    Case::new("podman-update-without-rules", without_rules)
        .each(&[RELEASE])
        .only(&[&[CRUN, ROOTFUL]])
        .may_skip(NO_CONTROLLER)
        .takes(2),
];

pub(crate) const WITH_RULES: Case =
    Case::new("podman-update", update).each(&[RUNTIME, WHO, RELEASE]).may_skip(NO_CONTROLLER);

/// Lanes of version 2 have the controllers that the machine's version 1 leaves over, and a user has none of version 1.
/// Virtual machines have all.
const NO_CONTROLLER: &[Skip] = &[
    skip(&[&[V2, SAME_KERNEL, CRUN]], "controller `cpu` is not available"),
    skip(&[&[V2, SAME_KERNEL, RUNC]], "/cpu.weight: no such file or directory"),
    skip(&[&[V1, ROOTLESS, CRUN]], "opening file `cpu.shares` for writing: Permission denied"),
    skip(&[&[V1, ROOTLESS, RUNC]], "cannot set cpu limit: container could not join or create cgroup"),
];

/// A limit that every cgroup has room for.
const LIMIT: &str = "--cpu-shares=512";

/// The other GPU's node: what is not asked for stays forbidden.
const UNASKED: [&str; 2] = ["--volume", probe::UNASKED];

/// A container that `nvbind run --device-rules` started has its GPU after an update, and only that.
fn update(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        control(podman)?;
        let runtime = format!("--runtime={}", podman.runtime());
        let options = ["--network=none", "--gpu=0", "--detach", "--stop-timeout=0", "--name", GPU, &runtime];
        let mut words = vec!["run", "--device-rules"];
        words.extend(options.iter().chain(&UNASKED).chain(&[IMAGE, "sleep", "1000"]));
        let started = shim::nvbind(podman.user, &words)?.must()?;
        let told = started.err.contains("--device-rules is left out");
        claim(told == (podman.user == User::Rootless), "the note on the rules is wrong", || started.told())?;
        let unasked = (podman.user == User::Root).then_some("EPERM");
        claim_works_in(podman, &[], unasked)?;
        podman.must(&["update", LIMIT, GPU])?;
        claim_works_in(podman, &[], unasked)
    })
}

/// What happens otherwise, as the reference tells it: until the next start.
fn without_rules(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        control(podman)?;
        let options: Vec<&str> = ["--detach", "--stop-timeout=0"].into_iter().chain(ASK).collect();
        run(podman, GPU, &options, "sleep 1000")?.must()?;
        podman.must(&["update", LIMIT, GPU])?;
        let version = podman.must(&["version", "--format", "{{.Client.Version}}"])?.out;
        let works = claim_works_in(podman, &[], None);
        let is_lost = matches!(&works, Err(Ended::Failed { reason, .. }) if reason.contains("EPERM"));
        // Podman 4 hands over what the update changes alone.
        claim(
            is_lost != version.starts_with("4."),
            "podman update is not as the reference tells it",
            || format!("podman {version}: {works:?}"),
        )?;
        podman.must(&["restart", "--time=0", GPU])?;
        claim_works_in(podman, &[], None)
    })
}

/// The same without a GPU; where the runtime can't do it, as without the cgroup controller, the case is skipped in its
/// words.
fn control(podman: Podman) -> Result<(), Ended> {
    run(podman, PLAIN, &["--detach", "--stop-timeout=0"], "sleep 1000")?.must()?;
    let said = podman.run(&["update", LIMIT, PLAIN])?;
    let name = podman.must(&["inspect", "--format", "{{.Id}}", PLAIN])?.out;
    let reason = said.err.lines().next().unwrap_or_default().replace(name.trim(), "ID");
    if said.code == 0 { Ok(()) } else { Err(Ended::Skipped(reason)) }
}
