//! The record of a refused container: written for those to whom crun shows nothing, and only ever in its own place.

use crate::world::{Ended, HOOK, ID, World, skip};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown};
use nvbind_core::record::Record;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Makes something at a path, with what it is.
type Taken<'a> = (&'static str, &'a dyn Fn(&Path));

/// Root's.
const RECORDS: &str = "/run/nvbind/failures";

/// An ordinary user for whom nothing is on the machine.
const USER: u32 = 4242;

/// Every record in a directory; each file there is one, or an empty spare.
pub(crate) fn all(directory: &str) -> Vec<Record> {
    let content = |name: String| fs::read(Path::new(directory).join(name)).unwrap();
    let content = names(directory).into_iter().map(content).filter(|content| !content.is_empty());
    content.map(|content| Record::parse(&content).unwrap()).collect()
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the hook for as long as a runtime would wait: what hangs ends with 137.
pub(crate) fn hook_in_time(world: &World) -> Ended {
    let mut command = Command::new("timeout");
    world.run(command.args(["--signal=KILL", "20", HOOK]).args(&world.arguments).env_clear())
}

/// The same, for a container of this id that asks for what is not there.
fn refuse(world: &mut World, id: &str) {
    world.request(r#""io.nvbind.gpu":"7""#);
    let state = String::from_utf8(world.state.clone()).unwrap();
    world.state = state.replace(ID, id).into_bytes();
    let ended = hook_in_time(world);
    assert_eq!(ended.code, Some(3), "{}", ended.says);
}

#[test]
fn a_refusal_is_recorded_for_those_to_whom_crun_shows_nothing() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let before = SystemTime::now();
    for (gpu, start, code, reason) in [
        ("gpu0", "a-1", 2, "\"gpu0\" is no GPU: write an index (0), a range (0-3)"),
        ("7", "../x", 3, "there is no GPU 7; this machine has 0 (GPU-aaaa0000-"),
    ] {
        world.request(&format!(r#""io.nvbind.gpu":"{gpu}","io.nvbind.start":"{start}""#));
        world.hook();
        let [record] = all(RECORDS).try_into().unwrap();
        assert_eq!((record.container.as_str(), record.exit_code), (ID, code));
        assert!(record.reason.starts_with(reason), "{}", record.reason);
        // A token that nvbind would not have made is nobody's.
        assert_eq!(record.start.as_deref(), Some(start).filter(|start| !start.contains('/')));
        let time = SystemTime::from(record.time);
        let late = Duration::from_secs(20);
        assert!(time + Duration::from_millis(1) >= before && time <= before + late, "{}", record.time);
        // Without podman, nobody above the hook knows a name.
        assert_eq!(record.name, None);
        assert!(record.runtime.is_some());
        assert_eq!(names(RECORDS), [ID]);
    }
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(RECORDS), mode("/run/nvbind"), mode(&format!("{RECORDS}/{ID}"))), (0o700, 0o700, 0o600));
}

#[test]
fn each_container_has_one_record_and_the_oldest_go() {
    let Some(mut world) = World::new() else { return };
    world.start();
    for number in 0..70 {
        refuse(&mut world, &format!("c{number}"));
        refuse(&mut world, "again");
    }
    let expected: Vec<String> = (7..70).map(|number| format!("c{number}")).collect();
    let mut found = names(RECORDS);
    assert_eq!(found.iter().filter(|name| *name == "again").count(), 1);
    found.retain(|name| name.starts_with('c'));
    found.sort_by_key(|name| name.trim_start_matches('c').parse::<u32>().unwrap());
    assert_eq!(found, expected);
    // As long as an id may be, which is longer than a file's name.
    let long = "x".repeat(1024);
    refuse(&mut world, &long);
    assert!(all(RECORDS).iter().any(|record| record.container == long));
}

#[test]
fn a_start_that_succeeds_or_is_killed_leaves_no_record() {
    let Some(mut world) = World::new() else { return };
    world.request("");
    world.start();
    assert_eq!(world.hook().code, Some(0));
    assert!(!Path::new("/run/nvbind").exists());
    for _ in 0..3 {
        world.request(r#""io.nvbind.gpu":"0""#);
        world.start();
        assert_eq!(world.hook().code, Some(0));
        // One file for all of them.
        assert_eq!(names(RECORDS), [".spare-0"]);
        assert_eq!(all(RECORDS), []);
    }
    // What a hook that was killed has written so far is nothing, and in nobody's way.
    fs::write(format!("{RECORDS}/.spare-0"), "{\"time\":").unwrap();
    refuse(&mut world, "next");
    assert_eq!(names(RECORDS), ["next"]);
}

#[test]
fn a_record_that_cannot_be_named_stays_in_the_spare_until_the_next_hook() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let taken = format!("{RECORDS}/first");
    fs::create_dir_all(format!("{taken}/not-empty")).unwrap();
    for path in ["/run/nvbind", RECORDS] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    refuse(&mut world, "first");
    assert_eq!(names(RECORDS), [".spare-0", "first"]);
    assert_eq!(Record::parse(&fs::read(format!("{RECORDS}/.spare-0")).unwrap()).unwrap().container, "first");
    // Another spare, as long as it is so.
    refuse(&mut world, "second");
    assert_eq!(names(RECORDS), [".spare-0", "first", "second"]);
    fs::remove_dir_all(taken).unwrap();
    refuse(&mut world, "third");
    assert_eq!(names(RECORDS), ["first", "second", "third"]);
}

#[test]
fn what_stands_in_the_place_of_a_record_neither_blocks_a_start_nor_is_written_to() {
    let Some(mut world) = World::new() else { return };
    let kept = world.path("outside/kept");
    fs::write("/run/other", "of others\n").unwrap();
    let fifo = |path: &Path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap();
    let link = |path: &Path| symlink(&kept, path).unwrap();
    let hard = |path: &Path| fs::hard_link("/run/other", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let foreign = |path: &Path| {
        fs::write(path, "").unwrap();
        chown(path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
    };
    let locked = |path: &Path| fs::write(path, "").unwrap();
    let places: [Taken<'_>; 6] = [
        ("a FIFO", &fifo),
        ("a link", &link),
        ("a second name", &hard),
        ("a directory", &directory),
        ("another user's", &foreign),
        ("a locked file", &locked),
    ];
    for (what, make) in places {
        // In the place of a spare, of all spares, and of the container's own file.
        let spares: Vec<String> = (0..16).map(|number| format!(".spare-{number}")).collect();
        for (taken, is_recorded) in [(&spares[..1], true), (&spares[..], false), (&[ID.to_owned()], true)] {
            let _ = fs::remove_dir_all("/run/nvbind");
            fs::create_dir_all(RECORDS).unwrap();
            for path in ["/run/nvbind", RECORDS] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            }
            let mut locks = Vec::new();
            for name in taken {
                let path = Path::new(RECORDS).join(name);
                make(&path);
                if what == "a locked file" {
                    let file = File::open(path).unwrap();
                    locks.push(nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).unwrap());
                }
            }
            // One that asks for nothing, one that is served, one that is refused.
            for (annotations, code) in [("", 0), (r#""io.nvbind.gpu":"0""#, 0), (r#""io.nvbind.gpu":"7""#, 3)]
            {
                world.request(annotations);
                world.start();
                let ended = hook_in_time(&world);
                assert_eq!(ended.code, Some(code), "{what}: {annotations}: {}", ended.says);
            }
            assert_eq!(fs::read_to_string(&kept).unwrap(), "of the host\n", "{what}");
            assert_eq!(fs::read_to_string("/run/other").unwrap(), "of others\n", "{what}");
            let own = names(RECORDS).into_iter().filter(|name| !taken.contains(name) || name == ID);
            let own = own.filter(|name| {
                let path = Path::new(RECORDS).join(name);
                path.is_file() && Record::parse(&fs::read(path).unwrap()).is_some()
            });
            // Only a directory cannot be replaced: then the spare has it.
            assert_eq!(own.count(), usize::from(is_recorded), "{what}: {taken:?}");
        }
    }
}

#[test]
fn a_directory_of_records_that_others_could_change_is_not_used() {
    let Some(mut world) = World::new() else { return };
    world.start();
    let elsewhere = world.path("outside/records");
    fs::create_dir(&elsewhere).unwrap();
    let reset = |parent: bool| {
        let _ = fs::remove_file("/run/nvbind").or_else(|_| fs::remove_dir_all("/run/nvbind"));
        if parent {
            fs::create_dir("/run/nvbind").unwrap();
        }
    };
    let places = [("/run/nvbind", false), (RECORDS, true)];
    for (path, parent) in places {
        reset(parent);
        symlink(&elsewhere, path).unwrap();
        refuse(&mut world, "linked");
        for (mode, uid) in [(0o777, 0), (0o1777, 0), (0o770, 0), (0o700, USER)] {
            reset(parent);
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            chown(path, Some(Uid::from_raw(uid)), None).unwrap();
            refuse(&mut world, "open");
            assert_eq!(names(path), Vec::<String>::new(), "{path} {mode:o} {uid}");
        }
        reset(parent);
        nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap();
        refuse(&mut world, "fifo");
    }
    assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 0);
    reset(false);
    refuse(&mut world, "usual");
    assert_eq!(names(RECORDS), ["usual"]);
}

#[test]
fn a_refused_start_waits_a_moment_for_its_reason_to_be_shown_and_never_for_long() {
    let Some(mut world) = World::new() else { return };
    world.start();
    // Of a process that is there and shows nothing, of one that is gone, and of none.
    for start in [format!("{}-1", std::process::id()), "4194305-1".to_owned(), "1".to_owned()] {
        world.request(&format!(r#""io.nvbind.gpu":"7","io.nvbind.start":"{start}""#));
        assert_eq!(hook_in_time(&world).code, Some(3));
        let [record] = all(RECORDS).try_into().unwrap();
        assert_eq!(record.start, Some(start));
    }
    // A start that succeeds has nothing to show.
    world.request(&format!(r#""io.nvbind.gpu":"0","io.nvbind.start":"{}-1""#, std::process::id()));
    assert_eq!(hook_in_time(&world).code, Some(0));
}

#[test]
fn no_room_for_a_record_is_no_reason_to_fail_otherwise() {
    let Some(mut world) = World::new() else { return };
    world.start();
    refuse(&mut world, "first");
    let filled = fs::write("/run/filling", vec![0; 32 << 20]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    refuse(&mut world, "second");
    assert_eq!(names(RECORDS).iter().filter(|name| !name.starts_with('.')).count(), 1);
    world.request(r#""io.nvbind.gpu":"0""#);
    assert_eq!(hook_in_time(&world).code, Some(0));
    fs::remove_file("/run/filling").unwrap();
    refuse(&mut world, "third");
    assert_eq!(names(RECORDS), ["first", "third"]);
}

/// The hook in the user namespace of an ordinary user, as rootless podman runs it.
fn refuse_rootless(world: &World, stage: &str) {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
    command.args(["unshare", "--user", "--map-root-user", HOOK, stage, "--no-option"]);
    assert_eq!(world.run(&mut command).code, Some(2));
}

fn has_user_namespaces() -> bool {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
    command.args(["unshare", "--user", "--map-root-user", HOOK, "gpu", "none"]).stdin(Stdio::null());
    command.stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_user_s_records_are_in_the_user_s_directory_or_where_it_is_missing_in_tmp() {
    let Some(mut world) = World::new() else { return };
    if !has_user_namespaces() {
        skip::<()>("this machine has no user namespaces for users");
        return;
    }
    world.start();
    // In this thread's mount namespace: the machine's own /tmp has the test's directory, which stays in sight.
    let in_tmp = format!("/tmp/nvbind-{USER}");
    let own = |path: &str| chown(path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
    let clean = || drop(fs::remove_dir_all(&in_tmp).or_else(|_| fs::remove_file(&in_tmp)));
    clean();
    // At stage createContainer root may be another user than the container's: nothing is made for that one.
    refuse_rootless(&world, "createContainer");
    let without = Path::new(&in_tmp).exists();
    refuse_rootless(&world, "prestart");
    let [record] = all(&format!("{in_tmp}/failures")).try_into().unwrap();
    clean();
    assert!(!without);
    assert_eq!((record.container.as_str(), record.exit_code), ("", 2));
    // Who made it first gets nothing, and keeps nobody from starting containers.
    let others = world.path("outside/of-others");
    fs::create_dir(&others).unwrap();
    fs::set_permissions(&others, fs::Permissions::from_mode(0o777)).unwrap();
    symlink(&others, &in_tmp).unwrap();
    refuse_rootless(&world, "prestart");
    clean();
    fs::create_dir(&in_tmp).unwrap();
    fs::set_permissions(&in_tmp, fs::Permissions::from_mode(0o777)).unwrap();
    refuse_rootless(&world, "prestart");
    let made = fs::read_dir(&in_tmp).unwrap().count() + fs::read_dir(&others).unwrap().count();
    clean();
    assert_eq!(made, 0);
    let directory = format!("/run/user/{USER}");
    fs::create_dir_all(&directory).unwrap();
    own(&directory);
    refuse_rootless(&world, "prestart");
    assert_eq!(all(&format!("{directory}/nvbind/failures")).len(), 1);
    assert!(!Path::new(&in_tmp).exists());
}
