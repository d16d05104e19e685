//! Device nodes that only a group of the host, or only root, may use.

use super::Function;
use super::container::{ASK, GPU, run, then_remove};
use super::ended::{Ended, claim};
use super::lane::Lane;
use super::podman::{IMAGE, Podman, Runtime, Said, User, said};
use super::probe;
use super::refusals::{refused, with_driver};
use super::shim::{LIMIT, NOT_STARTED, NVBIND};
use crate::limits::limited;

/// The cases, by name.
pub(crate) const CASES: &[(&str, Function)] = &[("group-only", group_only), ("owner-only", owner_only)];

/// As some distributions and administrators have the nodes.
const FOR_VIDEO: &str =
    "cp -a $2 $1 && find $1/dev -type c -exec chgrp video {} + && find $1/dev -type c -exec chmod 0660 {} +";
/// Everybody can read them: that is not enough.
const TO_READ: &str = "cp -a $2 $1 && find $1/dev -type c -exec chmod 0644 {} +";
const GROUP: &str = "video";
/// Its number in every Debian (base-passwd).
const MODE_AND_GROUP: &str = "660 44\n";

/// By which a container has the groups of its user.
const KEEP: &str = "--group-add=keep-groups";
const KEEPING: [&str; 3] = [ASK[0], ASK[1], KEEP];

/// The exit code of a hook that may not give what was asked for.
const NOT_PERMITTED: i32 = 4;

fn group_only(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver(FOR_VIDEO, || match podman.user {
        User::Root => then_remove(podman, || {
            probe::claim_works(&run(podman, GPU, &ASK, &probe::command(None))?)?;
            podman.remove(&[GPU])?;
            let node = run(podman, GPU, &ASK, "stat -c '%a %g' /dev/nvidia1")?;
            claim(node.out == MODE_AND_GROUP, "the node is not the group's as on the host", || node.told())
        }),
        User::Rootless => {
            let member = Podman { group: Some(GROUP), ..podman };
            for user in [podman, member] {
                refused(user, &ASK, &[NOT_PERMITTED], "is for its owner and group alone (0660)")?;
            }
            claim_told(podman, &["it is for its owner and group video alone (0660)", "join group video"])?;
            claim_told(member, &["is for group video alone (0660)", "add `--group-add keep-groups`"])?;
            match podman.runtime {
                Runtime::Crun => keeps_groups(podman, member),
                // It passes over what podman says of the groups.
                Runtime::Runc => refused(
                    member,
                    &KEEPING,
                    &[NOT_PERMITTED],
                    "start with crun and `--group-add keep-groups`",
                ),
            }
        }
    })
}

fn owner_only(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver(TO_READ, || match podman.user {
        User::Root => {
            then_remove(podman, || probe::claim_works(&run(podman, GPU, &ASK, &probe::command(None))?))
        }
        User::Rootless => {
            let member = Podman { group: Some(GROUP), ..podman };
            refused(member, &KEEPING, &[NOT_PERMITTED], "nobody but its owner can read and write")?;
            claim_told(podman, &["nobody but its owner can read and write it (0644)", "by a udev rule"])
        }
    })
}

/// `nvbind run` of a GPU with other options.
fn nvbind_run(podman: Podman, options: &[&str], command: &str) -> Result<Said, Ended> {
    let runtime = format!("--runtime={}", podman.runtime());
    let mut line = podman.started(limited(LIMIT, NVBIND));
    line.args(["run", "--network=none", "--gpu=0", "--name", GPU, &runtime]).args(options);
    Ok(said(line.args([IMAGE, "sh", "-c", command]))?)
}

/// `nvbind run` starts no container, and says why and what to do.
fn claim_told(podman: Podman, texts: &[&str]) -> Result<(), Ended> {
    let said = nvbind_run(podman, &[], "echo started")?;
    let told = texts.iter().all(|text| said.err.contains(text));
    claim(told && said.code == NOT_STARTED, "the pre-flight does not tell of the group", || said.told())
}

/// With its groups kept, which crun alone can, a container of the group's member has the GPU, and nobody else's has.
fn keeps_groups(other: Podman, member: Podman) -> Result<(), Ended> {
    refused(other, &KEEPING, &[NOT_PERMITTED], "you are not in that group")?;
    let look = probe::command(None);
    then_remove(member, || probe::claim_works(&run(member, GPU, &KEEPING, &look)?))?;
    then_remove(member, || probe::claim_works(&nvbind_run(member, &[KEEP], &look)?))
}
