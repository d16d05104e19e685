//! `nvbind run` as the process that a systemd service consists of.
//!
//! `ExecStart=nvbind run -d …` in a service of type `simple` is what people write. To systemd such a service has ended as
//! soon as podman has started the container and ended itself; it starts it again, and the container's name is taken. So
//! there, and nowhere else, podman stays in the foreground and replaces a container of the same name.

use crate::podman::options::Options;
use nvbind_core::child;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// The pid of the process that systemd started itself (systemd.exec(5)); those that it starts inherit the variable.
const EXEC_PID: &str = "SYSTEMD_EXEC_PID";

/// Types whose main process is the service (systemd.service(5)).
const TYPES_WITH_ONE_PROCESS: &[&str] = &["exec", "idle", "simple"];

/// A manager that does not answer is not to keep the container from starting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a service without a terminal, whose process is podman, cannot have.
const DROPPED: &[&str] = &["detach", "tty"];

/// Changes podman's options to those of a service's own process, if this is one and they say otherwise; returns a note on it.
pub(crate) fn stay_in_foreground(options: &mut Options) -> Option<String> {
    let change = Change::find(options)?;
    is_one_process().then(|| change.apply(options))
}

/// What has to change.
struct Change {
    dropped: Vec<&'static str>,
    replaces: bool,
}

impl Change {
    fn find(options: &Options) -> Option<Change> {
        let dropped: Vec<&str> = DROPPED.iter().copied().filter(|name| options.is_on(name)).collect();
        let replaces = options.last("name").is_some() && !options.is_on("replace");
        (replaces || !dropped.is_empty()).then_some(Change { dropped, replaces })
    }

    fn apply(self, options: &mut Options) -> String {
        options.remove(|given| self.dropped.contains(&given.name.as_str()));
        if self.replaces {
            options.switch_on_first("replace");
        }
        let without = self.dropped.iter().map(|name| format!("without --{name}"));
        let what: Vec<String> = without.chain(self.replaces.then(|| "with --replace".to_owned())).collect();
        format!("this is the main process of a systemd service: {}", what.join(", "))
    }
}

/// Whether systemd started this process itself, as the main one of a service that ends with it.
fn is_one_process() -> bool {
    let own = std::process::id().to_string();
    // Checked first, since it costs nothing: in a service's terminal or timer the variable names another process.
    if env::var_os(EXEC_PID).is_none_or(|pid| pid != *own) {
        return false;
    }
    let Some(unit) = fs::read_to_string("/proc/self/cgroup").ok().as_deref().and_then(Unit::of) else {
        return false;
    };
    // Where nobody can be asked, as without the bus, the options stay as they are.
    unit.ask().is_some_and(|answer| is_main(&answer, &own))
}

/// A unit, by the cgroup that this process is in.
#[derive(Debug, PartialEq, Eq)]
struct Unit {
    name: String,
    of_user: bool,
}

impl Unit {
    /// From the lines of /proc/self/cgroup (cgroups(7)): systemd's is the hierarchy of version 2, or the named one of version 1.
    fn of(cgroups: &str) -> Option<Unit> {
        let hierarchies = || {
            cgroups.lines().filter_map(|line| line.split_once(':').and_then(|(_, rest)| rest.split_once(':')))
        };
        let named = |wanted| hierarchies().find(|(name, _)| *name == wanted);
        ["", "name=systemd"].into_iter().filter_map(named).find_map(|(_, path)| Unit::at(path))
    }

    fn at(path: &str) -> Option<Unit> {
        let (above, name) = path.rsplit_once('/')?;
        let of_user = above.split('/').any(|part| part.starts_with("user@") && part.ends_with(".service"));
        name.ends_with(".service").then(|| Unit { name: name.to_owned(), of_user })
    }

    /// What systemd says of its type and main process.
    fn ask(&self) -> Option<String> {
        let mut command = Command::new("systemctl");
        command.args(self.of_user.then_some("--user"));
        command.args(["show", "--property=Type,MainPID", "--"]).arg(OsStr::new(&self.name));
        String::from_utf8(child::read_output_with_environment(&mut command, TIMEOUT).ok()?).ok()
    }
}

fn is_main(answer: &str, own: &str) -> bool {
    let value = |key| answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("MainPID") == Some(own) && value("Type").is_some_and(|kind| TYPES_WITH_ONE_PROCESS.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podman::command_line::CommandLine;
    use crate::podman::lexer::Group;
    use std::ffi::OsString;

    fn changed(line: &str) -> Option<String> {
        let mut line = CommandLine::parse(line.split(' ').map(OsString::from)).unwrap();
        Change::find(&line.options)?.apply(&mut line.options);
        let options = line.options.groups().flat_map(Group::arguments);
        let arguments: Vec<OsString> = options.chain(line.container.arguments()).collect();
        Some(arguments.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn podman_stays_in_the_foreground_and_replaces_its_container() {
        for (line, expected) in [
            ("--gpu all --name x -d IMAGE sleep -d", Some("--replace --gpu all --name x IMAGE sleep -d")),
            ("-dit --rm --name=x IMAGE", Some("--replace -i --rm --name=x IMAGE")),
            ("-d --replace --name x IMAGE", Some("--replace --name x IMAGE")),
            ("--detach=true IMAGE", Some("IMAGE")),
            ("--detach=false IMAGE -t", None),
            ("--rm IMAGE --name x", None),
            ("-e -d IMAGE", None),
        ] {
            assert_eq!(changed(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn the_unit_is_that_of_the_cgroup() {
        let unit = |name: &str, of_user| Some(Unit { name: name.to_owned(), of_user });
        for (cgroups, expected) in [
            ("0::/system.slice/gpu.service\n", unit("gpu.service", false)),
            ("12:devices:/x\n1:name=systemd:/system.slice/a@b.service\n0::/\n", unit("a@b.service", false)),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/gpu.service\n",
                unit("gpu.service", true),
            ),
            (
                "1:name=systemd:/of/another/machine\n0::/system.slice/gpu.service\n",
                unit("gpu.service", false),
            ),
            ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(Unit::of(cgroups), expected, "{cgroups}");
        }
    }

    #[test]
    fn a_process_beside_the_main_one_or_of_another_type_is_not_the_service() {
        for (answer, expected) in [
            ("Type=simple\nMainPID=77\n", true),
            ("MainPID=77\nType=exec\n", true),
            ("Type=simple\nMainPID=7\n", false),
            ("Type=forking\nMainPID=77\n", false),
            ("Type=oneshot\nMainPID=77\n", false),
            ("Type=notify\nMainPID=77\n", false),
            ("", false),
        ] {
            assert_eq!(is_main(answer, "77"), expected, "{answer}");
        }
    }
}
