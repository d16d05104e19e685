//! The hook itself, without Podman: a state on stdin, a bundle, a driver of the test's own, and for a container a
//! process in a mount namespace. What is wrong with any of them ends in a documented exit code, one line that says
//! why, and nothing changed.
//!
//! Each test works in a mount namespace of its own thread; what a machine does not allow is said as `SKIPPED`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

mod bundles;
mod cdi;
mod compat;
mod docker;
mod drivers;
mod executable;
mod extras;
mod files;
mod images;
mod isolation;
mod listing;
mod loaders;
#[path = "../fixtures/machine.rs"]
mod machine;
mod mutations;
mod narrowed;
mod nvml;
mod records;
mod requests;
mod requirements;
mod room;
mod search_path;
mod settings;
mod starts;
mod visible;
mod visible_devices;
mod volumes;
mod world;
mod wsl;

/// A hook that must refuse, or must only warn: what is prepared, the exit code, and all that is said on stderr, with
/// `@` for the test's directory and `@driver` for the driver's.
struct Case {
    name: &'static str,
    prepare: fn(&mut world::World),
    exit: i32,
    says: &'static str,
}

const fn case(name: &'static str, exit: i32, says: &'static str, prepare: fn(&mut world::World)) -> Case {
    Case { name, prepare, exit, says }
}

/// Runs each case in a world of its own, and sees that a refused one changed nothing.
fn check(cases: &[Case]) {
    for case in cases {
        let Some(mut world) = world::World::new() else { return };
        (case.prepare)(&mut world);
        world.start();
        let before = world.snapshot();
        let ended = world.hook();
        let says: String = case.says.lines().map(|line| format!("nvbind-hook: {line}\n")).collect();
        assert_eq!((ended.code, ended.says), (Some(case.exit), says), "{}", case.name);
        if case.exit != 0 {
            world.assert_same(&before, case.name);
        }
    }
}
