//! What fuzzing calls of what is private here.

pub use crate::cgroup::fuzzing::{cgroups, message, program};
pub use crate::loader::fuzzing::loaders;
