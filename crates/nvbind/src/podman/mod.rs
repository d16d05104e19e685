//! What nvbind has to know of podman: its options, its configuration files and its hooks directories.

pub(crate) mod asked;
pub(crate) mod command_line;
pub(crate) mod containers_conf;
pub(crate) mod engine;
pub(crate) mod hooks;
pub(crate) mod invocation;
pub(crate) mod known;
pub(crate) mod kube_play;
pub(crate) mod lexer;
pub(crate) mod mistakes;
pub(crate) mod nested;
pub(crate) mod options;
pub(crate) mod own;
pub(crate) mod shell;
mod ways;
