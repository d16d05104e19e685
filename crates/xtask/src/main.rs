//! Set-up, demo, test lanes and packages: `cargo xtask --help`.
fn main() {}
