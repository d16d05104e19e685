//! Who started the hook: the runtime, and above it podman's monitor, whose command line has the container's name.
//!
//! Nothing else that the hook is given has the name. It is for people: anybody who can start the hook can say it.

use nvbind_core::input;
use nvbind_core::record::is_container_name;
use std::path::Path;

/// No file of a process that is read here is larger, in bytes: a command line has conmon's forty arguments.
const LIMIT: u64 = 128 << 10;

/// How many processes above the hook are looked at: the runtime, conmon, and one more for each that a wrapper adds.
const DEPTH: usize = 4;

/// Podman's monitor of a container.
const MONITOR: &str = "conmon";

/// What is known of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ancestors {
    /// The file name of the program that runs the hook: `crun`, `runc`.
    pub(crate) runtime: Option<String>,
    /// The container's name.
    pub(crate) name: Option<String>,
}

impl Ancestors {
    /// Looks at the processes above this one.
    pub(crate) fn find() -> Ancestors {
        Ancestors::find_below(Path::new("/proc"))
    }

    /// The same with a procfs that is elsewhere.
    fn find_below(proc: &Path) -> Ancestors {
        let mut found = Ancestors::default();
        let mut process = "self".to_owned();
        for depth in 0..=DEPTH {
            let Some(stat) = read(&proc.join(&process).join("stat")) else { break };
            let Some(Stat { name, parent }) = Stat::parse(&String::from_utf8_lossy(&stat)) else { break };
            if depth == 1 {
                found.runtime = Some(name.clone()).filter(|name| is_container_name(name));
            }
            if name == MONITOR {
                found.name = read(&proc.join(&process).join("cmdline")).and_then(|line| name_in(&line));
                break;
            }
            process = parent;
        }
        found
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    input::read(path, LIMIT).ok().map(|(content, _)| content)
}

/// The value of conmon's `-n` (conmon(8)).
fn name_in(command_line: &[u8]) -> Option<String> {
    let mut arguments = command_line.split(|byte| *byte == 0);
    arguments.find(|argument| *argument == b"-n" || *argument == b"--name")?;
    let name = str::from_utf8(arguments.next()?).ok()?;
    is_container_name(name).then(|| name.to_owned())
}

/// A process, by its line in `/proc/PID/stat` (proc_pid_stat(5)).
struct Stat {
    name: String,
    parent: String,
}

impl Stat {
    /// The name stands in brackets, and can have brackets and spaces.
    fn parse(line: &str) -> Option<Stat> {
        let (before, after) = line.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let parent: u32 = after.split_whitespace().nth(1)?.parse().ok()?;
        Some(Stat { name: name.to_owned(), parent: parent.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_name_is_read_from_the_monitor_above_the_runtime() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, stat: &str, command_line: &str| {
            fs::create_dir_all(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("stat"), stat).unwrap();
            fs::write(proc.path().join(pid).join("cmdline"), command_line.replace(' ', "\0")).unwrap();
        };
        let found = || Ancestors::find_below(proc.path());
        let is = |runtime: Option<&str>, name: Option<&str>| Ancestors {
            runtime: runtime.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        assert_eq!(found(), is(None, None));
        process("self", "9 (nvbind-hook) S 8 9 9 0 -1", "nvbind-hook prestart");
        assert_eq!(found(), is(None, None));
        process("8", "8 (crun) S 7 8 8 0 -1", "crun create");
        assert_eq!(found(), is(Some("crun"), None));
        process("7", "7 (conmon) S 1 7 7 0 -1", "conmon --api-version 1 -c ab12 -n web-1 --exit-dir /x");
        assert_eq!(found(), is(Some("crun"), Some("web-1")));
        for (line, name) in [
            ("conmon -n", None),
            ("conmon -n \u{1b}[2J", None),
            ("conmon -c -x --name a_b.c", Some("a_b.c")),
            ("conmon", None),
        ] {
            process("7", "7 (conmon) S 1 7 7 0 -1", line);
            assert_eq!(found(), is(Some("crun"), name), "{line}");
        }
        process("8", "8 (a) b (c) S 6 8 8 0 -1", "");
        assert_eq!(found(), is(None, None));
    }

    #[test]
    fn a_circle_ends() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::create_dir(proc.path().join("5")).unwrap();
        fs::write(proc.path().join("self/stat"), "5 (a) S 5 0").unwrap();
        fs::write(proc.path().join("5/stat"), "5 (a) S 5 0").unwrap();
        assert_eq!(Ancestors::find_below(proc.path()).runtime.as_deref(), Some("a"));
    }
}
