//! What nvbind is tested with: simulated and real drivers, the probe that looks from inside a container, and the image
//! that it is in.
#![allow(clippy::print_stdout, reason = "it speaks to the person at the terminal")]
#![allow(
    missing_docs,
    reason = "names that need no comment have none: nobody but this workspace uses the crate"
)]
pub mod commands;
pub mod driver_sim;
pub mod elf;
pub mod error;
pub mod image;
pub mod limits;
pub mod probe;
pub mod process;
pub mod real_driver;
pub mod tools;
pub mod tree;
