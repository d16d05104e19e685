//! Everything below a directory, as lines to compare.

use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, statfs};
use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Metadata};
use std::hash::{Hash as _, Hasher as _};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Of larger files, such as sparse ones, the size and the beginning count.
const COMPARED: u64 = 1 << 20;

/// Path, type and mode, owner, device number, and a hash of the content or the link's target; sorted.
pub(crate) fn of(directory: &Path) -> Vec<String> {
    below(directory).into_iter().map(|line| format!("{}/{line}", directory.display())).collect()
}

/// The same with paths from the directory, which may have another name at the next start.
pub(crate) fn below(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    add(directory, directory, &mut lines, |_| String::new());
    lines.sort();
    lines
}

/// The same with what changes when a file is replaced by one like it, or written to: inode, links, group and times.
pub(crate) fn exact(directory: &Path) -> Vec<String> {
    let more = |metadata: &Metadata| {
        let (modified, changed) =
            ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
        format!(" {} {} {} {modified:?} {changed:?}", metadata.ino(), metadata.nlink(), metadata.gid())
    };
    let top = fs::symlink_metadata(directory).unwrap();
    let mut lines = vec![format!("{}{}", directory.display(), more(&top))];
    add(directory, directory, &mut lines, more);
    lines.sort();
    lines
}

/// The mounts of a process's namespace (`self`, `thread-self` or a number), a line of mountinfo each. Those without the
/// test's directory in them have no paths: others on this machine rename the directories above theirs.
pub(crate) fn mounts(process: &str, own: &Path) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let own = own.display().to_string();
    let line = |line: &str| {
        if line.contains(&own) {
            return line.to_owned();
        }
        // The root within the file system, and the mount point.
        let fields = line.split(' ').enumerate().filter(|(at, _)| ![3, 4].contains(at));
        fields.map(|(_, field)| field).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

/// What is only in one of two listings, for a test's message; nothing when they are the same.
pub(crate) fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let [before, after] = [before, after].map(|lines| lines.iter().collect::<BTreeSet<_>>());
    let lost = before.difference(&after).map(|line| format!("- {line}"));
    lost.chain(after.difference(&before).map(|line| format!("+ {line}"))).collect()
}

fn add(top: &Path, directory: &Path, lines: &mut Vec<String>, more: fn(&Metadata) -> String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if metadata.is_file() {
            let mut content = Vec::new();
            fs::File::open(&path).unwrap().take(COMPARED).read_to_end(&mut content).unwrap();
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            format!("{} {:x}", metadata.len(), hasher.finish())
        } else {
            String::new()
        };
        let name = path.strip_prefix(top).unwrap().display();
        let (mode, device) = (metadata.mode(), metadata.rdev());
        let (user, group) = (metadata.uid(), metadata.gid());
        let details = more(&metadata);
        lines.push(format!("{name} {mode:o} {user}:{group} {device} {content}{details}"));
        if metadata.is_dir() && !is_kernels(&path) {
            add(top, &path, lines, more);
        }
    }
}

/// Whether the kernel shows itself in a directory: nothing of that is the same twice.
fn is_kernels(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&found.filesystem_type()))
}
