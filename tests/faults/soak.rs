//! Many starts, after which nothing is left.

use crate::extent;
use crate::listing;
use crate::quiet;
use crate::world::World;
use nix::sys::prctl::set_child_subreaper;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

/// What this process has, and its children: with a hook that has lost its parent.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    mounts: Vec<String>,
    descriptors: usize,
    children: usize,
}

impl Census {
    fn take() -> Census {
        set_child_subreaper(true).unwrap();
        let own = std::process::id().to_string();
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let children = processes.filter(|path| parent(path).is_some_and(|parent| parent == own));
        Census {
            mounts: listing::mounts("thread-self", &std::env::temp_dir()),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            children: children.count(),
        }
    }
}

/// The number of a process's parent; none where it has ended meanwhile, or is none.
fn parent(process: &Path) -> Option<String> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The program's name may have spaces and brackets in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1).map(str::to_owned)
}

#[test]
fn many_starts_in_a_row_leave_nothing() {
    let _alone = quiet::demand();
    let Some(mut world) = World::new() else { return };
    world.start();
    assert_eq!(world.hook().code, Some(0));
    let layer = listing::of(&world.path("scratch/upper"));
    world.stop();
    let (before, host) = (Census::take(), world.host());
    for _ in 0..extent::times(30, 2000) {
        world.start();
        let ended = world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
    }
    world.stop();
    assert_eq!(Census::take(), before);
    assert_eq!(listing::difference(&host, &world.host()), Vec::<String>::new());
    assert_eq!(listing::of(&world.path("scratch/upper")), layer);
}

#[test]
fn many_starts_at_once_leave_nothing() {
    let _alone = quiet::demand();
    let Some(own) = World::new() else { return };
    let before = Census::take();
    let starts = extent::times(8, 200);
    let (begin, end) = (Barrier::new(starts), Barrier::new(starts));
    thread::scope(|scope| {
        for _ in 0..starts {
            scope.spawn(|| {
                let mut world = World::new().unwrap();
                world.start();
                let host = world.host();
                begin.wait();
                let ended = world.hook();
                end.wait();
                assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
                assert!(world.inside("usr/local/nvidia/bin/nvidia-smi").exists());
                assert_eq!(listing::difference(&host, &world.host()), Vec::<String>::new());
            });
        }
    });
    assert_eq!(Census::take(), before);
    drop(own);
}
