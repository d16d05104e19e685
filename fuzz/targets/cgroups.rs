//! `/proc/PID/cgroup` and mountinfo, with a line `--` between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_apply::fuzzing::cgroups;

fuzz_target!(|text: &str| {
    let (first, second) = text.split_once("\n--\n").unwrap_or((text, text));
    cgroups(first, second);
});
