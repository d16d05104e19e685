//! Set-up, demo, test lanes and packages: `cargo xtask --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal of the person who builds"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use xtask::error::{Error, Result};
use xtask::{demo, e2e, fixtures, gpu_bundle, lanes, package, test};

const HELP: &str = "\
cargo xtask demo [--image IMAGE]   run a container with the GPUs of this machine, or with a simulated driver and a probe
cargo xtask test [LANE…] [--only TEXT…]   run all lanes, or these; of end-to-end cases only those whose name contains TEXT
cargo xtask test --vm [--only TEXT…]   the same in virtual machines, which are emulated: vm-apparmor and vm-selinux
cargo xtask package [deb] [rpm] [tarball] [arch] [tree]   make all packages, or these, in target/package
cargo xtask gpu-bundle [FILE]   pack what the checks on a real GPU need, for a machine that has one
cargo xtask driver-sim DIR [OPTION…]   make a simulated driver root; --help has the options
cargo xtask real-driver DIR [--suite SUITE]   unpack NVIDIA's driver from Debian's packages into a driver root
cargo xtask image ARCHIVE [--from ROOT]   pack a container image for podman import
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

/// Does what the words say; whether all went well.
fn run(words: &[String]) -> Result<bool> {
    let (verb, rest) = words.split_first().ok_or_else(|| Error::failed(HELP))?;
    let first = || rest.first().map(PathBuf::from).ok_or_else(|| Error::failed(HELP));
    match verb.as_str() {
        "test" => {
            let (names, only) = test_words(rest);
            test::test(project(), &names, &only)
        }
        "demo" => demo::run(&strs(rest)).map(|()| true).map_err(|error| Error::Fixture(error.into())),
        "package" => package::package(project(), &strs(rest)).map(|()| true),
        "gpu-bundle" => gpu_bundle::pack(project(), &strs(rest)).map(|()| true),
        "driver-sim" => fixtures::driver_sim(&strs(rest)).map(show),
        "image" => fixtures::image(&strs(rest)).map(|()| true).map_err(Error::Fixture),
        "real-driver" => fixtures::real_driver(&strs(rest)).map(show).map_err(Error::Fixture),
        // Not for people: a lane's own processes.
        "lane-supervise" => lanes::supervise(&first()?).map(|()| true),
        "lane-enter" => {
            let cgroups: Vec<PathBuf> = rest.iter().skip(1).map(PathBuf::from).collect();
            lanes::enter(&first()?, &cgroups).map(|()| true)
        }
        "inside" => e2e::inside(&first()?).map(|()| true),
        "--help" | "-h" | "help" => {
            print!("{HELP}");
            Ok(true)
        }
        other => Err(Error::failed(format!("unknown word {other}\n{HELP}"))),
    }
}

fn show(text: String) -> bool {
    print!("{text}");
    true
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Lane names, and the texts after `--only`.
fn test_words(words: &[String]) -> (Vec<String>, Vec<String>) {
    let mut parts = words.splitn(2, |word| word == "--only");
    let names = parts.next().unwrap_or_default().to_vec();
    (names, parts.next().unwrap_or_default().to_vec())
}

/// The workspace's root.
fn project() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_come_before_only_and_texts_after_it() {
        let words = ["bookworm-v1", "--only", "crun", "runc"].map(String::from);
        let (names, only) = test_words(&words);
        assert_eq!(names, ["bookworm-v1"]);
        assert_eq!(only, ["crun", "runc"]);
    }
}
