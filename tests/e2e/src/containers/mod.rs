//! What a container gets, over its life and with what people give it beside.

pub(crate) mod cdi;
pub(crate) mod cell;
pub(crate) mod life;
pub(crate) mod matrix;
pub(crate) mod refusals;
pub(crate) mod rootfs;
pub(crate) mod stages;
pub(crate) mod update;
pub(crate) mod visible_devices;
pub(crate) mod volumes;
