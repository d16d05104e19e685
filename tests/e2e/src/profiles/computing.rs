//! The profiles `ai-ml` and `shared`.

use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::command_line::shim::{LIMIT, NVBIND};
use crate::container::{GPU, then_remove};
use crate::containers::refusals::with_driver;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User, as_user, said};
use crate::profiles::{COMPUTE, KERNELS, VIDEO, claim_left_out, holds_these_alone, started, without_volumes};
use nvbind_fixtures::error::Doing;
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::USER_ID;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("profiles/ai-ml", ai_ml).each(&[RUNTIME, WHO, RELEASE]),
    Case::new("profiles/ai-ml-low-limit", low_limit).each(&[WHO]),
    Case::new("profiles/ai-ml-without-infiniband", without_infiniband).each(&[WHO]),
    Case::new("profiles/ai-ml-own-words", own_words).each(&[WHO]),
    Case::new("profiles/ai-ml-isolated", isolated).each(&[RUNTIME, WHO]),
    Case::new("profiles/shared", shared).each(&[RUNTIME, WHO]),
    Case::new("profiles/shared-mps", mps).each(&[RUNTIME, WHO]),
    Case::new("profiles/several", several).each(&[WHO]),
];

pub(super) const AI_ML: &str = "--profile=ai-ml";
const SHARED: &str = "--profile=shared";

const NO_INFINIBAND: &str = "--extras infiniband of the profile ai-ml";
const NO_MPS: &str = "--extras mps of the profile shared";
const MEMLOCK: &str = "--ulimit memlock=-1 of the profile ai-ml";

/// What podman gives without an option is 64 MiB.
const FILL: &str = "dd if=/dev/zero of=/dev/shm/large bs=1048576 count=80 2>/dev/null";

/// Asks the shell for all memory to be lockable, and prints the limit: this user may not, or may, or the lane answers
/// for the kernel and the limit stays as it was.
const LOCK_ALL: &str = "ulimit -l unlimited && ulimit -l";

/// A script by a shell of this user's.
fn shell(user: User, script: &str) -> Result<Said, Ended> {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    Ok(said(&mut as_user(user, shell))?)
}

/// What is left out of `ai-ml` in a lane.
pub(super) fn left_out(user: User) -> Result<Vec<&'static str>, Ended> {
    let memlock = (shell(user, LOCK_ALL)?.code != 0).then_some(MEMLOCK);
    Ok(memlock.into_iter().collect())
}

/// The limits that podman was asked for.
fn asked_for(podman: Podman) -> Result<String, Ended> {
    let format = "--format={{range .HostConfig.Ulimits}}{{.Name}}={{.Soft}}:{{.Hard}} {{end}}";
    Ok(podman.must(&["inspect", format, GPU])?.out)
}

/// A row of /proc/self/limits that the container printed: the soft and the hard limit.
fn limit<'a>(said: &'a Said, name: &str) -> Vec<&'a str> {
    let row = said.out.lines().find_map(|line| line.strip_prefix(name));
    row.unwrap_or_default().split_whitespace().take(2).collect()
}

fn ai_ml(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let first = format!(
        "nvbind-probe --device /dev/nvidia-uvm --device /dev/infiniband/uverbs0 --device /dev/dri=ENOENT \
         && {} && {FILL} && test $NCCL_DEBUG = WARN \
         && echo kernels > $CUDA_CACHE_PATH/kept && cat /proc/self/limits",
        holds_these_alone(&[COMPUTE, VIDEO])
    );
    without_volumes(podman, || {
        let said = started(podman, &[], &[AI_ML], &first)?.must()?;
        claim_left_out(&said, &left_out(podman.user)?)?;
        let stack = limit(&said, "Max stack size");
        claim(stack == ["67108864"; 2], "the stack is not the profile's", || said.told())?;
        let raised = shell(podman.user, LOCK_ALL)?;
        let asked = asked_for(podman)?;
        let locked = limit(&said, "Max locked memory");
        let is_locked = raised.out.trim() != "unlimited" || locked == ["unlimited"; 2];
        let is_asked = asked.contains("RLIMIT_MEMLOCK=") == (raised.code == 0);
        claim(is_asked && is_locked, "memory cannot be locked", || format!("{asked}\n{}", said.told()))?;
        podman.remove(&[GPU])?;
        podman.must(&["volume", "exists", KERNELS])?;
        let second = "test $(cat $CUDA_CACHE_PATH/kept) = kernels";
        started(podman, &[], &[AI_ML], second)?.must().map(drop)
    })
}

/// A user whose hard limit is below the profile's, and who may not raise it, has a container with the user's own.
fn low_limit(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let low = "ulimit -s 8192 && exec \"$@\"";
    let within = |program: &str, words: &[&str]| -> Result<Said, Ended> {
        let mut line = as_user(podman.user, limited(LIMIT, "sh"));
        let runtime = format!("--runtime={}", podman.runtime());
        line.args(["-c", low, "sh", program, "run", &runtime, "--network=none", "--name", GPU]);
        Ok(said(line.args(words).args([IMAGE, "cat", "/proc/self/limits"]))?)
    };
    without_volumes(podman, || {
        let may_raise = shell(podman.user, "ulimit -s 8192 && ulimit -s 65536")?.code == 0;
        let said = within(NVBIND, &["--gpu=0", AI_ML])?.must()?;
        let mut expected = left_out(podman.user)?;
        expected.extend((!may_raise).then_some("--ulimit stack=67108864 of the profile ai-ml"));
        claim_left_out(&said, &expected)?;
        let wide = if may_raise { "67108864" } else { "8388608" };
        claim(limit(&said, "Max stack size") == [wide; 2], "the stack is another", || said.told())?;
        podman.remove(&[GPU])?;
        // Left out for good reason: podman refuses it, or gives no more than the user has anyway.
        let alone = within("podman", &["--ulimit=stack=67108864"])?;
        let is_needed = alone.code != 0 || limit(&alone, "Max stack size") == [wide; 2];
        claim(may_raise || is_needed, "podman gives what was left out", || alone.told())
    })
}

/// A machine with GPUs alone.
fn without_infiniband(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver("cp -a $2 $1 && rm -r $1/dev/infiniband", || {
        without_volumes(podman, || {
            let said = started(podman, &[], &[AI_ML], "test ! -e /dev/infiniband")?.must()?;
            claim_left_out(&said, &[&left_out(podman.user)?[..], &[NO_INFINIBAND]].concat())
        })
    })
}

/// The user's own sizes and limits, and another container's shared memory.
fn own_words(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let own = [
        AI_ML,
        "--shm-size=1m",
        "--ulimit=memlock=65536",
        "--ulimit=stack=1048576:2097152",
        "--env=NCCL_DEBUG=INFO",
        "--volume=/tmp:/var/cache/nvbind/cuda",
    ];
    let command = "dd if=/dev/zero of=/dev/shm/large bs=1048576 count=2 2>/dev/null; \
         test $(stat -c %s /dev/shm/large) = 1048576 && test $NCCL_DEBUG = INFO && cat /proc/self/limits";
    without_volumes(podman, || {
        let said = started(podman, &[], &own, command)?.must()?;
        claim_left_out(&said, &[])?;
        let asked = asked_for(podman)?;
        let is_users = limit(&said, "Max stack size") == ["1048576", "2097152"];
        claim(
            is_users && asked.contains("RLIMIT_MEMLOCK=65536:65536 "),
            "the limits are not the user's",
            || format!("{asked}\n{}", said.told()),
        )?;
        podman.remove(&[GPU])?;
        // podman wants it of a host whose shared memory it takes.
        fs::create_dir_all("/dev/mqueue").on("create", Path::new("/dev/mqueue"))?;
        let hosts = started(podman, &[], &[AI_ML, "--ipc=host"], "true")?.must()?;
        claim(hosts.err.contains("--shm-size of the profile ai-ml is left out"), "no note", || hosts.told())
    })
}

/// An isolated container works, and shares no cache.
fn isolated(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let command = "nvbind-probe --device /dev/nvidia-uvm && test -z \"${CUDA_CACHE_PATH+set}\" \
         && test ! -e /var/cache/nvbind && test $NCCL_DEBUG = WARN";
    without_volumes(podman, || {
        let said = started(podman, &[], &[AI_ML, "--isolate"], command)?.must()?;
        let cache = "--volume nvbind-cuda-cache:/var/cache/nvbind/cuda of the profile ai-ml";
        let mut expected = left_out(podman.user)?;
        expected.push(cache);
        claim_left_out(&said, &expected)?;
        podman.remove(&[GPU])?;
        let refused = started(podman, &[], &[AI_ML, "--isolate", "--volume=/opt/driver/dev:/other"], "true")?;
        claim(refused.code != 0, "the container is not isolated", || refused.told())
    })
}

fn shared(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let command = format!("nvbind-probe --device /dev/nvidia-uvm && {}", holds_these_alone(&[COMPUTE]));
    then_remove(podman, || {
        let said = started(podman, &[], &[SHARED], &command)?.must()?;
        claim_left_out(&said, &[NO_MPS])
    })
}

/// A client has the directory of the user's own server; of another's it has nothing, and starts.
fn mps(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let (own, another) = match podman.user {
        User::Root => (0, USER_ID),
        User::Rootless => (USER_ID, 0),
    };
    for (owner, expected, look) in [
        (own, &[][..], "test -e /tmp/nvidia-mps/simulated && touch /tmp/nvidia-mps/client"),
        (another, &[NO_MPS], "test ! -e /tmp/nvidia-mps"),
    ] {
        let server = format!(
            "cp -a $2 $1 && mkdir -p $1/tmp/nvidia-mps && touch $1/tmp/nvidia-mps/simulated \
             && chown -R {owner}:{owner} $1/tmp/nvidia-mps"
        );
        with_driver(&server, || {
            then_remove(podman, || {
                let said = started(podman, &[], &[SHARED], &format!("nvbind-probe && {look}"))?.must()?;
                claim_left_out(&said, expected)
            })
        })?;
    }
    Ok(())
}

/// The later one's capabilities, and everything of both that goes together.
fn several(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let command = format!(
        "{} && {FILL} && test $NCCL_DEBUG = WARN && touch $CUDA_CACHE_PATH/x $__GL_SHADER_DISK_CACHE_PATH/x",
        holds_these_alone(&[COMPUTE, VIDEO])
    );
    let reverse = holds_these_alone(super::FAMILIES);
    without_volumes(podman, || {
        started(podman, &[], &["--profile=gaming", AI_ML], &command)?.must()?;
        podman.remove(&[GPU])?;
        started(podman, &[], &[AI_ML, "--profile", "gaming"], &reverse)?.must().map(drop)
    })
}
