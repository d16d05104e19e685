//! The hostile corpus: a table of root filesystems and volumes that someone made to lead the hook astray. Whatever it
//! finds, nothing outside the container is touched, and the container works or is refused as documented.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

mod caches;
mod canary;
mod compat;
mod crossed;
mod crowds;
mod furnished;
mod hard_links;
#[path = "../fixtures/hostile.rs"]
mod hostile;
mod images;
mod inside;
mod judge;
mod links;
#[path = "../hook/listing.rs"]
mod listing;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../fixtures/machine.rs"]
mod machine;
mod mounts;
mod names;
mod places;
mod row;
mod search_path;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../hook/world.rs"]
mod world;

use libtest_mimic::{Arguments, Failed, Trial, run};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use row::Row;
use std::process::ExitCode;
use std::thread;
use tempfile::TempDir;

type Subject = (&'static str, fn() -> Vec<Row>);

/// The rows by subject.
const TABLE: &[Subject] = &[
    ("crossed", crossed::rows),
    ("links", links::rows),
    ("hard-links", hard_links::rows),
    ("caches", caches::rows),
    ("names", names::rows),
    ("crowds", crowds::rows),
    ("mounts", mounts::rows),
    ("search-path", search_path::rows),
    ("compat", compat::rows),
    ("images", images::rows),
];

fn main() -> ExitCode {
    let memory = work_in_memory();
    let rows = TABLE.iter().flat_map(|(subject, rows)| rows().into_iter().map(move |row| (*subject, row)));
    let named = rows.map(|(subject, row)| (format!("{subject}/{}", row.name), row));
    let trials = named.map(|(name, row)| Trial::test(name.clone(), move || in_thread(name, row)));
    let ended = run(&Arguments::from_args(), trials.collect()).exit_code();
    // With all that is left in it; the directory itself goes when it is dropped.
    let _ = umount2(memory.path(), MntFlags::MNT_DETACH);
    ended
}

/// Has the tests' directories in memory, which takes a fifth of the time, in a mount namespace of their own: in a
/// directory that is removed again when what this gives is dropped. Not on a tmpfs: that is what nvbind may take for a
/// container's own. Who may not do so may not make a container either, as each row says.
fn work_in_memory() -> TempDir {
    let none: Option<&str> = None;
    let directory = tempfile::tempdir().unwrap();
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
        .and_then(|()| mount(Some("ramfs"), directory.path(), Some("ramfs"), MsFlags::empty(), none));
    if mounted.is_ok() {
        tempfile::env::override_temp_dir(directory.path()).unwrap();
    }
    directory
}

/// Each row in a thread of its own, which leaves the machine's mount namespace.
fn in_thread(name: String, row: Row) -> Result<(), Failed> {
    let thread = thread::Builder::new().name(name).spawn(move || judge::judge(&row))?;
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
            .into()
    })
}
