//! What a person types: run, plan, info, devices, doctor, setup.

mod args;
mod commands;
mod doctor;
mod driver;
mod failure;
mod nvml;
mod output;
mod podman;

#[cfg(test)]
#[expect(dead_code, reason = "it serves the tests of several crates")]
#[path = "../../../tests/fixtures/machine.rs"]
mod fixture;

use args::{Cli, Command};
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match command(std::env::args_os().collect()) {
        Command::Run { words } => commands::run::run(words),
        Command::Plan(options) => commands::plan::plan(options),
        Command::Info(options) => commands::info::info(options),
        Command::Devices => commands::devices::devices(),
        Command::Doctor(options) => commands::doctor::doctor(options),
        Command::Setup(options) => commands::setup::setup(&options),
        Command::Nvml(options) => commands::nvml::nvml(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// clap would eat the `--` in `nvbind run -- IMAGE`.
fn command(mut words: Vec<OsString>) -> Command {
    if words.get(1).is_some_and(|word| word == "run") {
        return Command::Run { words: words.split_off(2) };
    }
    Cli::parse_from(words).command
}
