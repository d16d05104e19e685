//! The OCI hook: state on stdin, GPUs in the container, a documented exit code.
#![forbid(unsafe_code)]

#[cfg(not(any(target_feature = "crt-static", test, doc, clippy, miri)))]
compile_error!("build nvbind-hook from inside the workspace: .cargo/config.toml links it statically");

fn main() {}
