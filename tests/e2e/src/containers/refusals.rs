//! Bad input: a message of its own, a documented exit code, no container, and nothing changed.

use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::{Podman, Runtime, User, said};
use crate::{probe, traces};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::USER_ID;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("unknown-gpu", unknown_gpu).each(&[RUNTIME, WHO, RELEASE]),
    Case::new("mistyped-annotation", mistyped).each(&[RUNTIME, WHO, RELEASE]),
    Case::new("no-driver", no_driver).each(&[WHO]),
    Case::new("half-installed-driver", half_installed).each(&[WHO]),
    Case::new("missing-node", missing_node).each(&[RUNTIME, WHO]),
    Case::new("unmet-requirement", unmet_requirement).each(&[WHO]),
    Case::new("isolation", isolation).each(&[RUNTIME, WHO]),
];

/// A driver root of the case's own.
pub(crate) const BROKEN: &str = "/opt/broken-driver";

/// The exit codes of the hook that are documented.
const BAD_REQUEST: i32 = 2;
const NO_DRIVER: i32 = 3;

fn unknown_gpu(_: &Lane, podman: Podman) -> Result<(), Ended> {
    refused(podman, &["--annotation", "io.nvbind.gpu=7"], &[BAD_REQUEST, NO_DRIVER], "7")
}

fn mistyped(_: &Lane, podman: Podman) -> Result<(), Ended> {
    for (annotation, says) in [
        ("io.nvbind.gpus=0", "there is no annotation io.nvbind.gpus"),
        ("io.nvbind.capabilities=compute", "asks for no GPU by itself"),
    ] {
        refused(podman, &["--annotation", annotation], &[BAD_REQUEST], says)?;
    }
    Ok(())
}

fn no_driver(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver("mkdir -p $1", || refused(podman, &ASK, &[NO_DRIVER], "driver"))
}

/// Libraries of another version than the kernel module's.
fn half_installed(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let change = "cp -a $2 $1 && sed -i 's/570\\.172\\.08/560.35.03/g' $1/proc/driver/nvidia/version $1/sys/module/nvidia/version";
    with_driver(change, || refused(podman, &ASK, &[NO_DRIVER], "560.35.03"))
}

/// A node that the driver's tools have not made: root's hook makes it, a user's says that it cannot.
fn missing_node(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver("cp -a $2 $1 && rm $1/dev/nvidia1", || match podman.user {
        User::Root => then_remove(podman, || {
            probe::claim_works(&run(podman, GPU, &ASK, &probe::command(None))?)?;
            let made = Path::new(BROKEN).join("dev/nvidia1");
            claim(made.exists(), "the host's node is not made", || made.display().to_string())
        }),
        User::Rootless => refused(podman, &ASK, &[NO_DRIVER], "nvidia1"),
    })
}

/// An image for a CUDA that the driver does not bring; the simulated driver is a 570.
fn unmet_requirement(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let image_s = "--env=NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=tesla,driver>=535,driver<536";
    let asked = [ASK[0], ASK[1], image_s];
    refused(podman, &asked, &[NO_DRIVER], "NVIDIA_REQUIRE_CUDA")?;
    then_remove(podman, || {
        let options = [ASK[0], ASK[1], image_s, "--env=NVIDIA_DISABLE_REQUIRE=1"];
        run(podman, GPU, &options, "test -e /dev/nvidiactl")?.must().map(drop)
    })
}

/// An isolated container works, and is refused with what would show it the other GPU.
fn isolation(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let isolated = [ASK[0], ASK[1], "--annotation=io.nvbind.isolate=true"];
    then_remove(podman, || probe::claim_works(&run(podman, GPU, &isolated, &probe::command(None))?))?;
    for other in ["--privileged", "--volume=/opt/driver/dev:/other", &format!("--volume={}", probe::UNASKED)]
    {
        let options = [&isolated[..], &[other]].concat();
        refused(podman, &options, &[BAD_REQUEST], "isolation was asked for")?;
    }
    Ok(())
}

/// A container with these options is not started: podman shows one of the codes, and the text where runc does.
pub(crate) fn refused(podman: Podman, options: &[&str], codes: &[i32], text: &str) -> Result<(), Ended> {
    let mounts = podman.mounts()?;
    then_remove(podman, || {
        let said = run(podman, GPU, options, "echo started")?;
        claim(!said.out.contains("started") && said.code != 0, "the container started", || said.told())?;
        let code = |code: &i32| match podman.runtime {
            Runtime::Crun => said.err.contains(&format!("exit code: {code}")),
            Runtime::Runc => said.err.contains(&format!("exit status {code}")),
        };
        claim(codes.iter().any(code), &format!("the exit code is none of {codes:?}"), || said.told())?;
        let shown = podman.runtime == Runtime::Crun || said.err.contains(text);
        claim(shown, &format!("the message does not tell of {text}"), || said.told())?;
        // crun shows nothing of a hook but its exit code: the record has the words.
        let record = last_failure(podman.user)?;
        claim(record.contains(text), &format!("the record does not tell of {text}"), || record.clone())
    })?;
    traces::claim_nothing_mounted(&mounts, &podman.mounts()?)
}

/// What the hook wrote down of the last container that it did not let start: the record's JSON.
pub(crate) fn last_failure(user: User) -> Result<String, Ended> {
    let path = match user {
        User::Root => "/run/nvbind/failures".to_owned(),
        User::Rootless => format!("/run/user/{USER_ID}/nvbind/failures"),
    };
    let directory = Path::new(&path);
    let mut newest = None;
    for entry in fs::read_dir(directory).on("read", directory)? {
        let path = entry.on("read", directory)?.path();
        let record = fs::read_to_string(&path).on("read", &path)?;
        let time = fs::metadata(&path).and_then(|file| file.modified()).on("look at", &path)?;
        // A spare is empty.
        if !record.is_empty() {
            newest = newest.max(Some((time, record)));
        }
    }
    Ok(newest.map(|(_, record)| record).unwrap_or_default())
}

/// Makes a driver root by a script that gets its place and the good one's, and makes it nvbind's for the body.
pub(crate) fn with_driver(script: &str, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    let all = format!("rm -rf $1 && {script}");
    said(Command::new("sh").args(["-c", &all, "sh", BROKEN, DRIVER]))?.must()?;
    use_driver(BROKEN)?;
    let ended = body();
    use_driver(DRIVER)?;
    ended
}
