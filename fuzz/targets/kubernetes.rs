//! Kubernetes' YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind::fuzzing::kubernetes;

fuzz_target!(|text: &str| kubernetes(text));
