//! Device nodes, and the filters that stand between them and a container.

pub(crate) mod boot;
pub(crate) mod bpf;
pub(crate) mod cgroups;
pub(crate) mod filters;
pub(crate) mod groups;
pub(crate) mod guard;
pub(crate) mod job;
pub mod mig;
pub(crate) mod nodes;
pub(crate) mod others;
