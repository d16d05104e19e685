//! Files of an image that its loaders read beside the cache.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_apply::fuzzing::loaders;

fuzz_target!(|bytes: &[u8]| loaders(bytes));
