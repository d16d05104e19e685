//! Whatever the hook refuses, `nvbind run` says why, and its end is podman's own.

use crate::case::{CRUN, Case, NO_SYSTEMD, RELEASE, ROOTLESS, RUNTIME, SYSTEMD, WHO};
use crate::command_line::shim::{LIMIT, NOT_STARTED, NVBIND, nvbind};
use crate::container::{ASK, GPU, PLAIN, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane};
use crate::podman::{IMAGE, Podman, Runtime, Said, User, as_user, said};
use nvbind_fixtures::error::Doing;
use nvbind_fixtures::limits::limited;
use nvbind_lanes::spec::PAYLOAD;
use nvbind_lanes::tree::{USER, USER_ID};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("reason", reason).each(&[RUNTIME, WHO, RELEASE]).takes(8),
    Case::new("reason-of-start", of_start).each(&[RUNTIME, WHO, RELEASE]).takes(3),
    Case::new("reason-without-session", without_session)
        .each(&[RELEASE])
        .only(&[&[CRUN, ROOTLESS, NO_SYSTEMD]])
        .takes(3),
    Case::new("reason-in-service", in_service).each(&[WHO, RELEASE]).only(&[&[SYSTEMD, CRUN]]).takes(4),
    Case::new("before-podman", before_podman).each(&[WHO, RELEASE]).only(&[&[CRUN]]).takes(4),
    Case::new("podmans-end", end).each(&[RUNTIME, WHO, RELEASE]).takes(8),
];

/// An image that the hook refuses when it is in the container already, where no pre-flight can look.
const BLOCKED: &str = "localhost/nvbind-blocked";

/// A file of nvbind's for which the image has a directory.
const DIRECTORY: &str = "/etc/ld.so.conf.d/00-nvbind.conf";

/// What podman exits with where the runtime did not start the container (podman-run(1)).
const RUNTIME_FAILED: i32 = 126;

const TERMINAL: &str = "terminal";

/// Makes the image for the body.
fn with_blocked(podman: Podman, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    let made = then_remove(podman, || {
        run(podman, PLAIN, &[], &format!("mkdir -p {DIRECTORY}/not-empty"))?.must()?;
        podman.must(&["commit", "--quiet", PLAIN, BLOCKED]).map(drop)
    });
    let ended = made.and_then(|()| then_remove(podman, body));
    let removed = podman.must(&["rmi", "--force", BLOCKED]).map(drop);
    ended.and(removed)
}

/// What `nvbind run` is told to start the image, before further options.
fn words(podman: Podman) -> Vec<String> {
    let runtime = format!("--runtime={}", podman.runtime());
    ["run", "--network=none", "--gpu=0", "--name", GPU, &runtime].map(str::to_owned).to_vec()
}

/// The reason, once: runc has podman say it, and nvbind says what crun does not. With a terminal, podman may lose what
/// runc says, and it is told by nvbind, too.
fn claim_reason(podman: Podman, what: &str, text: &str, said: &Said) -> Result<(), Ended> {
    let told = text.matches(DIRECTORY).count();
    let most = if what == TERMINAL && podman.runtime == Runtime::Runc { 2 } else { 1 };
    claim((1..=most).contains(&told), &format!("{what}: the reason is told {told} times"), || {
        format!("{text}\n{}", said.told())
    })?;
    // A warning of podman's, in a terminal that it made raw, ends with a line feed first.
    let is_nvbinds = text.lines().any(|line| line.trim().starts_with("nvbind: ") && line.contains(DIRECTORY));
    let expected = podman.runtime == Runtime::Crun || what == TERMINAL;
    claim(is_nvbinds == expected, &format!("{what}: another one tells the reason"), || said.told())
}

fn reason(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_blocked(podman, || {
        let mut ways: Vec<(&str, Vec<&str>)> =
            vec![("foreground", vec![]), ("detached", vec!["-d"]), ("removed", vec!["--rm"])];
        if podman.user == User::Rootless {
            // The hook is another user there, when it fails.
            ways.push(("keep-id", vec!["--userns=keep-id"]));
            ways.push(("keep-id, removed", vec!["--userns=keep-id", "--rm"]));
        }
        for (what, options) in &ways {
            let mut words = words(podman);
            words.extend(options.iter().map(|option| (*option).to_owned()));
            words.extend([BLOCKED, "echo", "started"].map(str::to_owned));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            // A pipe for each of stdout and stderr.
            let piped = nvbind(podman.user, &words)?;
            claim(piped.code == RUNTIME_FAILED, &format!("{what}: not podman's exit code"), || piped.told())?;
            claim_reason(podman, what, &piped.err, &piped)?;
            podman.remove(&["--ignore", GPU])?;
            // It is there when podman ends, not later.
            let line = format!("{NVBIND} {} 2>$0; cat $0", words.join(" "));
            let kept = format!("/tmp/nvbind-reason-{}", podman.user as u8);
            let at_once = shell(podman.user, &line, &kept)?;
            claim_reason(podman, what, &at_once.out, &at_once)?;
            podman.remove(&["--ignore", GPU])?;
            claim_recorded(podman)?;
        }
        let mut words = words(podman);
        words.extend(["-it", BLOCKED, "echo", "started"].map(str::to_owned));
        let line = format!("script --quiet --return --command '{NVBIND} {}' /dev/null", words.join(" "));
        let terminal = shell(podman.user, &line, "")?;
        claim(terminal.code == RUNTIME_FAILED, "terminal: not podman's exit code", || terminal.told())?;
        claim_reason(podman, TERMINAL, &terminal.out, &terminal)
    })
}

fn shell(user: User, line: &str, argument: &str) -> Result<Said, Ended> {
    Ok(said(as_user(user, limited(LIMIT, "sh")).args(["-c", line, argument]))?)
}

/// The record has the container's name, which podman may have forgotten.
fn claim_recorded(podman: Podman) -> Result<(), Ended> {
    let last = nvbind(podman.user, &["doctor", "--last"])?.must()?;
    let first: Vec<&str> = last.out.lines().take(3).collect();
    let is_told = matches!(first.as_slice(), [who, why, code]
        if who.contains(&format!("Z  {GPU} (")) && why.contains(DIRECTORY) && code.starts_with("  exit code 5: "));
    claim(is_told, "the record does not tell of it", || last.told())
}

/// What the command line shows is told before podman starts anything, and what the image shows before it is only made.
fn before_podman(_: &Lane, podman: Podman) -> Result<(), Ended> {
    const REQUIRES: &str = "localhost/nvbind-requires";
    let archive = format!("{PAYLOAD}/image.tar");
    podman.must(&["import", "--change=ENV NVIDIA_REQUIRE_CUDA=cuda>=13.0", &archive, REQUIRES])?;
    let dev = format!("--volume={DRIVER}/dev:/other");
    let ended = then_remove(podman, || {
        for (verb, options, image, reason) in [
            ("run", &["--env=NVIDIA_REQUIRE_CUDA=cuda>=13.0"][..], IMAGE, Some("NVIDIA_REQUIRE_CUDA")),
            ("create", &[], REQUIRES, Some("NVIDIA_REQUIRE_CUDA")),
            ("create", &["--env=NVIDIA_DISABLE_REQUIRE=1"], REQUIRES, None),
            ("run", &["--isolate", &dev], IMAGE, Some("isolation was asked for")),
            ("run", &["--isolate", "--security-opt=unmask=ALL"], IMAGE, Some("isolation was asked for")),
            ("create", &["--isolate"], IMAGE, None),
        ] {
            let fixed = [verb, "--network=none", "--gpu=0", "--name", GPU, "--runtime=crun"];
            let words = [&fixed[..], options, &[image, "true"]].concat();
            let ended = nvbind(podman.user, &words)?;
            let told = match reason {
                Some(reason) => {
                    ended.code == NOT_STARTED && ended.err.starts_with(&format!("nvbind: {reason}"))
                }
                None => ended.code == 0,
            };
            claim(told, "the pre-flight is not as the hook", || ended.told())?;
            let is_there = podman.run(&["container", "exists", GPU])?.code == 0;
            claim(is_there == reason.is_none(), "a container is there that was refused", || ended.told())?;
            podman.remove(&["--ignore", GPU])?;
        }
        // What only the image says, podman's start tells.
        let words = ["run", "--network=none", "--gpu=0", "--name", GPU, "--runtime=crun", REQUIRES, "true"];
        let refused = nvbind(podman.user, &words)?;
        let told = refused.code == RUNTIME_FAILED && refused.err.contains("nvbind: NVIDIA_REQUIRE_CUDA");
        claim(told, "the image's requirement is not told", || refused.told())
    });
    let removed = podman.must(&["rmi", "--force", REQUIRES]).map(drop);
    ended.and(removed)
}

/// What podman starts by itself is found by its name.
fn of_start(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_blocked(podman, || {
        let runtime = format!("--runtime={}", podman.runtime());
        let create = ["create", "--network=none", "--gpu=0", "--name", GPU, &runtime, BLOCKED, "true"];
        nvbind(podman.user, &create)?.must()?;
        let started = podman.run(&["start", GPU])?;
        claim(started.code != 0, "the container starts", || started.told())?;
        claim_recorded(podman)?;
        podman.remove(&["--ignore", GPU])?;
        let refused =
            podman.run(&["run", "--name", GPU, "--network=none", ASK[0], ASK[1], BLOCKED, "true"])?;
        claim(refused.code == RUNTIME_FAILED, "the container starts", || refused.told())?;
        claim_recorded(podman)?;
        let doctor = nvbind(podman.user, &["doctor"])?;
        let first = doctor.out.lines().next().unwrap_or_default();
        let is_told = first.starts_with("warn    recent") && first.contains(GPU) && first.contains(DIRECTORY);
        claim(is_told, "doctor does not begin with it", || doctor.told())
    })
}

/// As in cron, or after `su`: the user has no directory in /run. podman keeps its files in /tmp, if that was always so.
fn without_session(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let directory = Path::new("/run/user").join(USER_ID.to_string());
    let hidden = directory.with_extension("hidden");
    fs::rename(&directory, &hidden).on("hide", &directory)?;
    let ended = refused_without_session(podman);
    fs::rename(&hidden, &directory).on("bring back", &directory)?;
    ended?;
    let last = nvbind(podman.user, &["doctor", "--last"])?;
    claim(last.out.contains(DIRECTORY), "doctor does not look into /tmp", || last.told())
}

fn refused_without_session(podman: Podman) -> Result<(), Ended> {
    let home = format!("/home/{USER}/without-session");
    let script = format!(
        "set -e; mkdir {home}; export HOME={home}; unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS
        podman='podman --cgroup-manager=cgroupfs'
        $podman import {PAYLOAD}/image.tar {IMAGE} >&2
        $podman run --network=none --name {PLAIN} {IMAGE} mkdir -p {DIRECTORY}/not-empty >&2
        $podman commit --quiet {PLAIN} {BLOCKED} >&2
        {NVBIND} {} --cgroup-manager=cgroupfs {BLOCKED} true 2>{home}/said || echo $?
        cat {home}/said
        $podman rm --force --all >&2; $podman unshare rm -rf {home}",
        words(podman).join(" ")
    );
    let refused = shell(podman.user, &script, "")?;
    claim_reason(podman, "without a session", &refused.out, &refused)?;
    let place = format!("/tmp/nvbind-{USER_ID}/failures");
    claim(Path::new(&place).is_dir(), "no record is in /tmp", || refused.told())
}

/// The journal of a service has it.
fn in_service(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_blocked(podman, || {
        for kind in ["simple", "exec", "oneshot"] {
            let unit = format!("nvbind-reason-{kind}");
            let manager = if podman.user == User::Root { "--system" } else { "--user" };
            let mut command = limited(LIMIT, "systemd-run");
            // With cgroup v1, systemd in a container is not told that a service's last process has ended, whatever it
            // runs.
            command.args([manager, "--wait", "--quiet", "--property=TimeoutStopSec=2s"]);
            command.args([&format!("--property=Type={kind}"), &format!("--unit={unit}"), NVBIND]);
            command.args(words(podman)).args([BLOCKED, "true"]);
            let ran = said(&mut as_user(podman.user, command))?;
            // systemd-run itself ends with 1 for a failed oneshot service, in some versions.
            let mut show = limited(LIMIT, "systemctl");
            show.args([manager, "show", "--property=ExecMainStatus", "--value", &unit]);
            let code = said(&mut as_user(podman.user, show))?.must()?;
            said(Command::new("journalctl").arg("--sync"))?.must()?;
            let field = if podman.user == User::Root { "_SYSTEMD_UNIT" } else { "_SYSTEMD_USER_UNIT" };
            let journal = said(Command::new("journalctl").args([
                "--no-pager",
                "--output=cat",
                &format!("{field}={unit}.service"),
            ]))?;
            let is_podmans = code.out.trim() == RUNTIME_FAILED.to_string();
            claim(is_podmans, &format!("{kind}: not podman's exit code"), || {
                format!("{}\n{}", ran.told(), code.told())
            })?;
            let told =
                journal.out.lines().any(|line| line.starts_with("nvbind: ") && line.contains(DIRECTORY));
            claim(told, &format!("{kind}: the journal does not tell the reason"), || journal.told())?;
            podman.remove(&["--ignore", GPU])?;
        }
        Ok(())
    })
}

/// A program that says with which signal it was asked to end.
const ASKED: &str =
    "trap 'exit 21' INT; trap 'exit 22' TERM; trap 'exit 23' HUP; echo ready; while :; do sleep 0.1; done";

/// A line that starts `"$@"`, waits until it is ready, sends what `$0` says, and ends as it does.
const SENT: &str = "set -m; \"$@\" >/tmp/nvbind-sent.$$ & pid=$!; \
    until grep -q ready /tmp/nvbind-sent.$$; do sleep 0.1; done; rm /tmp/nvbind-sent.$$; \
    eval \"kill $0\"; wait $pid";

/// Exit codes and signals are podman's, whoever they come from, and nothing of nvbind stays.
fn end(_: &Lane, podman: Podman) -> Result<(), Ended> {
    then_remove(podman, || {
        for (command, code) in [("exit 0", 0), ("exit 7", 7), ("exit 126", 126)] {
            let said = run_by_nvbind(podman, &["--rm"], &["sh", "-c", command])?;
            claim(said.code == code && said.err_beside_log().is_empty(), command, || said.told())?;
        }
        let missing = run_by_nvbind(podman, &["--rm"], &["no-such-program"])?;
        claim(missing.code == 127, "a program that is not there", || missing.told())?;
        // To nvbind's process alone, and to its process group, as a terminal does.
        for (sent, code) in [
            ("-INT $pid", 21),
            ("-TERM $pid", 22),
            ("-HUP $pid", 23),
            ("-INT -- -$pid", 21),
            // A shell's end by a signal.
            ("-KILL $pid", 137),
            // Stopped and continued, as by Ctrl-Z and `fg`.
            ("-STOP -- -$pid; sleep 0.5; kill -CONT -- -$pid; kill -TERM $pid", 22),
        ] {
            let mut command = as_user(podman.user, limited(LIMIT, "bash"));
            command.args(["-c", SENT, sent, NVBIND]).args(words(podman)).args([IMAGE, "sh", "-c", ASKED]);
            let ended = said(&mut command)?;
            claim(ended.code == code, sent, || ended.told())?;
            podman.remove(&["--ignore", GPU])?;
        }
        claim_no_watcher()
    })
}

fn run_by_nvbind(podman: Podman, options: &[&str], command: &[&str]) -> Result<Said, Ended> {
    let words = words(podman);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(options.iter().chain(&[IMAGE]).chain(command));
    Ok(nvbind(podman.user, &words)?)
}

/// A watcher ends with its podman.
fn claim_no_watcher() -> Result<(), Ended> {
    let since = Instant::now();
    loop {
        let processes = fs::read_dir("/proc").on("read", Path::new("/proc"))?.flatten();
        let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
        let Some(watcher) = lines.into_iter().find(|line| line.contains("\0watch\0--start\0")) else {
            return Ok(());
        };
        claim(since.elapsed() < LIMIT, "a watcher stays", || watcher.replace('\0', " "))?;
        thread::sleep(Duration::from_millis(50));
    }
}
