//! The configuration of one's own, as `nvbind run` and `create` use it.

use crate::case::{Case, RELEASE, ROOTFUL, RUNTIME, WHO};
use crate::command_line::shim::{NOT_STARTED, nvbind};
use crate::container::{GPU, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User};
use crate::probe;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_lanes::tree::{USER, USER_ID, write};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("config-default", default).each(&[WHO, RELEASE]),
    Case::new("config-rootless", rootless).each(&[WHO]),
    Case::new("config-gaming", gaming).each(&[WHO]),
    Case::new("config-together", together).each(&[WHO, RELEASE]),
    Case::new("config-every-key", every_key).each(&[RUNTIME, WHO]),
    Case::new("config-create", create).each(&[WHO, RELEASE]),
    Case::new("config-init-of-system", init_of_system).only(&[&[ROOTFUL]]),
];

const DEFAULT: &str = include_str!("../../../../tests/fixtures/config/default.toml");
const ROOTLESS: &str = include_str!("../../../../tests/fixtures/config/rootless.toml");
const GAMING: &str = include_str!("../../../../tests/fixtures/config/gaming.toml");
const TOGETHER: &str = include_str!("../../../../tests/fixtures/config/together.toml");

/// What a case has no terminal for.
const NO_TERMINAL: &str = "--tty of runtime.default_args";

/// Runs the body while the user has this configuration.
pub(crate) fn with(
    podman: Podman,
    text: &str,
    body: impl FnOnce() -> Result<(), Ended>,
) -> Result<(), Ended> {
    let path = own_file(podman.user);
    write(&path, text)?;
    give_away(podman.user, &path)?;
    let ended = then_remove(podman, body);
    fs::remove_file(&path).on("remove", &path)?;
    ended
}

fn own_file(user: User) -> PathBuf {
    let home = match user {
        User::Root => "/root".to_owned(),
        User::Rootless => format!("/home/{USER}"),
    };
    Path::new(&home).join(".config/nvbind/config.toml")
}

/// The file and its directories below the home directory are their user's.
fn give_away(user: User, path: &Path) -> Result<(), Error> {
    if user == User::Rootless {
        for own in path.ancestors().take(3) {
            chown(own, Some(USER_ID), Some(USER_ID)).on("give away", own)?;
        }
    }
    Ok(())
}

/// Runs a container that has the first GPU by the command line, and the rest by the configuration.
fn started(podman: Podman, verb: &str, options: &[&str], command: &str) -> Result<Said, Error> {
    let runtime = format!("--runtime={}", podman.runtime());
    let mut words = vec![verb, "--network=none", "--gpu=0", "--name", GPU, &runtime];
    words.extend(options);
    words.extend([IMAGE, "sh", "-c", command]);
    nvbind(podman.user, &words)
}

/// Fails the case unless the GPU works, the shell finds `holds` true, and stderr tells of each of `notes`.
fn claim_started(podman: Podman, options: &[&str], holds: &str, notes: &[&str]) -> Result<(), Ended> {
    let said = started(podman, "run", options, &format!("{} && {holds}", probe::command(None)))?;
    probe::claim_works(&said)?;
    for note in notes {
        claim(said.err.contains(note), "a note is missing", || format!("{note} in\n{}", said.told()))?;
    }
    Ok(())
}

/// What the default arguments of the cases leave behind: nothing.
fn claim_removed(podman: Podman) -> Result<(), Ended> {
    let exists = podman.run(&["container", "exists", GPU])?;
    claim(exists.code == 1, "the container of --rm is still there", || exists.told())
}

fn default(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with(podman, DEFAULT, || {
        let told = "test $NVIDIA_VISIBLE_DEVICES,$NVIDIA_DRIVER_CAPABILITIES = 0,all";
        claim_started(podman, &[], told, &[NO_TERMINAL])?;
        claim_removed(podman)?;
        // Isolated by the configuration, and not by the command line: there, the node of another GPU is refused.
        let other = ["--volume", probe::UNASKED];
        let refused = started(podman, "run", &other, "true")?;
        claim(refused.code != 0, "the container is not isolated", || refused.told())?;
        podman.remove(&["--ignore", GPU])?;
        let refused = started(podman, "run", &["--privileged"], "true")?;
        let told = refused.code == NOT_STARTED && refused.err.contains("hint: `--isolate=false`");
        claim(told, "nobody tells that isolation keeps it from being privileged", || refused.told())?;
        started(podman, "run", &["--isolate=false", other[0], other[1]], "true")?.must().map(drop)
    })
}

fn rootless(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let rules = "--device-cgroup-rule of runtime.default_args";
    let notes: &[&str] = match podman.user {
        User::Root => &[NO_TERMINAL],
        User::Rootless => &[NO_TERMINAL, rules],
    };
    with(podman, ROOTLESS, || {
        claim_started(podman, &[], "true", notes)?;
        claim_removed(podman)
    })
}

fn gaming(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let told = "test \"$NVIDIA_DLSS_ENABLED$MESA_GL_VERSION_OVERRIDE\" = 14.6 && test -z \"${DISPLAY+set}\"";
    with(podman, GAMING, || claim_started(podman, &[], told, &["DISPLAY is not set here"]))
}

/// The user's own words win.
fn together(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let told = "test \"$NVIDIA_DLSS_ENABLED$DISPLAY\" = 0:7";
    let own = ["--env", "NVIDIA_DLSS_ENABLED=0", "-e", "DISPLAY=:7"];
    with(podman, TOGETHER, || {
        claim_started(podman, &own, told, &[NO_TERMINAL])?;
        claim_removed(podman)?;
        // Not run: the policy would start it again and again.
        let said = started(podman, "create", &["--restart=always"], "true")?;
        let kept = said.code == 0 && said.err.contains("--rm of runtime.default_args");
        claim(kept, "podman got --rm and --restart", || said.told())
    })
}

fn every_key(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let text = format!(
        "[runtime]\ndefault_runtime = \"{}\"\ndefault_args = [\"--hostname\", \"told\"]\n\
         [gpu]\ndefault_selection = \"0\"\nadditional_devices = [\"/dev/zero:/dev/more\"]\n\
         additional_libraries = [\"/etc/nvbind/config.toml\", \"/nonexistent.so\"]\n\
         [security]\nsecurity_opts = [\"no-new-privileges\"]\n",
        podman.runtime()
    );
    let holds = "test $HOSTNAME = told && test -c /dev/more && grep -q driver /etc/nvbind/config.toml \
         && grep -q 'NoNewPrivs:.1' /proc/self/status && ! touch /etc/nvbind/config.toml 2>/dev/null";
    with(podman, &text, || {
        let command = format!("{} && {holds}", probe::command(None));
        let words = ["run", "--network=none", "--name", GPU, IMAGE, "sh", "-c", &command];
        let said = nvbind(podman.user, &words)?;
        probe::claim_works(&said)?;
        let note = "/nonexistent.so of gpu.additional_libraries";
        claim(said.err.contains(note), "nobody tells of the missing library", || said.told())?;
        let format = "--format={{.OCIRuntime}}";
        let runtime = podman.must(&["inspect", format, GPU])?;
        claim(runtime.out.trim() == podman.runtime(), "podman used another runtime", || runtime.told())
    })
}

/// A container that nvbind created is podman's to start, as often as one likes.
fn create(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with(podman, "[runtime]\ndefault_args = [\"-d\", \"-i\"]\n", || {
        let created = started(podman, "create", &[], &probe::command(None))?;
        claim(created.code == 0, "podman did not create it", || created.told())?;
        for _ in 0..2 {
            probe::claim_works(&podman.run(&["start", "--attach", GPU])?)?;
        }
        Ok(())
    })
}

/// Every lane has the system's file: root's `init` does not write over it.
fn init_of_system(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let kept = nvbind(podman.user, &["config", "init"])?;
    let told = kept.code == 2 && kept.err.contains("/etc/nvbind/config.toml is there already");
    claim(told, "the system's file is written over", || kept.told())
}
