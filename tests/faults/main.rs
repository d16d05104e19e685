//! Starts on which something goes wrong at any moment: each system call of the hook fails or is its last, the files
//! under it change, many containers start at once. A start that succeeds is whole, and one that does not changes
//! nothing.
//!
//! A sample runs, another one for each build of the hook; with `NVBIND_TEST_FULL=1` all of them.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

mod calls;
mod cgroup;
mod extent;
#[path = "../hook/listing.rs"]
mod listing;
#[path = "../fixtures/machine.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod machine;
mod picture;
mod process;
mod quiet;
mod races;
mod registers;
mod scenarios;
mod setting;
mod soak;
mod sweep;
mod tracer;
mod undisturbed;
#[path = "../hook/world.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod world;
