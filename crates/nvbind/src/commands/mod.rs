//! One module for each command.

pub(crate) mod run;
pub(crate) mod setup;
