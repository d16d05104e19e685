//! What `cargo xtask` and the probe are made of: fixtures, images, test lanes and the machinery around them.
#![allow(clippy::print_stdout, reason = "it speaks to the person at the terminal")]
pub mod demo;
pub mod driver_sim;
pub mod e2e;
pub mod elf;
pub mod error;
pub mod fixtures;
pub mod gpu_bundle;
pub mod image;
pub mod lanes;
mod limits;
pub mod package;
pub mod performance;
pub mod probe;
pub mod process;
pub mod real_driver;
pub mod release;
mod report;
pub mod test;
pub mod tools;
pub mod tree;
