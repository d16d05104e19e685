//! nvbind as a person uses it: `run` in every spelling, `setup`, `config` and `doctor`.

pub(crate) mod asking;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod reasons;
pub(crate) mod setup;
pub(crate) mod shim;
