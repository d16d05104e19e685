//! A host with a driver, a bundle and a container that has not started its program yet.

use crate::listing;
use crate::machine::{Machine, VERSION};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) const HOOK: &str = env!("CARGO_BIN_EXE_nvbind-hook");
pub(crate) const ID: &str = "c0ffee";
pub(crate) const LOADER: &str =
    if cfg!(target_arch = "aarch64") { "lib/ld-linux-aarch64.so.1" } else { "lib64/ld-linux-x86-64.so.2" };

/// The device nodes of the driver: name and minor number of the majors in the fixture.
const NODES: [(&str, u64, u64); 6] = [
    ("nvidiactl", 195, 255),
    ("nvidia-modeset", 195, 254),
    ("nvidia0", 195, 0),
    ("nvidia1", 195, 1),
    ("nvidia-uvm", 511, 0),
    ("nvidia-uvm-tools", 511, 1),
];

/// The root filesystem that most tests start with: an overlay, with a tmpfs on /dev.
const OVERLAY: &str = "mount -t overlay overlay -o lowerdir=$IMAGE,upperdir=$UPPER,workdir=$WORK $ROOT";
const DEV: &str = "mount -t tmpfs tmpfs $ROOT/dev";

/// How a hook ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Its stderr, with the test's directories shortened.
    pub(crate) says: String,
}

pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) driver: Machine,
    /// The state on stdin; `PID` stands for the container's process.
    pub(crate) state: Vec<u8>,
    /// The hook's arguments.
    pub(crate) arguments: Vec<String>,
    /// The container's namespaces, as options of unshare(1).
    pub(crate) namespaces: &'static [&'static str],
    /// Shell lines that mount the container's root filesystem, in the container's namespace.
    pub(crate) mounts: Vec<&'static str>,
    container: Option<Child>,
}

/// Makes a device node with this mode, whatever the umask.
pub(crate) fn node(path: &Path, mode: u32, device: u64) -> nix::Result<()> {
    mknod(path, SFlag::S_IFCHR, Mode::empty(), device)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    Ok(())
}

impl World {
    /// An ordinary one: nothing is wrong with it. None where this machine does not let tests make namespaces.
    pub(crate) fn new() -> Option<World> {
        let directory = tempfile::tempdir().unwrap();
        umask(Mode::from_bits_truncate(0o022));
        let driver = Machine::new();
        driver.gpu("0000:01:00.0", 1, "GPU-aaaa0000-0000-0000-0000-000000000001", &[]);
        driver.gpu("0000:41:00.0", 0, "GPU-bbbb0000-0000-0000-0000-000000000002", &[]);
        driver.write("usr/bin/nvidia-smi", "#!/bin/sh\n");
        fs::create_dir(driver.path("dev")).unwrap();
        for (name, major, minor) in NODES {
            if let Err(errno) = node(&driver.path("dev").join(name), 0o666, makedev(major, minor)) {
                return skip(&format!("this user may not make device nodes: {errno}"));
            }
        }
        let arguments =
            ["prestart", "--driver-root", driver.path("").to_str().unwrap()].map(str::to_owned).to_vec();
        let mut world = World {
            directory,
            driver,
            state: Vec::new(),
            arguments,
            namespaces: &["--mount"],
            mounts: vec![OVERLAY, DEV],
            container: None,
        };
        for name in ["image", "userdata", "outside", "scratch", "plain"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        if let Err(errno) = isolate(&world.path("scratch")) {
            return skip(&format!("this user may not make a mount namespace: {errno}"));
        }
        for name in ["root", "upper", "work"] {
            fs::create_dir(world.path("scratch").join(name)).unwrap();
        }
        world.image();
        let root = world.path("scratch/root");
        world.config(&format!(r#"{{"path":"{}"}}"#, root.display()), "");
        world.request(r#""io.nvbind.gpu":"all""#);
        Some(world)
    }

    /// The image: what nvbind looks for in one of Debian's.
    fn image(&self) {
        for name in ["dev", "etc/ld.so.conf.d", "run", "usr/bin", "usr/local", "proc"] {
            fs::create_dir_all(self.path("image").join(name)).unwrap();
        }
        self.write(&format!("image/{LOADER}"), "");
        self.write("image/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
        self.write("outside/kept", "of the host\n");
    }

    /// Writes config.json: its `root`, and further members.
    pub(crate) fn config(&self, root: &str, more: &str) {
        let mounts = r#""mounts":[{"destination":"/dev","type":"tmpfs","source":"tmpfs"}]"#;
        self.write(
            "userdata/config.json",
            format!(r#"{{"ociVersion":"1.0.2","root":{root},{mounts}{more}}}"#),
        );
    }

    /// Makes the state: of a container with these annotations.
    pub(crate) fn request(&mut self, annotations: &str) {
        let bundle = self.path("userdata");
        self.state = format!(
            r#"{{"ociVersion":"1.0.2","id":"{ID}","pid":PID,"status":"created","bundle":"{}","annotations":{{{annotations}}}}}"#,
            bundle.display()
        )
        .into_bytes();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Makes `path` of the image a link.
    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.path("image").join(path);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Starts the container's process; a second call is a restart on the same upper layer.
    pub(crate) fn start(&mut self) {
        self.stop();
        for directory in ["usr/lib64", "usr/lib32", "usr/bin"] {
            self.driver.settle(&self.driver.path(directory).join("any"));
        }
        let mut script = self.mounts.join("\n");
        script.push_str("\necho ready; exec cat");
        let mut child = Command::new("unshare")
            .arg("--propagation=private")
            .args(self.namespaces)
            .args(["sh", "-euc", &script])
            .env("IMAGE", self.path("image"))
            .env("UPPER", self.path("scratch/upper"))
            .env("WORK", self.path("scratch/work"))
            .env("ROOT", self.path("scratch/root"))
            .env("OUTSIDE", self.path("outside"))
            .env("PLAIN", self.path("plain"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self.container = Some(child);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.container.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends the container, and makes its upper layer empty again.
    pub(crate) fn renew(&mut self) {
        self.stop();
        for name in ["upper", "work"] {
            let layer = self.path("scratch").join(name);
            fs::remove_dir_all(&layer).unwrap();
            fs::create_dir(&layer).unwrap();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.container.as_ref().unwrap().id()
    }

    /// A path of the host or of the container as the container's process sees it.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.pid());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }

    /// A path in the container.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.seen(&self.path("scratch/root")).join(path)
    }

    /// The state with the container's pid in it.
    pub(crate) fn stdin(&self) -> Vec<u8> {
        let pid = self.pid().to_string();
        match self.state.windows(3).position(|window| window == b"PID") {
            Some(at) => [&self.state[..at], pid.as_bytes(), &self.state[at + 3..]].concat(),
            None => self.state.clone(),
        }
    }

    /// The hook as a runtime starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(HOOK);
        command.args(&self.arguments).env_clear();
        command
    }

    /// Runs the hook as a runtime does.
    pub(crate) fn hook(&self) -> Ended {
        self.run(&mut self.command())
    }

    /// Runs a command that is the hook in the end.
    pub(crate) fn run(&self, command: &mut Command) -> Ended {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A hook that refuses its input early does not read all of it.
        let _ = child.stdin.take().unwrap().write_all(&self.stdin());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"", "nothing belongs on stdout");
        Ended { code: output.status.code(), says: self.shortened(&String::from_utf8(output.stderr).unwrap()) }
    }

    /// Without what differs from machine to machine: the test's directories, and the cgroup that it runs in.
    pub(crate) fn shortened(&self, text: &str) -> String {
        let is_said = |line: &&str| !line.contains("the container shares the cgroup");
        let text: String = text.split_inclusive('\n').filter(is_said).collect();
        let driver = self.driver.path("");
        let driver = driver.to_str().unwrap().trim_end_matches('/');
        let pid = self.pid().to_string();
        text.replace(driver, "@driver")
            .replace(self.directory.path().to_str().unwrap(), "@")
            .replace(&format!("/proc/{pid}/"), "/proc/PID/")
    }

    /// All that must be the same after a hook that failed: the host's mounts and files, and the container's files.
    pub(crate) fn snapshot(&self) -> Vec<String> {
        let mut lines = self.host();
        lines.extend(listing::of(&self.inside("")));
        lines
    }

    /// The host's mounts and files.
    pub(crate) fn host(&self) -> Vec<String> {
        let mut lines = listing::mounts("thread-self", &self.path(""));
        for directory in ["image", "outside", "userdata"] {
            lines.extend(listing::exact(&self.path(directory)));
        }
        lines.extend(listing::of(&self.path("plain")));
        lines.extend(listing::of(&self.driver.path("")));
        lines
    }

    /// Sees that a hook that failed has changed nothing.
    pub(crate) fn assert_same(&self, before: &[String], case: &str) {
        assert_eq!(listing::difference(before, &self.snapshot()), Vec::<String>::new(), "{case}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        // In this thread's namespace only; without it the directory cannot be removed.
        let _ = umount2(&self.path("scratch"), MntFlags::MNT_DETACH);
    }
}

/// Leaves the machine's mount namespace for one of this thread's own, with an empty /run for the hook's records (and
/// no syslog), and a tmpfs for the container's upper layer.
fn isolate(scratch: &Path) -> nix::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    for place in [Path::new("/run"), scratch] {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=16m"))?;
    }
    Ok(())
}

pub(crate) fn skip<T>(reason: &str) -> Option<T> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    // Past the capture of test output: a skip has to be seen.
    let _ = writeln!(std::io::stdout(), "test {test} ... SKIPPED: {reason}");
    None
}

/// A driver of another version, for a second start.
pub(crate) fn other_driver() -> Machine {
    let machine = Machine::empty();
    let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Thu Jun  5 2025\n";
    machine.write("proc/driver/nvidia/version", version);
    machine.library("/usr/lib64", "libcuda.so.535.261.03", "libcuda.so.1");
    assert_ne!(VERSION, "535.261.03");
    machine
}
