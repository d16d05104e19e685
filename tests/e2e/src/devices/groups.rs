//! Device nodes that only a group of the host, or only root, may use.

use crate::case::{Case, ROOTLESS, RUNTIME, WHO};
use crate::command_line::shim::{LIMIT, NOT_STARTED, NVBIND};
use crate::container::{ASK, GPU, run, then_remove};
use crate::containers::refusals::{BROKEN, refused, with_driver};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Runtime, Said, User, said};
use crate::probe;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::USER_ID;
use rustix::fs::{XattrFlags, setxattr};
use std::io;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("group-only", group_only).each(&[RUNTIME, WHO]),
    Case::new("owner-only", owner_only).each(&[WHO]),
    Case::new("uaccess", uaccess).each(&[RUNTIME]).only(&[&[ROOTLESS]]),
    Case::new("drm-group-only", drm_group_only).each(&[RUNTIME]).only(&[&[ROOTLESS]]),
];

/// As some distributions and administrators have the nodes.
const FOR_VIDEO: &str =
    "cp -a $2 $1 && find $1/dev -type c -exec chgrp video {} + && find $1/dev -type c -exec chmod 0660 {} +";
/// Everybody can read them: that is not enough.
const TO_READ: &str = "cp -a $2 $1 && find $1/dev -type c -exec chmod 0644 {} +";
/// As most distributions have DRM's nodes, for a user who is at no seat.
const DRM_FOR_VIDEO: &str = "cp -a $2 $1 && chgrp video $1/dev/dri/* && chmod 0660 $1/dev/dri/*";
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
            claim_told(
                podman,
                &["nobody but its owner can read and write it (0644)", "`nvbind setup --device-mode 0666`"],
            )
        }
    })
}

/// As the user at a seat has DRM's nodes: by an access control list, in no group.
fn uaccess(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver(FOR_VIDEO, || {
        for path in probe::NODES {
            name_user(&Path::new(BROKEN).join(path.trim_start_matches('/')))?;
        }
        let look = probe::command(None);
        then_remove(podman, || probe::claim_works(&run(podman, GPU, &ASK, &look)?))?;
        then_remove(podman, || probe::claim_works(&nvbind_run(podman, &[], &look)?))
    })
}

/// A container that did not ask for graphics starts without them; one that did, does not.
fn drm_group_only(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver(DRM_FOR_VIDEO, || {
        let look =
            "nvbind-probe --device /dev/nvidia1 --device /dev/nvidiactl --device /dev/dri/card51=ENOENT";
        then_remove(podman, || probe::claim_works(&run(podman, GPU, &ASK, look)?))?;
        then_remove(podman, || {
            let said = nvbind_run(podman, &[], look)?;
            let told = said.err.contains("note: the container goes without a node of DRM: ");
            claim(told, "nothing tells of what is missing", || said.told())?;
            probe::claim_works(&said)
        })?;
        let graphics = [ASK[0], ASK[1], "--annotation", "io.nvbind.capabilities=graphics"];
        refused(
            podman,
            &graphics,
            &[NOT_PERMITTED],
            "/dev/dri/card51 is for its owner and group alone (0660)",
        )?;
        match podman.runtime {
            Runtime::Runc => Ok(()),
            Runtime::Crun => {
                let member = Podman { group: Some(GROUP), ..podman };
                then_remove(member, || {
                    probe::claim_works(&run(member, GPU, &KEEPING, &probe::command(None))?)
                })
            }
        }
    })
}

/// Lets the tree's user read and write it, besides its owner and its group (linux/posix_acl_xattr.h): what
/// `setfacl -m u:USER:rw` does.
fn name_user(node: &Path) -> Result<(), Error> {
    let entry = |tag: u8, bits: u8, id: u32| [&[tag, 0, bits, 0], id.to_le_bytes().as_slice()].concat();
    let nobody = u32::MAX;
    let entries = [
        entry(1, 6, nobody),
        entry(2, 6, USER_ID),
        entry(4, 6, nobody),
        entry(0x10, 6, nobody),
        entry(0x20, 0, nobody),
    ];
    let list = [2_u32.to_le_bytes().as_slice(), &entries.concat()].concat();
    let done = setxattr(node, "system.posix_acl_access", &list, XattrFlags::empty());
    done.map_err(io::Error::from).on("give a list of users to", node)
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
