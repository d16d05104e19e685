//! `nvbind run` and `nvbind create`: makes sure that podman will run the hook, adds the annotation and what the
//! configuration says, and becomes podman; a watcher beside it prints why the hook refuses what podman starts.

use crate::failure::Failure;
use crate::launch::{self, Counts, PODMAN_FAILED, Prepared};
use crate::messages::Messages;
use crate::output;
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::engine;
use crate::{service, watcher};
use nvbind_core::request::START_ANNOTATION;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Runs podman in place of this process.
pub(crate) fn run(verb: Verb, arguments: Vec<OsString>, messages: Messages) -> Result<(), Failure> {
    start(verb, arguments, messages).map_err(|failure| failure.with_code(PODMAN_FAILED))
}

fn start(verb: Verb, arguments: Vec<OsString>, messages: Messages) -> Result<(), Failure> {
    let line = CommandLine::parse(arguments);
    let mut line = line.map_err(|error| launch::explain_arguments(error, "run"))?;
    launch::apply_messages(messages, &line.options.own);
    if line.options.own.help {
        return Ok(launch::print_help(&[verb.name()])?);
    }
    launch::configure(&mut line, verb)?;
    if verb == Verb::Run
        && let Some(note) = service::stay_in_foreground(&mut line.options)
    {
        log::warn!("{note}");
    }
    if line.options.own.dry_run {
        let mut command = launch::command(&launch::preview(&line, verb, Counts::Choose)?.arguments());
        command.push("\n");
        return Ok(output::print(command.as_bytes())?);
    }
    let Prepared { mut invocation, has_hook } = launch::prepare(&line, verb)?;
    if verb == Verb::Run && has_hook {
        match watcher::start(line.options.is_on("tty")) {
            Ok(token) => invocation.annotate(START_ANNOTATION, &token),
            Err(error) => log::debug!("goes without a watcher: {error}"),
        }
    }
    let arguments = invocation.arguments();
    log::debug!("runs {}", launch::command(&arguments).to_string_lossy());
    Err(engine::become_podman(&arguments).into())
}
