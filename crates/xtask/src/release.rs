//! The release build: the programs that are tested, measured and packaged, the same bytes wherever they are made.
use nvbind_fixtures::error::Result;
use nvbind_fixtures::process;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs, as they are named in [`folder`].
pub const PROGRAMS: [&str; 2] = ["nvbind", "nvbind-hook"];

/// Between two flags in the variable that can hold any flag (cargo's reference, "Environment Variables").
const SEPARATOR: &str = "\x1f";

pub fn build(project: &Path) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked"]);
    cargo.args(PROGRAMS.map(|program| format!("--package={program}")));
    Ok(process::run(cargo.current_dir(project).envs(environment(project)))?)
}

/// Where they are then.
#[must_use]
pub fn folder(project: &Path) -> PathBuf {
    project.join("target/release")
}

/// What makes cargo build the same in any folder, for a build of this project.
pub(crate) fn environment(project: &Path) -> [(&'static str, OsString); 3] {
    let mut path = project.join("tools").into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    // The wrapper of `.cargo/config.toml`. There it has an absolute path, which cargo makes part of the names of
    // symbols.
    [
        ("PATH", path),
        ("RUSTC_WORKSPACE_WRAPPER", "rustc-hook-static".into()),
        ("CARGO_ENCODED_RUSTFLAGS", flags()),
    ]
}

/// The caller's own flags, and those that keep the path of this machine's crates out of messages and so out of the
/// programs. The workspace's own paths are relative, those of the standard library never of this machine.
fn flags() -> OsString {
    let own = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS")) {
        (Ok(encoded), _) => encoded,
        (_, Ok(plain)) => plain.split_whitespace().collect::<Vec<_>>().join(SEPARATOR),
        _ => String::new(),
    };
    let registries = sources().into_iter().map(|folder| format!("--remap-path-prefix={folder}=/registry"));
    let flags: Vec<String> = Some(own).filter(|own| !own.is_empty()).into_iter().chain(registries).collect();
    flags.join(SEPARATOR).into()
}

/// The folders that hold crates' sources, one for each registry.
fn sources() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).unwrap_or_default();
    let entries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let mut folders: Vec<String> = entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect();
    folders.sort();
    folders
}
