//! `nvbind run` and `nvbind setup` as a person uses them.

use crate::case::{CRUN, Case, RELEASE, ROOTFUL, ROOTLESS, RUNTIME, WHO};
use crate::container::{GPU, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User, as_user, said};
use crate::probe;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("nvbind-run", run).each(&[RUNTIME, WHO, RELEASE]),
    Case::new("nvbind-run-two-gpus", two_gpus).each(&[WHO, RELEASE]),
    Case::new("setup-user", setup_user).each(&[RUNTIME, RELEASE]).only(&[&[ROOTLESS]]),
    Case::new("podman-options", options).each(&[RELEASE]).only(&[&[CRUN, ROOTFUL]]),
];

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const NVBIND: &str = "/usr/local/bin/nvbind";
pub(crate) const HOOK: &str = "/usr/local/libexec/nvbind/nvbind-hook";

/// Options of podman that are nvbind's own.
const NVBINDS: &[&str] = &["--config", "--gpus", "--help", "--runtime"];

/// What nvbind, as podman, exits with where no container was started.
pub(crate) const NOT_STARTED: i32 = 125;

/// Runs nvbind as installed for every user.
pub(crate) fn nvbind(user: User, words: &[&str]) -> Result<Said, Error> {
    said(as_user(user, limited(LIMIT, NVBIND)).args(words))
}

/// Starts a container by the shim, with its options among podman's.
fn nvbind_run(podman: Podman, gpu: &str, command: &str) -> Result<Said, Error> {
    let runtime = format!("--runtime={}", podman.runtime());
    let words = ["run", "--network=none", "--gpu", gpu, "--name", GPU, &runtime, IMAGE, "sh", "-c", command];
    nvbind(podman.user, &words)
}

fn run(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        let command = format!("{} && test \"$0\" = --gpu", probe::command(None));
        let runtime = format!("--runtime={}", podman.runtime());
        // What follows the image is the command's, whatever it looks like.
        let words = [
            "run",
            "--network=none",
            "--gpu",
            "0",
            "--name",
            GPU,
            &runtime,
            IMAGE,
            "sh",
            "-c",
            &command,
            "--gpu",
        ];
        probe::claim_works(&nvbind(podman.user, &words)?)
    })
}

/// A list reaches the hook through every podman: older ones cut annotations at commas.
fn two_gpus(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        let said = nvbind_run(podman, "0,1", "ls /dev/nvidia0 /dev/nvidia1")?;
        claim(said.code == 0, "the container does not have both GPUs", || said.told())
    })
}

/// A user installs nvbind for themself where the system has none.
fn setup_user(_: &Lane, podman: Podman) -> Result<(), Ended> {
    // The binaries to install from, for afterwards the system's own are gone.
    for path in [NVBIND, HOOK] {
        let name = Path::new(path).file_name().unwrap_or_default();
        let kept = Path::new("/tmp").join(name);
        fs::copy(path, &kept).on("copy", &kept)?;
    }
    nvbind(User::Root, &["setup", "--uninstall"])?.must()?;
    let ended = without_system(podman);
    said(as_user(User::Root, limited(LIMIT, "/tmp/nvbind")).arg("setup"))?.must()?;
    ended
}

fn without_system(podman: Podman) -> Result<(), Ended> {
    let own = |words: &[&str]| said(as_user(podman.user, limited(LIMIT, "/tmp/nvbind")).args(words));
    let runtime = format!("--runtime={}", podman.runtime());
    let look = probe::command(None);
    let words = ["run", "--network=none", "--gpu=0", "--name", GPU, &runtime, IMAGE, "sh", "-c", &look];
    let refused = own(&words)?;
    let told = refused.code == NOT_STARTED && refused.err.contains("nvbind setup --user");
    claim(told, "the pre-flight does not tell to run setup", || refused.told())?;
    own(&["setup", "--user"])?.must()?;
    let ended = then_remove(podman, || {
        probe::claim_works(&own(&words)?)?;
        // The setting is podman's own from now on: a start without nvbind has the hook as well.
        podman.must(&["start", "--attach", GPU]).map(drop)
    });
    own(&["setup", "--user", "--uninstall"])?.must()?;
    ended?;
    let refused = own(&words)?;
    claim(refused.code == NOT_STARTED, "the hook is found after it was removed", || refused.told())
}

/// nvbind knows of every option of this podman whether a value follows: else it would not find the image.
fn options(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let mut wrong = Vec::new();
    for (asked, verb, least) in [
        (&["run", "--help"][..], "run", 100),
        (&["create", "--help"], "create", 100),
        (&["--help"], "run", 20),
    ] {
        let help = podman.must(asked)?.out;
        let options: Vec<(&str, bool)> = help.lines().filter_map(option).collect();
        claim(options.len() > least, "podman's help is not understood", || help.clone())?;
        for (name, takes_value) in options.into_iter().filter(|(name, _)| !NVBINDS.contains(name)) {
            let mut words = vec![verb, "--dry-run", name];
            words.extend(takes_value.then_some("VALUE"));
            // A value taken for the image, or an option for a value, hides the first of these.
            words.extend(["--gpu", "1", "IMAGE", "--gpu", "9"]);
            let told = nvbind(User::Root, &words)?;
            if !(told.out.contains("io.nvbind.gpu=1") && told.out.trim_end().ends_with("IMAGE --gpu 9")) {
                wrong.push(format!("{name}: {}", told.told()));
            }
        }
    }
    claim(wrong.is_empty(), "nvbind takes podman's options for others", || wrong.join("\n"))
}

/// The option of a line of `podman run --help`, and whether a value follows it: `-a, --attach strings   Attach to …`.
fn option(line: &str) -> Option<(&str, bool)> {
    let start = line
        .find("--")
        .filter(|start| line.get(..*start).is_some_and(|before| before.trim_start().len() <= 4))?;
    let (name, rest) = line.get(start..)?.split_once(' ')?;
    // One space before the value's type, several before the text.
    Some((name, !rest.starts_with(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_podman_s_help() {
        for (line, expected) in [
            (
                "  -a, --attach strings                     Attach to STDIN, STDOUT or STDERR",
                Some(("--attach", true)),
            ),
            (
                "      --add-host strings                   Add a custom host-to-IP mapping",
                Some(("--add-host", true)),
            ),
            (
                "  -d, --detach                             Run container in background",
                Some(("--detach", false)),
            ),
            ("  podman run --rm=false IMAGE", None),
            ("Usage:", None),
        ] {
            assert_eq!(option(line), expected, "{line}");
        }
    }
}
