//! What `cargo xtask` and the benchmark are made of: set-up, packages, and what starts the tests.
#![allow(clippy::print_stdout, reason = "it speaks to the person at the terminal")]
#![allow(
    missing_docs,
    reason = "names that need no comment have none: nobody but this workspace uses the crate"
)]
pub mod demo;
pub mod fuzz;
pub mod gpu_bundle;
pub mod package;
pub mod performance;
pub mod release;
pub mod test;
