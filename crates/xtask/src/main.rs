//! Set-up, demo, test lanes and packages: `cargo xtask --help`.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a command line speaks to people")]
use std::process::ExitCode;

use xtask::{demo, fixtures};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["demo", rest @ ..] => demo::run(rest).map_err(Into::into),
        ["driver-sim", rest @ ..] => fixtures::driver_sim(rest),
        ["image", rest @ ..] => fixtures::image(rest),
        ["real-driver", rest @ ..] => fixtures::real_driver(rest).map(|text| print!("{text}")),
        _ => Err("usage: cargo xtask demo|driver-sim|image|real-driver".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
