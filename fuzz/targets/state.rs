//! A container's state, as a runtime writes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::oci::State;

fuzz_target!(|bytes: &[u8]| {
    let _ = State::parse(bytes);
});
