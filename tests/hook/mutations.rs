//! Input that is changed at random: whatever it becomes, the exit code is a documented one.

use crate::loaders::{MUSL, PATH_FILE};
use crate::machine::{VERSION, libcuda};
use crate::world::World;
use nvbind_core::ldcache::{Abi, Library, merge};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;
use std::fs;

/// What becomes of some bytes, at a place.
#[derive(Clone, Debug)]
enum Change {
    Replace(u8),
    Flip(u8),
    Remove(usize),
    Repeat(usize),
    Cut,
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = prop_oneof![
        select(&b"\"{}[]:,0-9\\nul \x00\xff"[..]).prop_map(Change::Replace),
        (0..8_u8).prop_map(|bit| Change::Flip(1 << bit)),
        (1..=12_usize).prop_map(Change::Remove),
        (1..=12_usize).prop_map(Change::Repeat),
        Just(Change::Cut),
    ];
    vec((any::<Index>(), change), 1..=4)
}

fn changed(text: &[u8], changes: &[(Index, Change)]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (at, change) in changes {
        if text.is_empty() {
            break;
        }
        let at = at.index(text.len());
        let end = |length: &usize| (at + length).min(text.len());
        match change {
            Change::Replace(byte) => text[at] = *byte,
            Change::Flip(bit) => text[at] ^= bit,
            Change::Remove(length) => drop(text.drain(at..end(length))),
            Change::Repeat(length) => drop(text.splice(at..at, text[at..end(length)].to_vec())),
            Change::Cut => text.truncate(at.max(1)),
        }
    }
    text
}

/// Tries so many inputs, the same at every run. Of one that fails, the smallest that does is told.
fn runner(cases: u32) -> TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

const DOCUMENTED: [i32; 5] = [0, 2, 3, 4, 5];

/// The hook's code for this input, seen to be a documented one.
fn code(world: &World, input: &[u8]) -> i32 {
    let ended = world.hook();
    let said = String::from_utf8_lossy(input);
    let code = ended.code.unwrap_or_else(|| panic!("ended by a signal for {said}"));
    assert!(DOCUMENTED.contains(&code), "{code} for {said}: {}", ended.says);
    assert!(ended.says.lines().all(|line| line.starts_with("nvbind-hook: ")), "{}", ended.says);
    code
}

#[test]
fn any_state_ends_in_a_documented_code() {
    let Some(mut world) = World::new() else { return };
    // Without a driver: a changed root or pid must not be acted on, it could be anything of this machine.
    fs::remove_dir_all(world.driver.path("proc/driver")).unwrap();
    world.start();
    let (before, whole) = (world.snapshot(), world.stdin());
    let (world, codes) = (RefCell::new(world), RefCell::new([0; 6]));
    let ended = runner(300).run(&changes(), |changes| {
        let mut world = world.borrow_mut();
        world.state = changed(&whole, &changes);
        codes.borrow_mut()[usize::try_from(code(&world, &world.state)).unwrap()] += 1;
        Ok(())
    });
    ended.unwrap();
    let (world, codes) = (world.into_inner(), codes.into_inner());
    assert!(codes[2] > 0 && codes[3] > 0, "both refusals of state and of driver: {codes:?}");
    world.assert_same(&before, "");
}

#[test]
fn any_config_json_ends_in_a_documented_code() {
    let Some(mut world) = World::new() else { return };
    let root = format!(r#""root":"{}","#, world.path("scratch/root").display());
    // The state's root filesystem is used, whatever becomes of config.json's.
    world.state =
        String::from_utf8(world.state.clone()).unwrap().replacen('{', &format!("{{{root}"), 1).into_bytes();
    let more = r#","process":{"env":["A=1","NVIDIA_DRIVER_CAPABILITIES=compute","LD_LIBRARY_PATH=/opt/a:/usr/lib","NVIDIA_REQUIRE_CUDA=cuda>=12.0 driver>=470,driver<471"]},"linux":{"resources":{"devices":[{"allow":true,"type":"c","major":195,"access":"rwm"}]}}"#;
    world.config(r#"{"path":"/"}"#, more);
    world.write("image/opt/a/libcuda.so.1", "");
    let whole = fs::read(world.path("userdata/config.json")).unwrap();
    let before: Vec<String> = world_of_host(&world);
    let (world, codes) = (RefCell::new(world), RefCell::new([0; 6]));
    let ended = runner(150).run(&changes(), |changes| {
        let mut world = world.borrow_mut();
        let changed = changed(&whole, &changes);
        fs::write(world.path("userdata/config.json"), &changed).unwrap();
        world.start();
        codes.borrow_mut()[usize::try_from(code(&world, &changed)).unwrap()] += 1;
        Ok(())
    });
    ended.unwrap();
    let (world, codes) = (world.into_inner(), codes.into_inner());
    assert!(codes[0] > 0 && codes[2] > 0, "both starts and refusals: {codes:?}");
    assert_eq!(world_of_host(&world), before);
}

#[test]
fn any_driver_and_any_image_end_in_a_documented_code() {
    let Some(world) = World::new() else { return };
    let libc = [Library { soname: b"libc.so.6", path: b"/lib/libc.so.6", abi: Abi::NATIVE.unwrap() }];
    world.write("image/etc/ld.so.cache", merge(None, &libc, &[]).unwrap());
    let compat = "usr/local/cuda/compat";
    let note = r#"{"format":1,"CUDA version":"13.0","driver":[570]}"#;
    world.write(&format!("image/{compat}/libcuda.so.580.65.06"), libcuda("libcuda.so.1", note));
    world.link(&format!("{compat}/libcuda.so.1"), "libcuda.so.580.65.06");
    world.write(&format!("image/{MUSL}"), "");
    world.write(&format!("image/{PATH_FILE}"), "/lib:/usr/local/lib:/usr/lib\n");
    let files = vec![
        world.driver.path("proc/driver/nvidia/version"),
        world.driver.path("proc/driver/nvidia/gpus/0000:01:00.0/information"),
        world.driver.path("proc/devices"),
        world.driver.path(&format!("usr/lib64/libcuda.so.{VERSION}")),
        world.path("image/etc/ld.so.cache"),
        world.path("image/etc/ld.so.conf"),
        world.path(&format!("image/{compat}/libcuda.so.580.65.06")),
        world.path("image").join(PATH_FILE),
    ];
    let (world, codes) = (RefCell::new(world), RefCell::new([0; 6]));
    let ended = runner(150).run(&(select(files), changes()), |(file, changes)| {
        let mut world = world.borrow_mut();
        let whole = fs::read(&file).unwrap();
        let changed = changed(&whole, &changes);
        fs::write(&file, &changed).unwrap();
        world.start();
        codes.borrow_mut()[usize::try_from(code(&world, &changed)).unwrap()] += 1;
        fs::write(&file, &whole).unwrap();
        // The next start finds the image as it was.
        world.stop();
        let upper = world.path("scratch/upper");
        fs::remove_dir_all(&upper).unwrap();
        fs::create_dir(&upper).unwrap();
        Ok(())
    });
    ended.unwrap();
    let codes = codes.into_inner();
    assert!(codes[0] > 0 && codes[3] > 0, "both starts and refusals: {codes:?}");
}

fn world_of_host(world: &World) -> Vec<String> {
    let mut lines = crate::listing::of(&world.path("outside"));
    lines.extend(crate::listing::of(&world.path("image")));
    lines.extend(crate::listing::of(&world.driver.path("")));
    lines
}
