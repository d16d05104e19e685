//! The command lines of documentation, typed in a shell. Their images are stand-ins of the same names, in which every
//! program is the probe.

use crate::case::{Case, ONE_OF_EACH_RELEASE, RELEASE, WHO};
use crate::command_line::shim::LIMIT;
use crate::container::{PLAIN, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, Said, User, as_user, said};
use crate::profiles::desktop;
use crate::profiles::desktop::Desktop;
use crate::profiles::documented::{DIRECTORIES, IMAGES, LINES, Line};
use crate::profiles::without_volumes;
use crate::stand_in::{NO_DRIVER, Report, StandIns, has_smi};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::{USER_ID, write};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("profiles/command-lines", command_lines)
    .each(&[WHO, RELEASE])
    .only(ONE_OF_EACH_RELEASE)
    .takes(20)];

/// Programs that the lines expect of their images.
const PROGRAMS: &[&str] = &["python", "start-notebook.sh"];

/// Where podman reads the case's runtime: the lines name none.
const RUNTIME: &str = "/etc/containers/containers.conf.d/runtime.conf";

/// The lane has no program for podman's newer way.
const FIREWALL: &str = "[network]\nfirewall_driver = \"iptables\"\n";

fn command_lines(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let images = IMAGES.iter().copied().map(str::to_owned).collect();
    let programs = PROGRAMS.iter().copied().map(str::to_owned).collect();
    let stand_ins = StandIns { images, programs };
    with_runtime(podman, || {
        desktop::with(podman.user, |desktop| stand_ins.with(&[podman], || type_all(podman, desktop)))
    })
}

/// Runs the body where podman has this runtime without being told, unless ports and a network of a container's own are
/// something between podman and the machine.
pub(crate) fn with_runtime(podman: Podman, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    let runtime = format!("[engine]\nruntime = \"{}\"\n{FIREWALL}", podman.runtime());
    write(Path::new(RUNTIME), &runtime)?;
    let ended = then_remove(podman, || {
        let alone = podman.run(&["run", "--name", PLAIN, "--publish=8888:8888", IMAGE, "true"])?;
        if alone.code != 0 {
            return Err(Ended::Skipped(alone.last_words().to_owned()));
        }
        podman.remove(&[PLAIN])?;
        body()
    });
    fs::remove_file(RUNTIME).on("remove", Path::new(RUNTIME))?;
    ended
}

fn type_all(podman: Podman, desktop: &Desktop) -> Result<(), Ended> {
    let home = desktop::home(podman.user);
    for name in DIRECTORIES {
        make_directory(podman.user, &home, name)?;
    }
    without_volumes(podman, || {
        LINES.iter().try_for_each(|line| {
            let ended = typed(podman, desktop, line);
            podman.remove(&["--all"])?;
            ended
        })?;
        podman.must(&["volume", "rm", "ollama-data"]).map(drop)
    })
}

/// Makes it with those above it, all the user's.
fn make_directory(user: User, home: &Path, name: &str) -> Result<(), Error> {
    let path = home.join(name);
    fs::create_dir_all(&path).on("create", &path)?;
    let id = (user == User::Rootless).then_some(USER_ID);
    path.ancestors()
        .take_while(|above| *above != home)
        .try_for_each(|own| chown(own, id, id).on("give away", own))
}

/// Types the line, waits for the container's end, and looks at what its program said.
fn typed(podman: Podman, desktop: &Desktop, line: &Line) -> Result<(), Ended> {
    let mut shell = as_user(podman.user, limited(LIMIT, "sh"));
    shell.envs(desktop.variables()).args(["-c", line.text]);
    let first = DIRECTORIES.first().copied().unwrap_or_default();
    let typed = said(shell.current_dir(desktop::home(podman.user).join(first)))?;
    let containers = podman.must(&["ps", "--all", "--quiet"])?;
    let names: Vec<&str> = containers.out.split_whitespace().collect();
    let &[container] = names.as_slice() else { return Err(typed.failed("the container did not start")) };
    let code = podman.must(&["wait", container])?;
    let logged = podman.must(&["logs", container])?;
    let inspected = podman.must(&["inspect", container])?;
    let told = || format!("{}\n{}\n{}", typed.told(), logged.told(), inspected.told());
    let runtime = format!("\"OCIRuntime\": \"{}\"", podman.runtime());
    for text in line.inspected.iter().copied().chain([runtime.as_str()]) {
        claim(inspected.out.contains(text), &format!("podman does not know of {text}"), told)?;
    }
    if line.arguments == ["nvidia-smi"] {
        let works = has_smi(&logged.out) && code.out.trim() == NO_DRIVER.to_string();
        return claim(works, "nvidia-smi did not run", told);
    }
    claim(code.out.trim() == "0", "the program failed", told)?;
    claim_as_typed(&logged, line)
}

fn claim_as_typed(logged: &Said, line: &Line) -> Result<(), Ended> {
    let told = || format!("{}\n{}", line.text, logged.told());
    let report: Report = serde_json::from_str(&logged.out)
        .map_err(|error| Ended::failed(format!("the probe's report cannot be read: {error}"), told()))?;
    claim(report.unexpected.is_empty(), &report.unexpected.join("; "), told)?;
    claim(report.arguments == line.arguments, "the program has other words", told)?;
    claim(report.directory == line.directory, "the program is elsewhere", told)?;
    for node in ["/dev/nvidia0", "/dev/nvidia1"] {
        claim(report.has(node), &format!("{node} is missing"), told)?;
    }
    for (host, place) in line.volumes {
        let end = format!("{host} {place}");
        claim(
            report.mounts.iter().any(|mount| mount.ends_with(&end)),
            &format!("{place} is not {host}"),
            told,
        )?;
    }
    for variable in line.variables {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        let is_set = report.env.get(name).is_some_and(|set| set == value);
        claim(is_set, &format!("{variable} is not set"), told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line {
        text: "nvbind run IMAGE python train.py",
        arguments: &["python", "train.py"],
        directory: "/workspace",
        volumes: &[("/roms", "/games")],
        variables: &["A=b=c"],
        inspected: &[],
    };

    const REPORT: &str = r#"{"arguments": ["python", "train.py"], "directory": "/workspace", "unexpected": [],
        "devices": [{"path": "/dev/nvidia0"}, {"path": "/dev/nvidia1"}], "mounts": ["/home/u/roms /games"],
        "env": {"A": "b=c"}}"#;

    fn reason(report: &str) -> Option<String> {
        let said = Said { code: 0, out: report.to_owned(), err: String::new(), line: String::new() };
        match claim_as_typed(&said, &LINE) {
            Err(Ended::Failed { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn whatever_is_not_as_typed_is_the_reason() {
        assert_eq!(reason(REPORT), None);
        for (text, other, expected) in [
            (r#"["python", "train.py"]"#, r#"["python"]"#, "the program has other words"),
            (r#""/workspace""#, r#""/""#, "the program is elsewhere"),
            (r#""unexpected": []"#, r#""unexpected": ["x"]"#, "x"),
            ("/dev/nvidia1", "/dev/nvidia2", "/dev/nvidia1 is missing"),
            ("/home/u/roms", "/home/u", "/games is not /roms"),
            (r#""b=c""#, r#""b""#, "A=b=c is not set"),
        ] {
            assert_eq!(reason(&REPORT.replace(text, other)).as_deref(), Some(expected));
        }
        assert!(reason("").is_some_and(|reason| reason.starts_with("the probe's report cannot be read")));
    }

    #[test]
    fn every_line_has_its_image() {
        for line in LINES {
            let images = IMAGES.iter().filter(|name| line.text.contains(**name)).count();
            assert_eq!(images, 1, "{}", line.text);
        }
    }
}
