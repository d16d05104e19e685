//! Set-up, demo, test lanes and packages: `cargo xtask --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal of the person who builds"
)]

use nvbind_fixtures::commands;
use nvbind_fixtures::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use xtask::{demo, fuzz, gpu_bundle, package, test};

const HELP: &str = "\
cargo xtask demo [--image IMAGE]   run a container with the GPUs of this machine, or with a simulated driver and a probe
cargo xtask test [LANE…] [--full] [--only TEXT…] [-- HARNESS…]   run all lanes, or these: each end-to-end case once for each
    combination of what it depends on, with --full wherever it can be, or those whose name contains TEXT wherever they can be.
    Words of the harness are --list, --skip TEXT, --format json and others: see -- --help
cargo xtask test --vm …   the same in virtual machines, which are emulated: vm-apparmor and vm-selinux; --all: in all lanes
cargo xtask trees   make the Debian trees of all lanes ahead of them
cargo xtask package [deb] [rpm] [tarball] [arch] [tree]   make all packages, or these, in target/package
cargo xtask gpu-bundle [FILE]   pack what the checks on a real GPU need, for a machine that has one
cargo xtask fuzz [TARGET…] [--seconds N]   fuzz every reader of foreign input, or these, for so long in all (60)
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
        "test" => test::test(project(), rest),
        "trees" => test::trees(project()).map(|()| true),
        "demo" => demo::run(&strs(rest)).map(|()| true).map_err(|error| Error::Fixture(error.into())),
        "fuzz" => fuzz::run(project(), &strs(rest)),
        "package" => package::package(project(), &strs(rest)).map(|()| true),
        "gpu-bundle" => gpu_bundle::pack(project(), &strs(rest)).map(|()| true),
        "driver-sim" => commands::driver_sim(&strs(rest)).map(show),
        "image" => commands::image(&strs(rest)).map(|()| true).map_err(Error::Fixture),
        "real-driver" => commands::real_driver(&strs(rest)).map(show).map_err(Error::Fixture),
        // Not for people: a lane's own processes.
        "lane-supervise" => nvbind_lanes::supervise(&first()?).map(|()| true),
        "lane-enter" => {
            let cgroups: Vec<PathBuf> = rest.iter().skip(1).map(PathBuf::from).collect();
            nvbind_lanes::enter(&first()?, &cgroups, nvbind_e2e::machine::before_boot).map(|()| true)
        }
        "inside" => nvbind_e2e::inside(&first()?).map(|()| true),
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

/// The workspace's root.
fn project() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}
