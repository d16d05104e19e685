//! Input that is changed at random: whatever it becomes, the exit code is a documented one.

use crate::loaders::{MUSL, PATH_FILE};
use crate::machine::{VERSION, libcuda};
use crate::world::World;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Library, merge};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestCaseError, TestCaseResult, TestRunner};
use std::cell::{Cell, RefCell};
use std::fs;

/// A change at a place.
#[derive(Debug, Clone)]
enum Change {
    Replace(u8),
    Flip(u32),
    Remove(usize),
    Repeat(usize),
    Truncate,
}

/// Up to three changes of some bytes.
fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = prop_oneof![
        select(b"\"{}[]:,0-9\\nul \x00\xff".as_slice()).prop_map(Change::Replace),
        (0..8_u32).prop_map(Change::Flip),
        (1..=12_usize).prop_map(Change::Remove),
        (1..=12_usize).prop_map(Change::Repeat),
        Just(Change::Truncate),
    ];
    vec((any::<Index>(), change), 1..=3)
}

fn change(text: &[u8], changes: &[(Index, Change)]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (at, change) in changes {
        if text.is_empty() {
            break;
        }
        let at = at.index(text.len());
        let end = |length: usize| (at + length).min(text.len());
        match *change {
            Change::Replace(byte) => text[at] = byte,
            Change::Flip(bit) => text[at] ^= 1 << bit,
            Change::Remove(length) => drop(text.drain(at..end(length))),
            Change::Repeat(length) => drop(text.splice(at..at, text[at..end(length)].to_vec())),
            Change::Truncate => text.truncate(at.max(1)),
        }
    }
    text
}

const DOCUMENTED: [i32; 5] = [0, 2, 3, 4, 5];

/// How often each code has been seen.
type Codes = Cell<[u32; 6]>;

/// Runs the hook on this input: it has to end with a documented code.
fn hook(world: &World, input: &[u8], codes: &Codes) -> TestCaseResult {
    let ended = world.hook();
    let input = String::from_utf8_lossy(input);
    let code = ended.code.ok_or_else(|| TestCaseError::fail(format!("ended by a signal for {input}")))?;
    prop_assert!(DOCUMENTED.contains(&code), "{code} for {input}: {}", ended.says);
    prop_assert!(ended.says.lines().all(|line| line.starts_with("nvbind-hook: ")), "{}", ended.says);
    let mut seen = codes.get();
    seen[usize::try_from(code).unwrap()] += 1;
    codes.set(seen);
    Ok(())
}

/// Does this with as many inputs, the same ones at every run; of a failure it shows the shortest that it finds soon.
fn check<S: Strategy>(inputs: S, cases: u32, test: impl Fn(S::Value) -> TestCaseResult) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(&inputs, test).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn any_state_ends_in_a_documented_code() {
    let Some(mut world) = World::new() else { return };
    // Without a driver: a changed root or pid must not be acted on, it could be anything of this machine.
    fs::remove_dir_all(world.driver.path("proc/driver")).unwrap();
    world.start();
    let (before, whole) = (world.snapshot(), world.stdin());
    let (world, codes) = (RefCell::new(world), Codes::default());
    check(changes(), 300, |changes| {
        let changed = change(&whole, &changes);
        world.borrow_mut().state.clone_from(&changed);
        hook(&world.borrow(), &changed, &codes)
    });
    let codes = codes.get();
    assert!(codes[2] > 0 && codes[3] > 0, "both refusals of state and of driver: {codes:?}");
    world.borrow().assert_same(&before, "");
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
    let (world, codes) = (RefCell::new(world), Codes::default());
    check(changes(), 150, |changes| {
        let changed = change(&whole, &changes);
        let mut world = world.borrow_mut();
        fs::write(world.path("userdata/config.json"), &changed).unwrap();
        world.start();
        hook(&world, &changed, &codes)
    });
    let codes = codes.get();
    assert!(codes[0] > 0 && codes[2] > 0, "both starts and refusals: {codes:?}");
    assert_eq!(world_of_host(&world.borrow()), before);
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
    let files = [
        world.driver.path("proc/driver/nvidia/version"),
        world.driver.path("proc/driver/nvidia/gpus/0000:01:00.0/information"),
        world.driver.path("proc/devices"),
        world.driver.path(&format!("usr/lib64/libcuda.so.{VERSION}")),
        world.path("image/etc/ld.so.cache"),
        world.path("image/etc/ld.so.conf"),
        world.path(&format!("image/{compat}/libcuda.so.580.65.06")),
        world.path("image").join(PATH_FILE),
    ];
    let (world, codes) = (RefCell::new(world), Codes::default());
    check((select(files.to_vec()), changes()), 150, |(file, changes)| {
        let whole = fs::read(&file).unwrap();
        let changed = change(&whole, &changes);
        let mut world = world.borrow_mut();
        fs::write(&file, &changed).unwrap();
        world.start();
        let ended = hook(&world, &changed, &codes);
        fs::write(&file, &whole).unwrap();
        // The next start finds the image as it was.
        world.renew();
        ended
    });
    let codes = codes.get();
    assert!(codes[0] > 0 && codes[3] > 0, "both starts and refusals: {codes:?}");
}

fn world_of_host(world: &World) -> Vec<String> {
    let mut lines = crate::listing::of(&world.path("outside"));
    lines.extend(crate::listing::of(&world.path("image")));
    lines.extend(crate::listing::of(&world.driver.path("")));
    lines
}
