//! The loader's way through a cache, written down a second time: what it would find in a file of ours.

use super::order::before;
use super::{Abi, Cache, Entry, Library, merge};
use proptest::prelude::*;
use std::cmp::Ordering;

/// Which path the loader of glibc 2.33 and newer takes for a soname (`search_cache`), on a machine with
/// the `glibc-hwcaps` names of `hwcaps`, best first.
fn search<'a>(cache: &Cache<'a>, soname: &[u8], abi: Abi, hwcaps: &[&[u8]]) -> Option<&'a [u8]> {
    let order = |entry: &Entry<'_>| {
        let asked = Entry { flags: 0, soname, path: b"", os_version: 0, hwcap: 0 };
        before(&Entry { flags: 0, ..*entry }, &asked)
    };
    let entries = cache.entries();
    let (mut low, mut high) = (0, entries.len());
    let hit = loop {
        if low == high {
            return None;
        }
        let middle = usize::midpoint(low, high);
        match order(&entries[middle]) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => break middle,
        }
    };
    let first = entries[..hit].iter().rposition(|entry| order(entry).is_ne()).map_or(0, |at| at + 1);
    let mut best: Option<(usize, &[u8])> = None;
    let equal = entries[first..].iter().take_while(|entry| order(entry).is_eq());
    for entry in equal.filter(|entry| entry.flags == abi.flags()) {
        if entry.hwcap >> 62 == 1 {
            let name = cache.hwcaps().get(usize::try_from(entry.hwcap & 0xffff_ffff).unwrap());
            let rank = hwcaps.iter().position(|usable| Some(usable) == name);
            if let Some(rank) = rank.filter(|rank| best.is_none_or(|(found, _)| *rank < found)) {
                best = Some((rank, entry.path));
            }
        } else if best.is_some() {
            break;
        } else if entry.hwcap == 0 {
            return Some(entry.path);
        }
    }
    best.map(|(_, path)| path)
}

const HWCAPS: [&[u8]; 3] = [b"x86-64-v2", b"x86-64-v3", b"x86-64-v4"];

/// Short names out of few characters, so that many are alike, equal in number, or a part of another.
fn soname() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "lib[a-c]{1,2}[0-2]{0,3}(\\.so(\\.[0-9]{1,2})?)?".prop_map(String::into_bytes),
        proptest::collection::vec(1..=255_u8, 1..12),
    ]
}

fn line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, u32, u64)> {
    let path = (soname(), prop_oneof![Just("/lib/"), Just("/usr/local/nvidia/lib64/"), Just("/opt/")])
        .prop_map(|(soname, directory)| [directory.as_bytes(), &soname].concat());
    let flags = prop_oneof![Just(0x303), Just(0x3), Just(0xa03)];
    let hwcap = prop_oneof![4 => Just(0), 2 => (0..3_u64).prop_map(|name| 1 << 62 | name), 1 => Just(2)];
    (soname(), path, flags, hwcap).prop_flat_map(|(soname, path, flags, hwcap)| {
        let own = [b"/lib/", soname.as_slice()].concat();
        (Just(soname), prop_oneof![Just(own), Just(path)], Just(flags), Just(hwcap))
    })
}

type Lines = Vec<(Vec<u8>, Vec<u8>, u32, u64)>;

fn lines() -> impl Strategy<Value = Lines> {
    proptest::collection::vec(line(), 0..60)
}

/// What an `ldconfig` would have written of these lines.
fn image(lines: &Lines) -> Vec<u8> {
    let mut entries: Vec<_> = lines
        .iter()
        .map(|(soname, path, flags, hwcap)| Entry {
            flags: *flags,
            soname,
            path,
            os_version: 0,
            hwcap: *hwcap,
        })
        .collect();
    entries.sort_by(|a, b| {
        let named = |entry: &Entry<'_>| entry.hwcap >> 62 == 0;
        before(a, b).then(named(a).cmp(&named(b)))
    });
    Cache { entries, hwcaps: HWCAPS.to_vec(), generator: Some(b"ldconfig") }.to_bytes().unwrap()
}

fn abi() -> impl Strategy<Value = Abi> {
    prop_oneof![Just(Abi::X86_64), Just(Abi::I386), Just(Abi::Aarch64)]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Cache::parse(&bytes);
        let _ = Cache::parse(&[super::parse::MAGIC, &bytes].concat());
    }

    #[test]
    fn no_damage_to_a_cache_makes_it_panic(
        lines in lines(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut file = image(&lines);
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let ours = [Library { soname: b"libcuda.so.1", path: b"/v/libcuda.so.1", abi: Abi::X86_64 }];
        if let Ok(merged) = merge(Some(&file), &ours, &[]) {
            let merged = Cache::parse(&merged).unwrap();
            prop_assert_eq!(search(&merged, ours[0].soname, Abi::X86_64, &HWCAPS), Some(ours[0].path));
        }
        let _ = merge(Some(&file[..keep.index(file.len())]), &ours, &[]);
    }

    #[test]
    fn what_is_written_reads_the_same(lines in lines()) {
        let file = image(&lines);
        let cache = Cache::parse(&file).unwrap();
        prop_assert_eq!(cache.entries().len(), lines.len());
        let again = cache.to_bytes().unwrap();
        prop_assert_eq!(Cache::parse(&again).unwrap(), cache);
    }

    #[test]
    fn the_loader_finds_ours_and_what_it_found_in_the_image(
        lines in lines(),
        ours in proptest::collection::vec((soname(), abi()), 0..12),
        machine in 0..3_usize,
    ) {
        let usable = &HWCAPS[machine..];
        let file = image(&lines);
        let before = Cache::parse(&file).unwrap();
        let libraries: Vec<Library<'_>> = ours
            .iter()
            .map(|(soname, abi)| Library { soname, path: b"/view/ours", abi: *abi })
            .collect();
        let merged = merge(Some(&file), &libraries, &[]).unwrap();
        let after = Cache::parse(&merged).unwrap();
        for Library { soname, path, abi } in &libraries {
            prop_assert_eq!(search(&after, soname, *abi, usable), Some(*path));
        }
        for entry in before.entries() {
            for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64] {
                let found = search(&after, entry.soname, abi, usable);
                if found != Some(b"/view/ours") {
                    prop_assert_eq!(found, search(&before, entry.soname, abi, usable));
                }
            }
        }
        prop_assert_eq!(merge(Some(&merged), &[], &[b"/view"]).unwrap(), file);
    }

    #[test]
    fn a_cache_out_of_order_is_put_in_order(lines in lines()) {
        let entries: Vec<_> = lines
            .iter()
            .map(|(soname, path, flags, _)| Entry { flags: *flags, soname, path, os_version: 0, hwcap: 0 })
            .collect();
        let file = Cache { entries, ..Cache::default() }.to_bytes().unwrap();
        let merged = merge(Some(&file), &[], &[]).unwrap();
        let cache = Cache::parse(&merged).unwrap();
        for (soname, _, _, _) in &lines {
            prop_assert!(cache.entries().iter().any(|entry| entry.soname == soname.as_slice()));
        }
        prop_assert!(cache.entries().is_sorted_by(|a, b| before(a, b).is_le()));
    }
}
