//! ELF files: a driver's libraries, and an image's libcuda with its note.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    nvbind_core::inventory::fuzzing::shared_object(bytes);
    nvbind_core::compat::read_bytes(bytes);
});
