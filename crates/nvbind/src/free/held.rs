//! Which devices running containers have, read from the containers themselves: nothing has to be kept that could go
//! stale. A user sees the own containers, root everybody's.

use nix::sys::stat::{major, minor};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A device's numbers, major and minor.
pub(super) type Numbers = (u64, u64);

/// Where a container has nodes of the driver's.
const DIRECTORIES: [&str; 2] = ["dev", "dev/nvidia-caps"];

/// No container has as many nodes; one that has is not read to its end.
const ENTRIES: usize = 4096;

/// What is mounted in a container that was given GPUs: nvbind's view, or the libraries that every such tool binds. A
/// privileged container that was given none has all nodes as well, and none of these; nor has a service of the host's.
const MARKS: [&str; 3] = [" - tmpfs nvbind ", "/libcuda.so.", "/libnvidia-ml.so."];

/// The nodes of all containers that are seen in this /proc, but for those of these processes.
pub(super) fn held(proc: &Path, except: &[u32]) -> BTreeSet<Numbers> {
    let except = except.iter().map(u32::to_string);
    let namespace = |process: String| fs::read_link(proc.join(process).join("ns/mnt")).ok();
    let mut seen: BTreeSet<PathBuf> = except.chain(["self".to_owned()]).filter_map(namespace).collect();
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let process = entry.path();
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // One that ended, or is another user's.
        let Ok(namespace) = fs::read_link(process.join("ns/mnt")) else { continue };
        if seen.insert(namespace) && is_container_with_gpus(&process) {
            held.extend(
                DIRECTORIES.iter().flat_map(|directory| nodes(&process.join("root").join(directory))),
            );
        }
    }
    held
}

fn is_container_with_gpus(process: &Path) -> bool {
    let mounts = fs::read_to_string(process.join("mountinfo"));
    mounts.is_ok_and(|mounts| MARKS.iter().any(|mark| mounts.contains(mark)))
}

fn nodes(directory: &Path) -> Vec<Numbers> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(ENTRIES);
    let named = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"nvidia"));
    let metadata = named.filter_map(|entry| entry.metadata().ok());
    let numbers = metadata.filter(|it| it.file_type().is_char_device()).map(|it| it.rdev());
    numbers.map(|device| (major(device), minor(device))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A process of a container, or of a service, with these nodes.
    fn process(proc: &Path, id: &str, namespace: &str, mounts: &str, nodes: &[(&str, Numbers)]) {
        let directory = proc.join(id);
        fs::create_dir_all(directory.join("ns")).unwrap();
        symlink(namespace, directory.join("ns/mnt")).unwrap();
        fs::write(directory.join("mountinfo"), mounts).unwrap();
        for (name, (major, minor)) in nodes {
            let path = directory.join("root/dev").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(*major, *minor)).unwrap();
        }
    }

    #[test]
    fn the_nodes_of_containers_with_gpus_are_held_and_no_others() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: nodes are made by root alone");
            return;
        }
        let proc = TempDir::new().unwrap();
        let proc = proc.path();
        let view = "36 35 0:30 / /usr/local/nvidia ro - tmpfs nvbind ro\n";
        let bound = "36 35 8:1 /usr/lib/libcuda.so.570 /usr/lib/libcuda.so.570 ro - ext4 /dev/sda1 ro\n";
        process(proc, "self", "mnt:[1]", "", &[]);
        process(proc, "1", "mnt:[1]", view, &[("nvidia7", (195, 7))]);
        process(
            proc,
            "20",
            "mnt:[2]",
            view,
            &[("nvidia0", (195, 0)), ("nvidiactl", (195, 255)), ("null", (1, 3))],
        );
        process(proc, "21", "mnt:[2]", view, &[("nvidia0", (195, 0)), ("nvidiactl", (195, 255))]);
        process(proc, "30", "mnt:[3]", bound, &[("nvidia-caps/nvidia-cap12", (235, 12))]);
        process(proc, "40", "mnt:[4]", "36 35 0:6 / /dev rw - devtmpfs udev rw\n", &[("nvidia1", (195, 1))]);
        process(proc, "acpi", "mnt:[5]", view, &[("nvidia5", (195, 5))]);
        fs::create_dir(proc.join("50")).unwrap();
        assert_eq!(held(proc, &[]), BTreeSet::from([(195, 0), (195, 255), (235, 12)]));
        assert_eq!(held(proc, &[20, 60]), BTreeSet::from([(235, 12)]));
    }
}
