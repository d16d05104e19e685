//! A device cgroup of version 1, as a runtime makes one for a container.

use crate::world::ID;
use std::fs;
use std::path::PathBuf;

const DEVICES: &str = "/sys/fs/cgroup/devices";

/// Removed when it is dropped.
pub(crate) struct Cgroup {
    directory: PathBuf,
}

impl Cgroup {
    /// One in which a process may use null(4) alone; none where this machine has none, or does not let tests make
    /// one. There is one at a time for each process of tests.
    pub(crate) fn new() -> Option<Cgroup> {
        let directory = PathBuf::from(format!("{DEVICES}/nvbind-{}-{ID}", std::process::id()));
        let _ = fs::remove_dir(&directory);
        // In place of cgroup version 1 there may be an ordinary directory.
        if !PathBuf::from(DEVICES).join("devices.list").exists() {
            return None;
        }
        fs::create_dir(&directory).ok()?;
        let cgroup = Cgroup { directory };
        let is_made = cgroup.write("devices.deny", "a") && cgroup.write("devices.allow", "c 1:3 rwm");
        is_made.then_some(cgroup)
    }

    /// Puts a process into it.
    pub(crate) fn add(&self, process: u32) {
        assert!(self.write("cgroup.procs", &process.to_string()));
    }

    fn write(&self, name: &str, content: &str) -> bool {
        fs::write(self.directory.join(name), content).is_ok()
    }

    pub(crate) fn rules(&self) -> Vec<String> {
        let list = fs::read_to_string(self.directory.join("devices.list")).unwrap();
        list.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Only an empty one can be removed: its process has ended before.
        let _ = fs::remove_dir(&self.directory);
    }
}
