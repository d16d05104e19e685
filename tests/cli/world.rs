//! An ordinary user of a machine with two GPUs, whose podman only writes down how it was called.

use crate::machine::Machine;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No user of a Debian has this number.
const USER_ID: u32 = 47_110;

/// What nvbind, as podman, exits with where no container was started.
pub(crate) const NOT_STARTED: i32 = 125;

pub(crate) struct World {
    machine: Machine,
}

/// What nvbind printed, and how podman was called meanwhile.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) podman: Option<String>,
}

impl World {
    pub(crate) fn new() -> World {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-aaaa0000-0000-0000-0000-000000000001", &[]);
        machine.gpu("0000:41:00.0", 1, "GPU-bbbb0000-0000-0000-0000-000000000002", &[]);
        let world = World { machine };
        let called = world.path("called/words");
        world.write("called/words", "");
        fs::remove_file(&called).unwrap();
        let podman = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >{}\n", called.display());
        world.write("podman.sh", &podman);
        world.write("libexec/nvbind-hook", "");
        world.install(&world.path("podman.sh"), "bin/podman");
        world.install(Path::new(env!("CARGO_BIN_EXE_nvbind")), "bin/nvbind");
        world.allow("libexec/nvbind-hook", 0o755);
        world.hook(&[]);
        let engine = format!("[engine]\nhooks_dir = [\"{}\"]\n", world.path("hooks.d").display());
        world.write("home/.config/containers/containers.conf", &engine);
        // The user's own, whoever runs the test.
        for folder in ["", "called", "home", "home/.config", "home/.config/nvbind"] {
            fs::create_dir_all(world.path(folder)).unwrap();
            world.allow(folder, 0o777);
        }
        world
    }

    /// Makes a program. By another process: one that this process had open for writing while another test starts
    /// something could not be executed for a moment.
    fn install(&self, from: &Path, to: &str) {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        assert!(Command::new("cp").arg(from).arg(self.path(to)).status().unwrap().success());
        self.allow(to, 0o755);
    }

    /// Has podman start the hook with these words.
    pub(crate) fn hook(&self, words: &[&str]) {
        let root = self.path("").display().to_string();
        let args = [&["nvbind-hook", "--driver-root", &root], words].concat();
        let json = serde_json::json!({
            "version": "1.0.0",
            "hook": {"path": self.path("libexec/nvbind-hook"), "args": args},
            "when": {"annotations": {"^io\\.nvbind\\.gpu$": ".*"}},
            "stages": ["prestart"],
        });
        self.write("hooks.d/nvbind.json", &json.to_string());
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.machine.path(path)
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        self.machine.write(path, content);
    }

    pub(crate) fn allow(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).unwrap();
    }

    /// The user's configuration.
    pub(crate) fn configure(&self, text: &str) -> PathBuf {
        self.write("home/.config/nvbind/config.toml", text);
        self.path("home/.config/nvbind/config.toml")
    }

    /// Runs nvbind as the user.
    pub(crate) fn nvbind(&self, words: &[&str]) -> Said {
        self.nvbind_with(words, &[])
    }

    /// The same with more variables.
    pub(crate) fn nvbind_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = self.command(words);
        command.envs(variables.iter().copied());
        if is_root() {
            command.uid(USER_ID).gid(USER_ID);
        }
        self.said(&mut command)
    }

    /// Runs nvbind as root, if root runs the tests.
    pub(crate) fn nvbind_as_root(&self, words: &[&str]) -> Option<Said> {
        is_root().then(|| self.said(&mut self.command(words)))
    }

    /// Runs nvbind as the user from a shell with this umask.
    pub(crate) fn nvbind_under(&self, umask: &str, words: &[&str]) -> Said {
        let mut command = self.placed("/bin/sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(self.path("bin/nvbind"));
        command.args(words);
        if is_root() {
            command.uid(USER_ID).gid(USER_ID);
        }
        self.said(&mut command)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.placed(self.path("bin/nvbind"));
        command.args(words);
        command
    }

    /// A program in the user's place.
    fn placed(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", self.path("bin")).env("HOME", self.path("home"));
        command.current_dir(self.path("home"));
        command
    }

    fn said(&self, command: &mut Command) -> Said {
        let output = command.output().unwrap();
        let called = self.path("called/words");
        let podman = fs::read_to_string(&called).ok();
        if podman.is_some() {
            fs::remove_file(called).unwrap();
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
            podman,
        }
    }

    /// Fails the test unless nvbind starts nothing, and says all of this.
    pub(crate) fn refuses(&self, words: &[&str], code: i32, texts: &[&str]) {
        let said = self.nvbind(words);
        assert_eq!((said.code, &said.podman), (code, &None), "nvbind {words:?}: {}", said.err);
        for text in texts {
            assert!(said.err.contains(text), "nvbind {words:?} does not say {text:?}: {}", said.err);
        }
    }
}

/// Who owns what this process makes.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(Path::new("/proc/self")).unwrap().uid() == 0
}
