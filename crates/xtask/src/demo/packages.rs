//! Installs what is missing, with the system's own package manager, and says so.
use super::DemoError;
use nvbind_fixtures::process;
use std::path::Path;
use std::process::Command;

/// A package manager: its program, how it refreshes its lists, how it installs without asking.
struct Manager {
    program: &'static str,
    refresh: &'static [&'static str],
    install: &'static [&'static str],
}

/// In order of preference: some systems have a foreign one installed as well.
const MANAGERS: &[Manager] = &[
    Manager {
        program: "apt-get",
        refresh: &["update", "--quiet"],
        install: &["install", "--quiet", "--yes", "--no-install-recommends"],
    },
    Manager { program: "dnf", refresh: &[], install: &["install", "--assumeyes"] },
    Manager { program: "pacman", refresh: &[], install: &["-Sy", "--noconfirm", "--needed"] },
];

/// A program, and the package that has it: of apt, of dnf, of pacman.
const PACKAGES: &[(&str, [&str; 3])] = &[
    ("podman", ["podman", "podman", "podman"]),
    ("crun", ["crun", "crun", "crun"]),
    ("runc", ["runc", "runc", "runc"]),
    ("cc", ["gcc libc6-dev", "gcc", "gcc"]),
    ("tar", ["tar", "tar", "tar"]),
];

/// Makes sure that `programs` are there.
pub(super) fn ensure(programs: &[&str]) -> Result<(), DemoError> {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found = MANAGERS.iter().enumerate().find(|(_, manager)| is_there(manager.program));
    let (at, manager) = found.ok_or_else(|| DemoError::Missing { programs: missing.join(", ") })?;
    let packages = packages(&missing, at);
    super::say(&format!("installing {} with {}", packages.join(", "), manager.program));
    if !nix::unistd::geteuid().is_root() {
        return Err(DemoError::NotRoot {
            command: format!("{} {} {}", manager.program, manager.install.join(" "), packages.join(" ")),
        });
    }
    if !manager.refresh.is_empty() {
        process::read(Command::new(manager.program).args(manager.refresh))?;
    }
    // Its questions would wait for an answer that nobody can give.
    process::read(
        Command::new(manager.program)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(manager.install)
            .args(packages),
    )?;
    Ok(())
}

/// The packages of the manager in place `at` of the table that have these programs.
fn packages(programs: &[&str], at: usize) -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(program, _)| programs.contains(program))
        .filter_map(|(_, packages)| packages.get(at))
        .flat_map(|packages| packages.split(' '))
        .collect()
}

pub(super) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's PATH of a plain user lacks the directories of system programs.
    let more = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path)
        .chain(more)
        .any(|dir: std::path::PathBuf| Path::new(&dir).join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_package_of_the_manager() {
        assert_eq!(packages(&["podman", "cc"], 0), ["podman", "gcc", "libc6-dev"]);
        assert_eq!(packages(&["podman", "cc"], 2), ["podman", "gcc"]);
    }
}
