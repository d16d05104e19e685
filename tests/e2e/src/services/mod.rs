//! Containers that systemd starts.

pub(crate) mod generate;
pub(crate) mod quadlet;
pub(crate) mod template;
pub(crate) mod units;
