//! nvbind as a person uses it: `run`, `setup`, `config` and `doctor`.

pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod reasons;
pub(crate) mod setup;
pub(crate) mod shim;
