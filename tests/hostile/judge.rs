//! How a row's start has ended: with a working container or the documented refusal, and nothing touched outside.

use crate::canary::Canary;
use crate::furnished::furnish;
use crate::inside::Inside;
use crate::listing;
use crate::row::{Refused, Row, Warned, Works, row};
use crate::world::{Ended, HOOK, World};
use nvbind_core::ldcache::Cache;
use nvbind_core::plan::VIEWS;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

pub(crate) const SONAME: &str = "libcuda.so.1";

/// More is no message.
const LONGEST: usize = 4 << 10;

/// Files of ours in a view that is not of the plan: what covers a loader's file.
const COVERS: [&str; 3] = ["/ld.so.cache ", "/ld-musl-x86_64.path ", "/ld-musl-aarch64.path "];

/// Starts a row's container and fails where it does not end as it has to.
pub(crate) fn judge(row: &Row) {
    let Some(mut world) = World::new() else { return };
    furnish(&mut world, row);
    world.start();
    let canary = Canary::watch(&world);
    let may_be_refused = row.may_be_denied || matches!(row.expected, Refused(..));
    let before = if may_be_refused { listing::of(&world.inside("")) } else { Vec::new() };
    let kept = read_kept(&world, row);
    let mounts = read_mounts(&world);
    let ended = start(&world);
    canary.assert_untouched();
    assert_printable(&ended.says);
    assert_eq!(read_kept(&world, row), kept, "{:?}", row.kept);
    let denied = Refused(4, "in the container: Permission denied".to_owned());
    let is_denied = row.may_be_denied && ended.code == Some(4);
    match if is_denied { &denied } else { &row.expected } {
        Refused(code, text) => {
            assert_eq!(ended.code, Some(*code), "{}", ended.says);
            assert!(ended.says.contains(text) && ended.says.len() < LONGEST, "{}", ended.says);
            assert!((1..=2).contains(&ended.says.lines().count()), "{}", ended.says);
            let after = listing::of(&world.inside(""));
            assert_eq!(listing::difference(&before, &after), Vec::<String>::new(), "{}", ended.says);
        }
        Works | Warned(_) => {
            assert_eq!(ended.code, Some(0), "{}", ended.says);
            assert_equipped(&world, row, &ended);
            assert_bare(&world, row, &mounts);
        }
    }
}

/// Runs the hook as a runtime does, which ends one that waits for something of the container's.
fn start(world: &World) -> Ended {
    let mut command = Command::new("/usr/bin/timeout");
    world.run(command.args(["60", HOOK]).args(&world.arguments).env_clear())
}

fn read_kept(world: &World, row: &Row) -> Vec<Option<Vec<u8>>> {
    let inside = Inside::of(world);
    row.kept.iter().map(|path| inside.read(path)).collect()
}

fn assert_equipped(world: &World, row: &Row, ended: &Ended) {
    let inside = Inside::of(world);
    let (place, view) = find_view(&inside).unwrap_or_else(|| panic!("no view: {}", ended.says));
    static UNDISTURBED: OnceLock<Vec<String>> = OnceLock::new();
    let expected = UNDISTURBED.get_or_init(list_undisturbed);
    let is_own = |line: &String| {
        let names = ["/libcuda.so", "/libnvidia-allocator.so", " /usr/local/cuda/compat/"];
        row.has_own_cuda && names.iter().any(|name| line.contains(name))
    };
    let view: Vec<String> =
        view.into_iter().filter(|line| !COVERS.iter().any(|name| line.starts_with(name))).collect();
    let mut differences = listing::difference(expected, &view);
    differences.retain(|line| !is_own(line));
    assert_eq!(differences, Vec::<String>::new(), "the view: {}", ended.says);
    for (path, device) in nodes(world) {
        let node = inside.open(&path).unwrap_or_else(|| panic!("no {path}: {}", ended.says));
        let found = node.metadata();
        assert!(found.file_type().is_char_device() && found.rdev() == device, "{path} is another");
    }
    match row.expected {
        Warned(text) => assert!(ended.says.contains(text), "{}", ended.says),
        Works | Refused(..) => assert_found(&inside, row, place, ended),
    }
}

/// The loader finds the driver's libcuda first.
fn assert_found(inside: &Inside, row: &Row, place: &str, ended: &Ended) {
    let path = format!("{place}/lib64/{SONAME}");
    if row.is_musl {
        let file = inside.read(crate::places::PATH_FILE).unwrap_or_default();
        let first = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(first), format!("{place}/lib64"), "{}", ended.says);
        return;
    }
    let file = inside.read("etc/ld.so.cache").unwrap_or_else(|| panic!("no cache: {}", ended.says));
    let cache = Cache::parse(&file).unwrap();
    let entry = cache.entries().iter().find(|entry| entry.soname == SONAME.as_bytes());
    let found = entry.map(|entry| String::from_utf8_lossy(entry.path).into_owned());
    assert_eq!(found, Some(path), "{}", ended.says);
}

/// Where the view stands, and what is in it.
fn find_view(inside: &Inside) -> Option<(&'static str, Vec<String>)> {
    VIEWS.into_iter().find_map(|place| {
        inside.open(&format!("{place}/lib64/libnvidia-ml.so.1"))?;
        let view = inside.open(place)?;
        let path = view.path();
        let lines = listing::of(&path);
        let top = path.display().to_string();
        Some((place, lines.iter().map(|line| line.strip_prefix(&top).unwrap().to_owned()).collect()))
    })
}

/// The view of a start in which nothing is odd.
fn list_undisturbed() -> Vec<String> {
    let thread = std::thread::spawn(|| {
        let mut world = World::new().unwrap();
        furnish(&mut world, &row("undisturbed", Works));
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        let (place, view) = find_view(&Inside::of(&world)).unwrap();
        assert_eq!(place, VIEWS[0]);
        view
    });
    thread.join().unwrap()
}

/// The driver's nodes, as the container has to have them: path and number.
fn nodes(world: &World) -> Vec<(String, u64)> {
    let lines = listing::of(&world.driver.path("dev"));
    let top = world.driver.path("").display().to_string();
    let nodes = lines.iter().map(|line| line.strip_prefix(&top).unwrap().split(' ').collect::<Vec<_>>());
    let nodes = nodes.filter(|parts| parts[3] != "0");
    nodes.map(|parts| (parts[0].to_owned(), parts[3].parse().unwrap())).collect()
}

/// The container's mounts, as points below its root.
fn read_mounts(world: &World) -> BTreeSet<String> {
    let mounts = fs::read(format!("/proc/{}/mountinfo", world.pid())).unwrap();
    let root = world.path("scratch/root").display().to_string();
    let points = String::from_utf8_lossy(&mounts).into_owned();
    let points =
        points.lines().filter_map(|line| line.split(' ').nth(4)?.strip_prefix(&root).map(str::to_owned));
    points.collect()
}

/// Nothing was mounted over what the row names, or over a file by which the kernel shows itself, but for the driver's
/// own directory.
fn assert_bare(world: &World, row: &Row, before: &BTreeSet<String>) {
    let after = read_mounts(world);
    let is_kernel_s = |point: &&String| {
        let path = Path::new(point.as_str());
        ["/proc", "/sys", "/hostproc"].iter().any(|top| path.starts_with(top))
            && !path.starts_with("/proc/driver")
    };
    let over: Vec<&String> = after.difference(before).filter(is_kernel_s).collect();
    assert!(over.is_empty(), "mounted over the kernel's: {over:?}");
    for path in &row.bare {
        let point = format!("/{path}");
        assert!(before.contains(&point) || !after.contains(&point), "mounted over {point}");
    }
}

/// Nothing in what is said is for a terminal, or orders the text otherwise.
fn assert_printable(says: &str) {
    let is_odd = |char: &char| {
        (char.is_control() && *char != '\n')
            || matches!(*char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    assert_eq!(says.chars().find(is_odd), None, "{says:?}");
    assert!(says.lines().all(|line| line.starts_with("nvbind-hook: ")), "{says:?}");
}
