//! What a person types: run, create, kube play, plan, info, devices, doctor, config, profile, setup, generate,
//! completions.

mod additions;
mod args;
mod cdi;
mod choice;
mod commands;
mod config;
mod docker;
mod doctor;
mod driver;
mod failure;
mod free;
#[cfg(fuzzing)]
pub mod fuzzing;
mod generate;
mod launch;
mod messages;
mod nvml;
mod output;
mod podman;
mod pods;
mod preflight;
mod profiles;
mod service;
mod version;
mod watcher;
mod yaml;

#[cfg(test)]
#[expect(dead_code, reason = "it serves the tests of several crates")]
#[path = "../../../tests/fixtures/machine.rs"]
mod fixture;

use args::{Cli, Command, Kube, Leading};
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser};
use messages::Messages;
use nvbind_core::supervisor;
use podman::command_line::Verb;
use std::ffi::OsString;
use std::process::ExitCode;

/// Does what the process's arguments say, and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = supervisor::supervise(std::env::args_os().skip(1)) {
        return code;
    }
    let (messages, command) = parse(std::env::args_os().collect());
    messages.apply();
    let done = match command {
        Command::Run { arguments } => commands::run::run(Verb::Run, arguments, messages),
        Command::Create { arguments } => commands::run::run(Verb::Create, arguments, messages),
        Command::Kube(Kube::Play { arguments }) => commands::kube::play(arguments, messages),
        Command::Plan(options) => commands::plan::plan(options),
        Command::Info(options) => commands::info::info(options),
        Command::Devices => commands::devices::devices(),
        Command::Doctor(options) => commands::doctor::doctor(options),
        Command::Config(command) => commands::config::config(&command),
        Command::Profile(command) => commands::profile::profile(&command),
        Command::Cdi(command) => commands::cdi::cdi(&command),
        Command::Setup(options) => commands::setup::setup(&options),
        Command::Generate(options) => commands::generate::generate(&options),
        Command::Completions(options) => commands::completions::completions(&options),
        Command::Man(options) => commands::man::man(&options),
        Command::Nvml(options) => commands::nvml::nvml(&options),
        Command::Watch(options) => {
            watcher::watch(&options.start, options.podman, options.terminal);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What stands after `run` or `kube play` is not for clap, which would eat the `--` in `nvbind run -- IMAGE`.
fn parse(arguments: Vec<OsString>) -> (Messages, Command) {
    if let Ok(Leading { messages, arguments }) = Leading::try_parse_from(&arguments)
        && let Some(command) = unparsed(&arguments)
    {
        return (messages, command);
    }
    // clap's own errors and help as well, which come before its answer.
    let cli = Cli::command().color(colour(&arguments));
    let parsed =
        cli.try_get_matches_from(arguments).and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let Cli { messages, command } = parsed.unwrap_or_else(|error| error.exit());
    (messages, command)
}

/// A command with arguments that are podman's, too.
fn unparsed(arguments: &[OsString]) -> Option<Command> {
    match arguments {
        [kube, play, rest @ ..] if kube == "kube" && play == "play" => {
            Some(Command::Kube(Kube::Play { arguments: rest.to_vec() }))
        }
        [verb, rest @ ..] => {
            let arguments = rest.to_vec();
            Some(match Verb::find(verb)? {
                Verb::Run => Command::Run { arguments },
                Verb::Create => Command::Create { arguments },
            })
        }
        [] => None,
    }
}

/// The value of the last `--color`.
fn colour(arguments: &[OsString]) -> ColorChoice {
    let value = |(at, argument): (usize, &OsString)| match argument.to_str()?.strip_prefix("--color")? {
        "" => arguments.get(at + 1)?.to_str()?.parse().ok(),
        value => value.strip_prefix('=')?.parse().ok(),
    };
    arguments.iter().enumerate().rev().find_map(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_run_is_kept_as_it_is_and_what_stands_before_is_nvbinds() {
        for (typed, verbose, color, expected) in [
            ("run -- image -v", false, ColorChoice::Auto, "-- image -v"),
            ("-v run --help --color always", true, ColorChoice::Auto, "--help --color always"),
            ("--color never --verbose run -v /a:/b image", true, ColorChoice::Never, "-v /a:/b image"),
            ("--color=always run", false, ColorChoice::Always, ""),
            ("-v kube play --help -- f", true, ColorChoice::Auto, "--help -- f"),
        ] {
            let (messages, command) =
                parse(["nvbind"].into_iter().chain(typed.split(' ')).map(OsString::from).collect());
            let (Command::Run { arguments } | Command::Kube(Kube::Play { arguments })) = command else {
                panic!("{command:?}")
            };
            assert_eq!(messages, Messages { verbose, color }, "{typed}");
            let arguments: Vec<String> = arguments.into_iter().map(|it| it.into_string().unwrap()).collect();
            assert_eq!(arguments.join(" "), expected, "{typed}");
        }
    }
}
