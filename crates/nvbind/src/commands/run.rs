//! `nvbind run` and `nvbind create`: makes sure that podman will run the hook, adds the annotation and what the
//! configuration says, and becomes podman.

use crate::args::Cli;
use crate::config::{self, Configuration};
use crate::driver::{self, Place};
use crate::failure::Failure;
use crate::messages::Messages;
use crate::output;
use crate::podman::command_line::{self, CommandLine, Verb};
use crate::podman::{containers_conf, engine, hooks, shell};
use crate::{profiles, service};
use clap::CommandFactory;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain as _;
use nvbind_core::plan::Plan;
use nvbind_core::request::Request;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What podman, too, exits with for its own errors, so that they can be told from the container's (podman-run(1)).
pub(super) const PODMAN_FAILED: u8 = 125;

/// Why no container was started.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    CommandLine(#[from] command_line::Error),
    #[error(transparent)]
    Configuration(#[from] config::Error),
    #[error(transparent)]
    Caller(#[from] Caller),
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
    #[error(transparent)]
    Podman(engine::NotStarted),
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Why this user starts nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Caller {
    /// `--rootless`.
    #[error("--rootless is for containers of a user, and this is root")]
    Root,
    /// The configuration.
    #[error("only root starts containers here: security.allow_rootless is false{}", place(origin.as_ref()))]
    Rootless {
        /// Where that stands.
        origin: Option<config::Origin>,
    },
}

impl Caller {
    /// What to do, where the message does not say it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Caller::Root => Some("run it as the user who is to own the container".into()),
            Caller::Rootless { .. } => None,
        }
    }
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
        return Ok(help(&[verb.word()])?);
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
    Err(Error::Podman(engine::become_podman(&arguments)))
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
    may_start(&configuration, false)?;
    let caller = config::Caller {
        verb,
        is_root: nix::unistd::geteuid().is_root(),
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
    require_user(line.rootless)?;
    Ok(line)
}

/// Whether this user may start containers, as the configuration and `--rootless` have it.
pub(super) fn may_start(configuration: &Configuration, rootless: bool) -> Result<(), Caller> {
    if !nix::unistd::geteuid().is_root() && !configuration.settings.security.allow_rootless {
        let origin = configuration.values.origin(&["security", "allow_rootless"]).cloned();
        return Err(Caller::Rootless { origin });
    }
    require_user(rootless)
}

fn require_user(rootless: bool) -> Result<(), Caller> {
    if rootless && nix::unistd::geteuid().is_root() { Err(Caller::Root) } else { Ok(()) }
}

/// Where this podman looks for hooks; none where the container starts on another machine.
fn hooks_dirs(line: &CommandLine) -> Result<Option<Vec<PathBuf>>, containers_conf::Error> {
    engine::hooks_dirs(line.remote, &line.modules, &line.hooks_dirs)
}

/// What the container will get. Fails where it would start without its GPUs, or not start for a reason that crun does not
/// tell.
fn pre_flight(line: &CommandLine, directories: &[PathBuf]) -> Result<Plan, Error> {
    let request = request(line)?;
    let place = Place::from(engine::hook(directories)?);
    Ok(driver::make_ready(&place, request, line.keeps_groups)?)
}

/// What the container would get, with nothing changed on this machine.
fn preview(line: &CommandLine, directories: &[PathBuf]) -> Result<Plan, Error> {
    let request = request(line)?;
    let place = Place::from(engine::hook(directories)?);
    Ok(driver::preview(&place, request)?.1)
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

impl Error {
    /// The exit code where no container was to start.
    fn exit(&self) -> Exit {
        match self {
            Error::CommandLine(_) | Error::Privileged | Error::NothingToTry => Exit::Request,
            Error::Configuration(error) => error.exit(),
            Error::Driver(error) => error.exit(),
            Error::Hook(_) | Error::Podmans(_) | Error::Podman(_) => Exit::Driver,
            Error::Caller(_) | Error::Output(_) => Exit::Permission,
        }
    }
}

fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Hook(error) => error.hint(),
        Error::CommandLine(_) => Some("see `nvbind run --help`".into()),
        Error::Configuration(error) => error.hint(),
        Error::Privileged => Some("`--isolate=false` starts it without isolation".into()),
        Error::Caller(error) => error.hint(),
        Error::Driver(error) => error.hint(),
        Error::Podman(error) => error.hint(),
        Error::NothingToTry | Error::Podmans(_) | Error::Output(_) => None,
    }
}

/// Prints the help of a command that clap does not parse.
pub(super) fn help(path: &[&str]) -> Result<(), output::Error> {
    let mut cli = Cli::command();
    cli.build();
    let command = path.iter().try_fold(&mut cli, |command, name| command.find_subcommand_mut(name));
    let text = command.map(|command| command.render_long_help().to_string());
    output::print(text.unwrap_or_default().as_bytes())
}

fn print(arguments: &[OsString]) -> Result<(), Error> {
    let mut line = command(arguments);
    line.push("\n");
    Ok(output::print(line.as_bytes())?)
}

/// podman with these arguments, as a shell reads it.
pub(super) fn command(arguments: &[OsString]) -> OsString {
    let words = [OsStr::new("podman")].into_iter().chain(arguments.iter().map(OsString::as_os_str));
    OsString::from_vec(shell::quote(words))
}
