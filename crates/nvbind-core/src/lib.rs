//! From a GPU request to a plan: pure, reads a machine, changes nothing.
#![forbid(unsafe_code)]

pub mod ldcache;
