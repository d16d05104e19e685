//! How much is tried: everything, or a sample.

use crate::world::HOOK;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fmt;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Write as _};

/// Whether everything is tried, as before a release.
pub(crate) fn is_full() -> bool {
    env::var_os("NVBIND_TEST_FULL").is_some_and(|value| value == "1")
}

/// The first number in a sample, the second with everything.
pub(crate) fn times(sample: usize, full: usize) -> usize {
    if is_full() { full } else { sample }
}

/// What a sample is drawn by: another one for each build of the hook, or the one that a failure printed.
pub(crate) fn seed() -> u64 {
    if let Ok(seed) = env::var("NVBIND_TEST_SEED") {
        return seed.parse().unwrap();
    }
    let mut hasher = DefaultHasher::new();
    fs::read(HOOK).unwrap().hash(&mut hasher);
    hasher.finish()
}

/// Says what was tried, past the capture of a test's output: where it is everything, it takes minutes.
pub(crate) fn tell(what: fmt::Arguments<'_>) {
    if is_full() {
        let _ = writeln!(io::stdout(), "{what}");
    }
}

/// How to have the same sample again.
pub(crate) fn reproduce() -> String {
    if is_full() { String::new() } else { format!("; NVBIND_TEST_SEED={} draws the same", seed()) }
}

/// Numbers that look like random ones (splitmix64), the same for each seed and name.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(name: &str) -> Numbers {
        let mut hasher = DefaultHasher::new();
        (seed(), name).hash(&mut hasher);
        Numbers(hasher.finish())
    }

    /// One below the limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((number ^ (number >> 31)) % limit).unwrap()
    }
}
