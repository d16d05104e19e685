//! From a GPU request to a plan: reads a machine and decides, and changes nothing itself.
//!
//! One straight line, each arrow a plain data type:
//!
//! ```text
//! state + config.json ─> Request ─┐
//! configuration ───────> Settings ┼─ resolve ─> Plan ─> (applied by the hook, shown by `nvbind plan`)
//! the caller ──────────> Policy ──┘
//!
//! resolve:  Host ─> Inventory (─> NVML's Listing) ─> Selection ─> Plan
//! ```
//!
//! The hook, `nvbind plan`, `nvbind doctor` and the pre-flight of `nvbind run` all use this line, so that nothing is
//! resolved twice in two ways. Modules form layers; `docs/architecture.md` has them in order.
#![forbid(unsafe_code)]

pub mod abi;
pub mod capability;
pub mod catalogue;
pub mod child;
pub mod compat;
pub mod cuda;
pub mod exit;
pub mod extras;
pub mod failure;
pub mod gpu_name;
pub mod host;
pub mod input;
pub mod inventory;
pub mod isolation;
pub mod ldcache;
mod list;
pub mod listing;
pub mod message;
mod modules;
pub mod node_access;
pub mod nvml;
pub mod oci;
pub mod pci;
pub mod plan;
pub mod record;
pub mod render;
pub mod request;
pub mod requirements;
pub mod resolve;
pub mod security;
pub mod select;
pub mod selinux;
pub mod settings;
pub mod supervisor;
pub mod trust;
pub mod visible_devices;

#[cfg(test)]
mod machine;
