//! Drivers of every kind: simulated and NVIDIA's own, replaced and in other places.

pub mod compat;
pub mod gpu_checks;
pub mod layouts;
pub mod real;
pub(crate) mod upgrade;
