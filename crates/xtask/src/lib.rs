//! What `cargo xtask` and the probe are made of: fixtures, images and the machinery around them.
pub mod demo;
pub mod driver_sim;
pub mod elf;
pub mod fixtures;
pub mod image;
pub mod probe;
pub mod process;
pub mod real_driver;
pub mod tree;
