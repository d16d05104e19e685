//! A manifest of Vulkan or EGL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::inventory::fuzzing::manifest;

fuzz_target!(|bytes: &[u8]| manifest(bytes));
