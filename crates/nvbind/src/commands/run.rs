//! `nvbind run` and `nvbind create`: makes sure that podman will run the hook, adds the annotation and what the
//! configuration says, and becomes podman.

use crate::args::Cli;
use crate::config::{self, Caller, Configuration};
use crate::driver::{self, Place};
use crate::failure::Failure;
use crate::messages::Messages;
use crate::output;
use crate::podman::command_line::{self, CommandLine, Verb};
use crate::podman::containers_conf::{self, Sources};
use crate::podman::{hooks, shell};
use crate::{profiles, service};
use clap::CommandFactory;
use nvbind_core::exit::Exit;
use nvbind_core::host::Host;
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// What podman, too, exits with for its own errors, so that they can be told from the container's (podman-run(1)).
const PODMAN_FAILED: u8 = 125;

/// Why no container was started.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    CommandLine(#[from] command_line::Error),
    #[error(transparent)]
    Configuration(#[from] config::Error),
    #[error("--rootless is for containers of a user, and this is root")]
    Root,
    #[error("only root starts containers here: security.allow_rootless is false{}", place(origin.as_ref()))]
    Rootless { origin: Option<config::Origin> },
    #[error("an isolated container cannot be --privileged: it would see all GPUs")]
    Privileged,
    #[error("--dry-run is for `nvbind run`: here nothing is started anyway")]
    NothingToTry,
    #[error(transparent)]
    Podmans(#[from] containers_conf::Error),
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    #[error(transparent)]
    Driver(#[from] driver::Error),
    #[error("podman is not installed, or not in PATH")]
    NoPodman,
    #[error("cannot start podman")]
    Podman(#[source] io::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
}

fn place(origin: Option<&config::Origin>) -> String {
    origin.map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// Runs podman in place of this process.
pub(crate) fn run(verb: Verb, words: Vec<OsString>, messages: Messages) -> Result<(), Failure> {
    start(verb, words, messages).map_err(|error| into_failure(error, PODMAN_FAILED))
}

fn into_failure(error: Error, code: u8) -> Failure {
    let hint = hint(&error);
    Failure::new(error, code).hint(hint)
}

fn start(verb: Verb, words: Vec<OsString>, messages: Messages) -> Result<(), Error> {
    let typed = CommandLine::parse(words.iter().cloned())?;
    Messages { verbose: messages.verbose || typed.verbose, color: typed.color.unwrap_or(messages.color) }
        .apply();
    if typed.help {
        return help(verb);
    }
    let mut words = configured(verb, &typed, &words)?;
    if verb == Verb::Run
        && let Some((changed, what)) = service::in_foreground(&words)
    {
        log::warn!("{what}");
        words = changed;
    }
    let line = parsed(words)?;
    if line.dry_run {
        return print(&previewed(verb, &line)?);
    }
    let (plan, has_nvidias) = match hooks_dirs(&line)? {
        Some(directories) => (Some(pre_flight(&line, &directories)?), hooks::has_nvidias(&directories)),
        None => {
            request(&line)?;
            (None, false)
        }
    };
    let arguments = line.podman_arguments(verb, has_nvidias, &device_rules(&line, plan.as_ref()));
    log::debug!("runs {}", command(&arguments).to_string_lossy());
    let error = Command::new("podman").args(arguments).exec();
    Err(if error.kind() == io::ErrorKind::NotFound { Error::NoPodman } else { Error::Podman(error) })
}

/// What podman would be told of these words after `nvbind run`; starts and changes nothing.
pub(crate) fn arguments(words: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let told = || {
        let typed = CommandLine::parse(words.iter().cloned())?;
        if typed.dry_run {
            return Err(Error::NothingToTry);
        }
        let words = configured(Verb::Run, &typed, words)?;
        previewed(Verb::Run, &parsed(words)?)
    };
    // No container was to start, so that the codes are those of the other commands.
    told().map_err(|error| {
        let exit = error.exit();
        into_failure(error, exit as u8)
    })
}

/// podman's arguments, as far as they can be told without changing anything.
fn previewed(verb: Verb, line: &CommandLine) -> Result<Vec<OsString>, Error> {
    request(line)?;
    // Where podman's configuration is broken, podman says so.
    let directories = hooks_dirs(line).ok().flatten();
    let has_nvidias = directories.as_deref().is_some_and(hooks::has_nvidias);
    let plan = directories.filter(|_| line.device_rules).map(|directories| preview(line, &directories));
    Ok(line.podman_arguments(verb, has_nvidias, &device_rules(line, plan.transpose()?.as_ref())))
}

/// The words with those that the configuration puts before them.
fn configured(verb: Verb, typed: &CommandLine, words: &[OsString]) -> Result<Vec<OsString>, Error> {
    let configuration = Configuration::load(&config::layers(typed.config.as_deref()))?;
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root && !configuration.settings.security.allow_rootless {
        let origin = configuration.values.origin(&["security", "allow_rootless"]).cloned();
        return Err(Error::Rootless { origin });
    }
    let caller = Caller {
        verb,
        is_root,
        has_terminal: io::stdin().is_terminal(),
        variable: &|name| std::env::var_os(name),
        host: &profiles::This,
    };
    let whole = configuration.words(words, caller)?;
    configuration.lost.iter().chain(&whole.notes).for_each(|note| log::warn!("{note}"));
    Ok(whole.words)
}

fn parsed(words: Vec<OsString>) -> Result<CommandLine, Error> {
    let line = CommandLine::parse(words)?;
    if line.rootless && nix::unistd::geteuid().is_root() {
        return Err(Error::Root);
    }
    Ok(line)
}

/// Where this podman looks for hooks; none where the container starts on another machine.
fn hooks_dirs(line: &CommandLine) -> Result<Option<Vec<PathBuf>>, Error> {
    if is_remote(line) {
        return Ok(None);
    }
    let engine = Sources::of_this_process().read(&line.modules)?;
    if engine.remote {
        return Ok(None);
    }
    let given = hooks::from_command_line(&line.hooks_dirs);
    Ok(Some(if given.is_empty() { engine.hooks_dirs } else { given }))
}

/// What the container will get. Fails where it would start without its GPUs, or not start for a reason that crun does not
/// tell.
fn pre_flight(line: &CommandLine, directories: &[PathBuf]) -> Result<Plan, Error> {
    let (place, host, request) = asked(line, directories)?;
    Ok(driver::make_ready(&place, &host, &request, line.keeps_groups)?)
}

/// What the container would get, with nothing changed on this machine.
fn preview(line: &CommandLine, directories: &[PathBuf]) -> Result<Plan, Error> {
    let (place, host, request) = asked(line, directories)?;
    Ok(driver::plan(&place, &host, &request)?)
}

/// What the hook will be asked.
fn request(line: &CommandLine) -> Result<Request, Error> {
    let request = line.request().map_err(driver::Error::from)?;
    // The commonest of what the hook refuses; crun would not tell its reason.
    if request.isolate && line.privileged {
        return Err(Error::Privileged);
    }
    Ok(request)
}

/// What the hook will be asked, and where it will look.
fn asked(line: &CommandLine, directories: &[PathBuf]) -> Result<(Place, Host, Request), Error> {
    let request = request(line)?;
    let hook = hooks::find(directories)?;
    log::debug!("podman runs {} by {}", hook.binary.display(), hook.json.display());
    let place = Place::from(hook);
    let (host, security) = place.open()?;
    Ok((place, host, request.within(&security)))
}

/// The rules that the hook will make by itself, for podman to keep as well: at `podman update` crun takes away what is not
/// in podman's own list. Podman refuses them rootless, where no devices are filtered.
fn device_rules(line: &CommandLine, plan: Option<&Plan>) -> Vec<String> {
    if !line.device_rules {
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

/// Whether podman will be a client of another one, as its `registry.IsRemote` decides: that host is not this one.
fn is_remote(line: &CommandLine) -> bool {
    let from_environment =
        || ["CONTAINER_HOST", "CONTAINER_CONNECTION"].iter().any(|name| std::env::var_os(name).is_some());
    line.remote.service || line.remote.switch.unwrap_or_else(from_environment)
}

impl Error {
    /// The exit code where no container was to start.
    fn exit(&self) -> Exit {
        match self {
            Error::CommandLine(_) | Error::Privileged | Error::NothingToTry => Exit::Request,
            Error::Configuration(error) => error.exit(),
            Error::Driver(error) => error.exit(),
            Error::Hook(_) | Error::Podmans(_) | Error::NoPodman => Exit::Driver,
            Error::Root | Error::Rootless { .. } | Error::Podman(_) | Error::Output(_) => Exit::Permission,
        }
    }
}

fn hint(error: &Error) -> Option<String> {
    let setup = if nix::unistd::geteuid().is_root() {
        "nvbind setup"
    } else {
        "nvbind setup --user` or, as root, `nvbind setup"
    };
    match error {
        Error::Hook(hooks::Error::NotInstalled { .. } | hooks::Error::NoBinary { .. }) => {
            Some(format!("run `{setup}`"))
        }
        Error::CommandLine(_) => Some("see `nvbind run --help`".into()),
        Error::Configuration(error) => error.hint(),
        Error::Privileged => Some("`--isolate=false` starts it without isolation".into()),
        Error::Root => Some("run it as the user who is to own the container".into()),
        Error::Driver(error) => error.hint(),
        Error::NoPodman => Some("install podman with the system's package manager".into()),
        Error::Hook(
            hooks::Error::Read { .. } | hooks::Error::Parse { .. } | hooks::Error::Unknown { .. },
        )
        | Error::Rootless { .. }
        | Error::NothingToTry
        | Error::Podmans(_)
        | Error::Podman(_)
        | Error::Output(_) => None,
    }
}

fn help(verb: Verb) -> Result<(), Error> {
    let mut cli = Cli::command();
    cli.build();
    let text = cli.find_subcommand_mut(verb.word()).map(|command| command.render_long_help().to_string());
    Ok(output::print(text.unwrap_or_default().as_bytes())?)
}

fn print(arguments: &[OsString]) -> Result<(), Error> {
    let mut line = command(arguments);
    line.push("\n");
    Ok(output::print(line.as_bytes())?)
}

/// podman with these arguments, as a shell reads it.
fn command(arguments: &[OsString]) -> OsString {
    let words = [OsStr::new("podman")].into_iter().chain(arguments.iter().map(OsString::as_os_str));
    OsString::from_vec(shell::quote(words))
}
