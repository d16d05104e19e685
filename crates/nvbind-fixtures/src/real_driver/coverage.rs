//! Whether a plan has every shared object and every data file of the driver's packages.
use crate::driver_sim::TRIPLET_32;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What a plan need not have, with reasons: see its head.
const EXCEPTIONS: &str = include_str!("../../../../tests/fixtures/real-driver-exceptions.txt");

/// The patterns of the exceptions list.
fn exceptions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_whitespace().next())
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// How a plan has a file.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// As it should.
    Planned,
    /// At this place inside, where it is of no use.
    Misplaced(String),
    /// Not at all.
    Missing,
}

/// Those of `objects` (paths in the driver root, of all word sizes) that `plan`, the JSON of `nvbind plan`, does not
/// bind below `lib64` or `xorg`, or below `lib` for the 32-bit ones, and the list of exceptions does not excuse, and
/// exceptions that nothing needs any more.
pub fn differences<'a>(plan: &Value, objects: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let bound: Vec<(&str, &str)> = steps(plan)
        .iter()
        .filter_map(|step| Some((step.get("host")?.as_str()?, step.get("inside")?.as_str()?)))
        .collect();
    let find = |path: &Path| {
        // The X server's modules are no libraries: it finds them by directory.
        let folders: &[&str] = if is_32(path) { &["lib"] } else { &["lib64", "xorg"] };
        // Paths of a plan may carry the driver root in front.
        let end = path.strip_prefix("/").unwrap_or(path);
        let mut places =
            bound.iter().filter(|(host, _)| Path::new(host).ends_with(end)).map(|(_, inside)| *inside);
        match places
            .clone()
            .find(|inside| Path::new(inside).iter().any(|part| folders.iter().any(|folder| part == *folder)))
        {
            Some(_) => Found::Planned,
            None => places.next().map_or(Found::Missing, |inside| Found::Misplaced(inside.to_owned())),
        }
    };
    let patterns = exceptions(EXCEPTIONS).filter(|pattern| !pattern.starts_with('/')).collect();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    compare(patterns, objects, name, find)
}

/// The same for data files in the driver root `root`: a plan may name a file by any link to it, and inside have it
/// wherever its readers look.
pub fn data_differences<'a>(
    plan: &Value,
    root: &Path,
    files: impl IntoIterator<Item = &'a Path>,
) -> Vec<String> {
    let hosts = steps(plan).iter().filter_map(|step| step.get("host")?.as_str());
    let named: BTreeSet<PathBuf> = hosts.filter_map(|host| resolve(root, Path::new(host))).collect();
    let find = |path: &Path| if named.contains(path) { Found::Planned } else { Found::Missing };
    let patterns = exceptions(EXCEPTIONS).filter(|pattern| pattern.starts_with('/')).collect();
    compare(patterns, files, |path| path.to_string_lossy().into_owned(), find)
}

fn steps(plan: &Value) -> &[Value] {
    plan.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_32(path: &Path) -> bool {
    path.iter().any(|part| part == TRIPLET_32)
}

/// The file that `path` of a plan leads to, as a path inside the driver root.
fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let directory = File::open(root).ok()?;
    let how = OpenHow::new().flags(OFlag::O_PATH).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let name = |file: &dyn AsRawFd| fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
    let file = openat2(&directory, inside, how).ok()?;
    Some(Path::new("/").join(name(&file)?.strip_prefix(name(&directory)?).ok()?))
}

/// What of `files` is neither planned nor excused by one of `patterns`, which hold for what `subject` gives of a path.
fn compare<'a>(
    patterns: Vec<&str>,
    files: impl IntoIterator<Item = &'a Path>,
    subject: impl Fn(&Path) -> String,
    find: impl Fn(&Path) -> Found,
) -> Vec<String> {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut differences = Vec::new();
    for path in files {
        let subject = subject(path);
        let excused = patterns.iter().find(|pattern| matches(pattern, &subject));
        used.extend(excused.copied());
        let told = path.display();
        match (find(path), excused) {
            (Found::Missing, None) => differences.push(format!("{told}: not in the plan")),
            (Found::Misplaced(place), None) => {
                differences
                    .push(format!("{told}: planned as {place}, where no program of its word size looks"));
            }
            (Found::Planned | Found::Misplaced(_), Some(_)) => {
                differences.push(format!("{told}: in the plan although it is excepted"));
            }
            (Found::Planned, None) | (Found::Missing, Some(_)) => {}
        }
    }
    for pattern in patterns {
        if !used.contains(&pattern) {
            differences.push(format!("{pattern}: excepted, but no package has it"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_library_is_planned_or_excepted_but_not_both_and_not_neither() {
        let plan = serde_json::json!({"steps": [
            {"kind": "bind", "host": "/root/usr/lib/libcuda.so.535.1", "inside": "lib64/libcuda.so.535.1"},
            {"kind": "bind", "host": "/root/usr/lib/libOpenCL.so.1.0.0", "inside": "lib64/libOpenCL.so.1.0.0"},
            {"kind": "link", "path": "/usr/bin/nvidia-smi", "target": "x"},
        ]});
        let objects =
            ["/usr/lib/libcuda.so.535.1", "/usr/lib/libOpenCL.so.1.0.0", "/usr/lib/libnew.so.535.1"]
                .map(Path::new);
        assert_eq!(
            differences(&plan, objects),
            [
                "/usr/lib/libOpenCL.so.1.0.0: in the plan although it is excepted",
                "/usr/lib/libnew.so.535.1: not in the plan",
            ]
        );
        let without = [Path::new("/usr/lib/libcuda.so.535.1")];
        assert_eq!(differences(&plan, without), ["libOpenCL.so.*: excepted, but no package has it"]);
    }

    #[test]
    fn a_library_is_of_use_only_in_the_folder_of_its_word_size() {
        let plan = serde_json::json!({"steps": [
            {"kind": "bind", "host": "/usr/lib/i386-linux-gnu/liba.so.1", "inside": "/view/lib/liba.so.1"},
            {"kind": "bind", "host": "/usr/lib/i386-linux-gnu/libb.so.1", "inside": "/view/lib64/libb.so.1"},
            {"kind": "bind", "host": "/usr/lib/x86_64-linux-gnu/libc.so.1", "inside": "/view/lib/libc.so.1"},
            {"kind": "bind", "host": "/usr/lib/nvidia_drv.so", "inside": "/view/xorg/drivers/nvidia_drv.so"},
        ]});
        let objects = [
            "/usr/lib/i386-linux-gnu/liba.so.1",
            "/usr/lib/i386-linux-gnu/libb.so.1",
            "/usr/lib/x86_64-linux-gnu/libc.so.1",
            "/usr/lib/i386-linux-gnu/libOpenCL.so.1.0.0",
            "/usr/lib/nvidia_drv.so",
        ]
        .map(Path::new);
        assert_eq!(
            differences(&plan, objects),
            [
                "/usr/lib/i386-linux-gnu/libb.so.1: planned as /view/lib64/libb.so.1, where no program of its word size looks",
                "/usr/lib/x86_64-linux-gnu/libc.so.1: planned as /view/lib/libc.so.1, where no program of its word size looks",
            ]
        );
    }

    #[test]
    fn a_data_file_may_be_planned_by_any_link_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["usr/lib/current", "usr/share", "etc/alternatives"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("usr/lib/current/nvoptix.bin"), "").unwrap();
        fs::write(root.join("usr/share/nvidia_icd.json"), "").unwrap();
        // Absolute, as alternatives are: on the machine itself there is no such file.
        symlink("/etc/alternatives/nvoptix.bin", root.join("usr/share/nvoptix.bin")).unwrap();
        symlink("/usr/lib/current/nvoptix.bin", root.join("etc/alternatives/nvoptix.bin")).unwrap();
        let files = ["/usr/lib/current/nvoptix.bin", "/usr/share/nvidia_icd.json"].map(Path::new);
        let plan =
            |host: &str| serde_json::json!({"steps": [{"kind": "file", "inside": "/x", "host": host}]});
        let missing = ["/usr/share/nvidia_icd.json: not in the plan"];
        assert_eq!(data_differences(&plan("/usr/share/nvoptix.bin"), root, files), missing);
        let below = root.join("usr/share/nvoptix.bin");
        assert_eq!(data_differences(&plan(&below.to_string_lossy()), root, files), missing);
        assert_eq!(data_differences(&plan("/nowhere"), root, files).len(), 2);
    }

    #[test]
    fn every_exception_has_a_reason() {
        for line in EXCEPTIONS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.split_whitespace().count() > 3, "{line}");
        }
    }
}
