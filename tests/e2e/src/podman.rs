//! podman in a lane: as root or as the tree's user, with one runtime.

use crate::ended::Ended;
use nvbind_fixtures::error::Error;
use nvbind_fixtures::limits::limited;
use nvbind_fixtures::process;
use nvbind_lanes::tree::{USER, USER_ID};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The image that cases run.
pub const IMAGE: &str = "localhost/nvbind-test";

/// Nothing that podman does in a case takes this long.
const LIMIT: Duration = Duration::from_secs(60);

/// The OCI runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Crun,
    Runc,
}

/// Who runs podman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    /// The tree's user.
    Rootless,
}

/// podman as one user with one runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Podman {
    /// Who runs it.
    pub user: User,
    pub runtime: Runtime,
    /// The cgroup manager, if not the lane's own.
    pub manager: Option<&'static str>,
    /// A group of the host that the tree's user is in, beside its own.
    pub group: Option<&'static str>,
}

/// What a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit status; 124 when it was stopped after its time.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    pub line: String,
}

impl Podman {
    /// podman with the lane's own cgroup manager, by a user in no other group.
    pub fn new(user: User, runtime: Runtime) -> Self {
        Self { user, runtime, manager: None, group: None }
    }

    /// The first part of a case's name: `crun/rootful`.
    pub fn name(self) -> String {
        let user = match self.user {
            User::Root => "rootful",
            User::Rootless => "rootless",
        };
        let manager = self.manager.map(|manager| format!("-{manager}")).unwrap_or_default();
        format!("{}/{user}{manager}", self.runtime())
    }

    /// The runtime as podman is told it.
    pub fn runtime(self) -> &'static str {
        match self.runtime {
            Runtime::Crun => "crun",
            Runtime::Runc => "runc",
        }
    }

    /// Runs podman to its end, whatever that is.
    pub fn run(self, words: &[&str]) -> Result<Said, Error> {
        let mut command = self.started(limited(LIMIT, "podman"));
        command.args(["--runtime", self.runtime()]);
        command.args(self.manager.map(|manager| format!("--cgroup-manager={manager}")));
        said(command.args(words))
    }

    /// A command as this podman's user, in its groups.
    pub fn started(self, command: Command) -> Command {
        match self.group {
            Some(group) => as_member(group, &command),
            None => as_user(self.user, command),
        }
    }

    /// Runs podman, which has to succeed for the case to go on.
    pub fn must(self, words: &[&str]) -> Result<Said, Ended> {
        self.run(words)?.must()
    }

    /// The mount table that this podman's containers' storage is mounted in.
    pub fn mounts(self) -> Result<String, Ended> {
        let table = "/proc/self/mountinfo";
        match self.user {
            User::Root => Ok(said(Command::new("cat").arg(table))?.must()?.out),
            User::Rootless => Ok(self.must(&["unshare", "cat", table])?.out),
        }
    }

    /// Removes containers, running or not.
    pub fn remove(self, names: &[&str]) -> Result<(), Ended> {
        let words: Vec<&str> = ["rm", "--force", "--time=0"].iter().chain(names).copied().collect();
        self.must(&words).map(drop)
    }
}

/// The same command as another user with an environment of its own.
pub fn as_user(user: User, command: Command) -> Command {
    let mut command = with_environment(user, command);
    if user == User::Rootless {
        command.uid(USER_ID).gid(USER_ID);
    }
    command
}

/// The same command as the tree's user, who is in a group beside its own.
fn as_member(group: &str, command: &Command) -> Command {
    let mut setpriv = Command::new("setpriv");
    setpriv.args([format!("--reuid={USER_ID}"), format!("--regid={USER_ID}")]);
    setpriv.arg(format!("--groups={USER_ID},{group}"));
    setpriv.arg(command.get_program()).args(command.get_args());
    with_environment(User::Rootless, setpriv)
}

fn with_environment(user: User, mut command: Command) -> Command {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    command.env_clear().env("PATH", path);
    match user {
        User::Root => command.env("HOME", "/root").current_dir("/root"),
        User::Rootless => {
            let runtime = format!("/run/user/{USER_ID}");
            let home = format!("/home/{USER}");
            let bus = format!("{runtime}/bus");
            if Path::new(&bus).exists() {
                command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={bus}"));
            }
            command.env("XDG_RUNTIME_DIR", runtime).env("HOME", &home).env("USER", USER);
            command.current_dir(home)
        }
    };
    // Said once at every start of a newer podman, it would drown what matters.
    command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
    command
}

/// Runs a command and keeps what it said.
pub fn said(command: &mut Command) -> Result<Said, Error> {
    let output = process::capture(command)?;
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        line: words.collect::<Vec<_>>().join(" "),
    })
}

impl Said {
    /// Itself, if the command succeeded.
    pub fn must(self) -> Result<Self, Ended> {
        if self.code == 0 { Ok(self) } else { Err(self.failed("podman failed")) }
    }

    /// A failure of the case for `reason`, with all that was said.
    pub fn failed(&self, reason: impl Into<String>) -> Ended {
        Ended::failed(reason, self.told())
    }

    /// All of it, for a person to read.
    pub fn told(&self) -> String {
        format!("$ {}\n{}{}exit code {}", self.line, self.out, self.err, self.code)
    }

    /// Standard error without podman's own log. On cgroup v2, Podman 4.3 with cgroupfs warns at each start where the
    /// machine hands no controllers on.
    pub fn err_beside_log(&self) -> String {
        self.err.lines().filter(|line| !line.starts_with("time=\"")).collect()
    }

    /// The last words on standard error: why podman refused.
    pub fn last_words(&self) -> &str {
        self.err.trim_end().lines().next_back().unwrap_or("it said nothing")
    }
}
