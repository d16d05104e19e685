//! Whether the driver's directory in the container is as it should be: mounted, and read-only.
use super::devices::name_of;
use super::names;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// The driver's directory.
#[derive(Debug, Serialize)]
pub struct View {
    /// Where it is.
    pub path: String,
    /// What making a file in it gave.
    pub create: String,
    /// What opening each library in it for writing gave: the different answers.
    pub write: Vec<String>,
    /// The lines of `/proc/self/mountinfo` at and below it.
    pub mounts: Vec<String>,
}

pub(super) fn look(path: &Path, unexpected: &mut Vec<String>) -> View {
    let view = View {
        path: path.display().to_string(),
        create: create(&path.join("lib64/nvbind-probe")),
        write: write(&path.join("lib64")),
        mounts: mounts(path),
    };
    if view.create == "ok" {
        unexpected.push(format!("{}/lib64: a file can be made there", view.path));
    }
    if view.write.iter().any(|answer| answer == "ok") {
        unexpected.push(format!("{}/lib64: libraries open for writing", view.path));
    }
    if view.mounts.is_empty() {
        unexpected.push(format!("{}: nothing is mounted there", view.path));
    }
    view
}

fn create(path: &Path) -> String {
    let made = File::options().write(true).create_new(true).open(path);
    let answer = name_of(made.map(drop));
    if answer == "ok" {
        // It should not have been possible, and is reported; what is left of it matters less.
        let _ = std::fs::remove_file(path);
    }
    answer
}

fn write(directory: &Path) -> Vec<String> {
    let mut answers: Vec<String> = names(directory)
        .into_iter()
        .map(|name| directory.join(name))
        .filter(|path| path.is_file())
        .map(|path| name_of(OpenOptions::new().write(true).open(path).map(drop)))
        .collect();
    answers.sort_unstable();
    answers.dedup();
    answers
}

/// Every mount: the root of it and its place, the fourth and fifth fields.
pub(super) fn places() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let place = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        Some(format!("{} {}", fields.next()?, fields.next()?))
    };
    table.lines().filter_map(place).collect()
}

fn mounts(path: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    below(path, &table)
}

/// The mount point is the fifth field (proc_pid_mountinfo(5)).
fn below(path: &Path, table: &str) -> Vec<String> {
    table
        .lines()
        .filter(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(path)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_at_and_below_the_view_are_its_own() {
        let table = "1 0 0:1 / / rw - overlay o rw\n\
                     2 1 0:2 / /usr/local/nvidia ro - tmpfs t ro\n\
                     3 1 0:2 / /usr/local/nvidia-cuda ro - tmpfs t ro\n\
                     4 2 0:3 /l /usr/local/nvidia/lib64/l ro - ext4 e rw";
        let points: Vec<_> = below(Path::new("/usr/local/nvidia"), table)
            .iter()
            .map(|line| line.split(' ').nth(4).unwrap().to_owned())
            .collect();
        assert_eq!(points, ["/usr/local/nvidia", "/usr/local/nvidia/lib64/l"]);
    }
}
