//! An image's ld.so.cache, and the merged one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Cache, Library, merge};

fuzz_target!(|image: &[u8]| {
    let Ok(before) = Cache::parse(image) else { return };
    let abi = Abi::X86_64;
    let ours = [
        Library { soname: b"libcuda.so.1", path: b"/usr/local/nvidia/lib64/libcuda.so.1", abi },
        Library { soname: b"libnvidia-ml.so.1", path: b"/usr/local/nvidia/lib64/libnvidia-ml.so.1", abi },
    ];
    let view: &[&[u8]] = &[b"/usr/local/nvidia"];
    let Ok(merged) = merge(Some(image), &ours, view) else { return };
    let parsed = Cache::parse(&merged).unwrap();
    let is_ours = |path: &[u8]| path.starts_with(b"/usr/local/nvidia/");
    assert_eq!(parsed.entries().iter().filter(|entry| is_ours(entry.path)).count(), ours.len());
    // Nothing is added the second time, and all that is not ours is still there.
    assert_eq!(merge(Some(&merged), &ours, view).unwrap(), merged);
    let others = |cache: &Cache<'_>| cache.entries().iter().filter(|entry| !is_ours(entry.path)).count();
    assert_eq!(others(&parsed), others(&before));
});
