//! What a person types: run, create, plan, info, devices, doctor, config, profile, setup, generate, completions.

mod args;
mod commands;
mod config;
mod doctor;
mod driver;
mod failure;
mod generate;
mod nvml;
mod output;
mod podman;
mod profiles;

#[cfg(test)]
#[expect(dead_code, reason = "it serves the tests of several crates")]
#[path = "../../../tests/fixtures/machine.rs"]
mod fixture;

use args::{Cli, Command};
use clap::Parser;
use podman::command_line::Verb;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match command(std::env::args_os().collect()) {
        Command::Run { words } => commands::run::run(Verb::Run, words),
        Command::Create { words } => commands::run::run(Verb::Create, words),
        Command::Plan(options) => commands::plan::plan(options),
        Command::Info(options) => commands::info::info(options),
        Command::Devices => commands::devices::devices(),
        Command::Doctor(options) => commands::doctor::doctor(options),
        Command::Config(command) => commands::config::config(&command),
        Command::Profile(command) => commands::profile::profile(&command),
        Command::Setup(options) => commands::setup::setup(&options),
        Command::Generate(options) => commands::generate::generate(&options),
        Command::Completions(options) => commands::completions::completions(&options),
        Command::Man(options) => commands::man::man(&options),
        Command::Nvml(options) => commands::nvml::nvml(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// clap would eat the `--` in `nvbind run -- IMAGE`.
fn command(mut words: Vec<OsString>) -> Command {
    match words.get(1).and_then(|word| Verb::of(word)) {
        Some(Verb::Run) => Command::Run { words: words.split_off(2) },
        Some(Verb::Create) => Command::Create { words: words.split_off(2) },
        None => Cli::parse_from(words).command,
    }
}
