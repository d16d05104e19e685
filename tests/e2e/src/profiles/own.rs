//! Profiles of one's own, those of `default_args`, and names that are none.

use crate::case::{Case, WHO};
use crate::command_line::config;
use crate::container::GPU;
use crate::ended::Ended;
use crate::lane::Lane;
use crate::podman::Podman;
use crate::profiles::computing::{AI_ML, left_out};
use crate::profiles::{claim_left_out, started, without_volumes};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("profiles/own", own).each(&[WHO]),
    Case::new("profiles/own-from-default-args", by_default).each(&[WHO]),
];

/// A profile of one's own, and a built-in one changed in two keys.
const FILE: &str = r#"
[profiles.mine]
description = "everything that a profile can say"
capabilities = "utility"
args = ["--hostname=mine", "--workdir", "/games"]
volumes = ["$HOME:/games:ro", "/nonexistent:/nowhere"]
devices = ["/dev/zero:/dev/more"]
ulimits = ["stack=1048576"]
shm_size = "1m"

[profiles.mine.environment]
OWN = "$HOME/x"
LOST = "/nowhere/x"

[profiles.ai-ml]
ulimits = []
environment.NCCL_DEBUG = "INFO"
"#;

fn own(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let mine = "nvbind-probe --library libnvidia-ml.so.1 --library libcuda.so.1=missing \
         && test $(cat /proc/sys/kernel/hostname) = mine && test $PWD = /games \
         && test -e /games/.config/nvbind/config.toml && test -c /dev/more && test $OWN = $HOME_OF_CALLER/x \
         && grep -q '^Max stack size  *1048576  *1048576' /proc/self/limits \
         && test -z \"${LOST+set}\" && ! dd if=/dev/zero of=/dev/shm/large bs=1048576 count=2 2>/dev/null";
    let changed = "test $NCCL_DEBUG = INFO && touch $CUDA_CACHE_PATH/x";
    config::with(podman, FILE, || {
        without_volumes(podman, || {
            let home =
                format!("--env=HOME_OF_CALLER={}", crate::profiles::desktop::home(podman.user).display());
            let said = started(podman, &[], &["--profile=mine", &home], mine)?.must()?;
            claim_left_out(&said, &["--volume /nonexistent:/nowhere of the profile mine"])?;
            podman.remove(&[GPU])?;
            let said = started(podman, &[], &[AI_ML], changed)?.must()?;
            claim_left_out(&said, &[])
        })
    })
}

/// A profile of `default_args`: what stands there beside it wins, and what is typed over both.
fn by_default(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let file = "[runtime]\n\
         default_args = ['--profile=ai-ml', '--env=NCCL_DEBUG=TRACE', '--ulimit=stack=1048576']\n";
    config::with(podman, file, || {
        without_volumes(podman, || {
            let command = "test $NCCL_DEBUG = INFO && touch $CUDA_CACHE_PATH/x \
                 && grep -q '^Max stack size  *1048576' /proc/self/limits";
            let said = started(podman, &[], &["--env=NCCL_DEBUG=INFO"], command)?.must()?;
            claim_left_out(&said, &left_out(podman.user)?)
        })
    })
}
