//! What `nvbind nvml` answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::listing::Listing;

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<Listing>(bytes);
});
