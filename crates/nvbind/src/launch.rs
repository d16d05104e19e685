//! The start of a container: what `nvbind run`, `create`, `kube play` and `generate` have in common on the way to
//! podman.

use crate::additions::{self, Caller, This};
use crate::args::Cli;
use crate::config::{self, Configuration, Origin};
use crate::driver::{self, HookOptions};
use crate::failure::Failure;
use crate::messages::Messages;
use crate::output;
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::invocation::Invocation;
use crate::podman::options::Options;
use crate::podman::own::{self, Own};
use crate::podman::{engine, hooks, shell};
use crate::preflight;
use clap::CommandFactory;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStringExt;

/// What podman, too, exits with for its own errors, so that they can be told from the container's (podman-run(1)).
pub(crate) const PODMAN_FAILED: u8 = 125;

/// Why no container is started.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// `--rootless`.
    #[error("--rootless is for containers of a user, and this is root")]
    Root,
    #[error("only root starts containers here: security.allow_rootless is false{}", place(origin.as_ref()))]
    Rootless { origin: Option<Origin> },
    #[error("an isolated container cannot be --privileged: it would see all GPUs")]
    Privileged,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Root | Error::Rootless { .. } => Exit::Permission,
            Error::Privileged => Exit::Request,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Root => Some("run it as the user who is to own the container".into()),
            Error::Rootless { .. } => None,
            Error::Privileged => Some("`--isolate=false` starts it without isolation".into()),
        }
    }
}

fn place(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// A failure to read the arguments of `nvbind COMMAND`.
pub(crate) fn explain_arguments(error: own::Error, command: &str) -> Failure {
    Failure::from(error).with_hint(format!("see `nvbind {command} --help`"))
}

/// Has the process print messages as the options before and after the command say.
pub(crate) fn apply_messages(before: Messages, own: &Own) {
    let (verbose, color) = (before.verbose || own.verbose, own.color.unwrap_or(before.color));
    Messages { verbose, color }.apply();
}

/// Prints the help of a command that clap does not parse.
pub(crate) fn print_help(path: &[&str]) -> Result<(), output::Error> {
    let mut cli = Cli::command();
    cli.build();
    let command = path.iter().try_fold(&mut cli, |command, name| command.find_subcommand_mut(name));
    let text = command.map(|command| command.render_long_help().to_string());
    output::print(text.unwrap_or_default().as_bytes())
}

/// podman with these arguments, as a shell reads it.
pub(crate) fn command(arguments: &[OsString]) -> OsString {
    let program = [OsStr::new("podman")].into_iter();
    OsString::from_vec(shell::quote(program.chain(arguments.iter().map(OsString::as_os_str))))
}

/// The configuration for a command with these options, if it lets this user start containers.
pub(crate) fn load_configuration(own: &Own) -> Result<Configuration, Failure> {
    let configuration = Configuration::load(&config::layers(own.config.as_deref()))?;
    if !nix::unistd::geteuid().is_root() && !configuration.settings.security.allow_rootless {
        let origin = configuration.values.origin(&["security", "allow_rootless"]).cloned();
        return Err(Error::Rootless { origin }.into());
    }
    Ok(configuration)
}

/// Refuses to start containers as root where `--rootless` asks for that.
pub(crate) fn require_user(own: &Own) -> Result<(), Failure> {
    let is_refused = own.rootless == Some(true) && nix::unistd::geteuid().is_root();
    if is_refused { Err(Error::Root.into()) } else { Ok(()) }
}

/// Adds to the line what the configuration and its profiles say.
pub(crate) fn configure(line: &mut CommandLine, verb: Verb) -> Result<(), Failure> {
    let configuration = load_configuration(&line.options.own)?;
    let caller = Caller {
        verb,
        is_root: nix::unistd::geteuid().is_root(),
        has_terminal: io::stdin().is_terminal(),
        variable: &|name| std::env::var_os(name),
        host: &This,
    };
    let notes = additions::add(line, &configuration, caller)?;
    configuration.lost.iter().chain(&notes).for_each(|note| log::warn!("{note}"));
    require_user(&line.options.own)
}

/// What podman would be told, as far as that is known without changing anything.
pub(crate) fn preview(line: &CommandLine, verb: Verb) -> Result<Invocation, Failure> {
    let request = request(line)?;
    // Where podman's configuration is broken, podman says so.
    let directories = engine::hooks_dirs(&line.options).ok().flatten();
    let has_nvidias = directories.as_deref().is_some_and(hooks::has_nvidias);
    let plan = match directories.filter(|_| line.options.own.device_rules == Some(true)) {
        Some(directories) => {
            let hook = HookOptions::from(engine::hook(&directories)?);
            Some(driver::preview(&hook, request)?.1)
        }
        None => None,
    };
    Ok(line.invocation(verb, has_nvidias, &device_rules(&line.options, plan.as_ref())))
}

/// A container whose start can begin.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) invocation: Invocation,
    /// Whether the hook runs on this machine.
    pub(crate) is_local: bool,
}

/// What podman is told, with everything ready for the container. Fails where it would start without its GPUs, or not
/// start for a reason that crun does not tell.
pub(crate) fn prepare(line: &CommandLine, verb: Verb) -> Result<Prepared, Failure> {
    let directories = engine::hooks_dirs(&line.options)?;
    let request = request(line)?;
    let Some(directories) = directories else {
        let invocation = line.invocation(verb, false, &device_rules(&line.options, None));
        return Ok(Prepared { invocation, is_local: false });
    };
    let hook = HookOptions::from(engine::hook(&directories)?);
    let keeps_groups = line.options.values("group-add").any(|group| group == "keep-groups");
    let (host, plan) = driver::make_ready(&hook, request, keeps_groups)?;
    preflight::check(line, verb, &host, &plan)?;
    let rules = device_rules(&line.options, Some(&plan));
    let invocation = line.invocation(verb, hooks::has_nvidias(&directories), &rules);
    Ok(Prepared { invocation, is_local: true })
}

/// What the hook will be asked.
fn request(line: &CommandLine) -> Result<Request, Failure> {
    let request = line.request()?;
    // The commonest of what the hook refuses; crun would not tell its reason.
    if request.isolate && line.options.is_on("privileged") {
        return Err(Error::Privileged.into());
    }
    Ok(request)
}

/// The rules that the hook will make by itself, for podman to keep as well: at `podman update` crun takes away what is
/// not in podman's own list. Podman refuses them rootless, where no devices are filtered.
fn device_rules(options: &Options, plan: Option<&Plan>) -> Vec<String> {
    if options.own.device_rules != Some(true) {
        return Vec::new();
    }
    if !nix::unistd::geteuid().is_root() {
        log::warn!("--device-rules is left out: the devices of a rootless container are not filtered");
        return Vec::new();
    }
    let Some(plan) = plan else {
        log::warn!("--device-rules is left out: the device numbers of another machine are not known");
        return Vec::new();
    };
    plan.devices.iter().map(|device| format!("c {}:{} rw", device.node.major, device.node.minor)).collect()
}
