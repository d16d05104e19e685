//! Device programs of a cgroup, and messages of systemd's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_apply::fuzzing::{message, program};

fuzz_target!(|bytes: &[u8]| {
    program(bytes);
    message(bytes);
});
