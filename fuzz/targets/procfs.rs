//! The driver's files in procfs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::inventory::fuzzing::procfs;

fuzz_target!(|text: &str| procfs(text));
