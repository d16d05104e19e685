//! A simulated desktop: listening sockets where a display and sound servers have theirs, a cookie, and device nodes
//! that no driver answers.

use crate::ended::{Ended, claim};
use crate::lane::DRIVER;
use crate::podman::User;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_lanes::tree::{USER, USER_ID, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What the cookie file holds.
pub(super) const COOKIE: &str = "simulated cookie";

/// Where X servers have their sockets.
const X11: &str = "/tmp/.X11-unix";
/// Game controllers: a node that everybody may use, and one of root's alone.
const INPUT: &str = "/dev/input";
const CONTROLLERS: &[(&str, u32)] = &[("event0", 0o666), ("event1", 0o600)];
/// The major number of input devices, and the first minor of event nodes (the kernel's devices.txt).
const INPUT_MAJOR: u64 = 13;
const FIRST_EVENT: u64 = 64;
/// The GPUs' own nodes.
const DRI: &str = "/dev/dri";

/// The desktop of one user.
#[derive(Debug)]
pub(crate) struct Desktop {
    user: User,
    listeners: Vec<(PathBuf, UnixListener)>,
}

/// Runs the body on a machine with a desktop, which is gone afterwards.
pub(crate) fn with(user: User, body: impl FnOnce(&Desktop) -> Result<(), Ended>) -> Result<(), Ended> {
    remove(user)?;
    let ended = Desktop::make(user).map_err(Ended::from).and_then(|desktop| body(&desktop));
    remove(user)?;
    ended
}

/// Runs the body on a machine that has nothing of a desktop.
pub(super) fn without(user: User, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    remove(user)?;
    body()
}

/// The user's home directory.
pub(crate) fn home(user: User) -> PathBuf {
    match user {
        User::Root => PathBuf::from("/root"),
        User::Rootless => Path::new("/home").join(USER),
    }
}

/// The user's runtime directory.
pub(super) fn runtime(user: User) -> PathBuf {
    let id = if user == User::Root { 0 } else { USER_ID };
    Path::new("/run/user").join(id.to_string())
}

/// The place of the cookie.
pub(super) fn cookie(user: User) -> PathBuf {
    home(user).join(".Xauthority")
}

/// The sockets, in the order of their profile.
fn sockets(user: User) -> [PathBuf; 4] {
    let runtime = runtime(user);
    [
        Path::new(X11).join("X0"),
        runtime.join("wayland-0"),
        runtime.join("pulse/native"),
        runtime.join("pipewire-0"),
    ]
}

/// What is the desktop's alone.
fn places(user: User) -> Vec<PathBuf> {
    let runtime = runtime(user);
    let mut places = vec![PathBuf::from(X11), runtime.join("pulse"), cookie(user)];
    places.extend([runtime.join("wayland-0"), runtime.join("pipewire-0")]);
    places.extend([INPUT, DRI].map(PathBuf::from));
    places
}

fn remove(user: User) -> Result<(), Error> {
    for place in places(user) {
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&place).on("remove", &place)?,
            Ok(_) => fs::remove_file(&place).on("remove", &place)?,
            Err(_) => {}
        }
    }
    Ok(())
}

impl Desktop {
    fn make(user: User) -> Result<Self, Error> {
        let mut listeners = Vec::new();
        for path in sockets(user) {
            let folder = path.parent().unwrap_or(&path);
            fs::create_dir_all(folder).on("create", folder)?;
            let listener = UnixListener::bind(&path).on("bind", &path)?;
            listener.set_nonblocking(true).on("use", &path)?;
            own(user, &path, 0o600)?;
            listeners.push((path, listener));
        }
        // As systemd-tmpfiles makes it.
        fs::set_permissions(X11, fs::Permissions::from_mode(0o1777)).on("open", Path::new(X11))?;
        own(user, &runtime(user).join("pulse"), 0o700)?;
        write(&cookie(user), COOKIE)?;
        own(user, &cookie(user), 0o600)?;
        let input = Path::new(INPUT);
        let by_path = input.join("by-path");
        fs::create_dir_all(&by_path).on("create", &by_path)?;
        for (minor, (name, mode)) in (FIRST_EVENT..).zip(CONTROLLERS) {
            node(&input.join(name), makedev(INPUT_MAJOR, minor), *mode)?;
        }
        symlink("../event0", by_path.join("simulated-event-joystick")).on("link into", &by_path)?;
        let nodes = Path::new(DRIVER).join("dev/dri");
        fs::create_dir_all(DRI).on("create", Path::new(DRI))?;
        for entry in fs::read_dir(&nodes).on("list", &nodes)? {
            let entry = entry.on("list", &nodes)?;
            let number = entry.metadata().on("look at", &entry.path())?.rdev();
            node(&Path::new(DRI).join(entry.file_name()), number, 0o666)?;
        }
        Ok(Self { user, listeners })
    }

    /// What a session tells its programs.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DISPLAY", ":0".to_owned()),
            ("WAYLAND_DISPLAY", "wayland-0".to_owned()),
            ("XAUTHORITY", cookie(self.user).display().to_string()),
            ("XDG_RUNTIME_DIR", runtime(self.user).display().to_string()),
        ]
    }

    /// Fails the case unless somebody has connected to every socket.
    pub(super) fn claim_connected(&self) -> Result<(), Ended> {
        self.listeners.iter().try_for_each(|(path, listener)| {
            claim(listener.accept().is_ok(), "nobody connected to a socket of the desktop", || {
                path.display().to_string()
            })
        })
    }
}

fn own(user: User, path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).on("close", path)?;
    let id = (user == User::Rootless).then_some(USER_ID);
    chown(path, id, id).on("give away", path)
}

fn node(path: &Path, number: u64, mode: u32) -> Result<(), Error> {
    mknod(path, SFlag::S_IFCHR, Mode::empty(), number).on("make the node", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).on("open", path)
}
