//! What a person types: run, plan, info, setup.
fn main() {}
