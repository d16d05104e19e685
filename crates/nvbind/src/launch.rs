//! The start of a container: what `nvbind run`, `create`, `kube play` and `generate` have in common on the way to
//! podman.

use crate::additions::{self, Caller, This};
use crate::args::Cli;
use crate::choice::Choice;
use crate::config::{self, Configuration, Origin};
use crate::driver::{self, HookOptions, Machine, Modules};
use crate::failure::Failure;
use crate::free::{self, Free};
use crate::messages::Messages;
use crate::output;
use crate::podman::asked;
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::invocation::{Invocation, Wanted};
use crate::podman::options::Options;
use crate::podman::own::{self, Own, Runtime};
use crate::podman::{engine, hooks, mistakes, nested, shell};
use crate::preflight;
use clap::CommandFactory;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::gpu_name::GpuName;
use nvbind_core::plan::Plan;
use nvbind_core::request::{Gpus, Request};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// What podman, too, exits with for its own errors, so that they can be told from the container's (podman-run(1)).
pub(crate) const PODMAN_FAILED: u8 = 125;

/// More than any file of variables has.
const MAX_VARIABLES: u64 = 1 << 20;

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
    /// The GPUs of another machine are not known here.
    #[error("a number of GPUs is asked for, and podman starts the container on another machine")]
    Elsewhere,
    /// Which ones are free is known at the start.
    #[error("a number of GPUs cannot stand in this file, which is read without nvbind")]
    Counted,
    /// nvbind would have to be in the image.
    #[error("the container's command is `nvbind run` itself, which is not in the image")]
    Nested { instead: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Root | Error::Rootless { .. } => Exit::Permission,
            Error::Privileged | Error::Elsewhere | Error::Counted | Error::Nested { .. } => Exit::Request,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Root => Some("run it as the user who is to own the container".into()),
            Error::Rootless { .. } => None,
            Error::Privileged => Some("`--isolate=false` starts it without isolation".into()),
            Error::Elsewhere => Some("name them: `--gpu 0,1`".into()),
            Error::Nested { instead } => Some(format!("after the image write `{instead}` alone")),
            Error::Counted => Some(
                "name them, `--gpu 0,1`, or have them chosen at each start: `nvbind generate systemd`".into(),
            ),
        }
    }
}

fn place(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// A failure to read the arguments of `nvbind COMMAND`.
pub(crate) fn explain_arguments(error: own::Error, command: &str) -> Failure {
    let hint = error.hint().unwrap_or_else(|| format!("see `nvbind {command} --help`"));
    Failure::from(error).with_hint(hint)
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
    note_runtime(&line.options, &configuration);
    let asked = asked(line)?;
    mistakes::find(&line.options, &asked)?;
    if asked.has_options {
        log::warn!("options= of --gpus is left out: Docker's driver for NVIDIA's GPUs knows none either");
    }
    check_command(line)?;
    require_user(&line.options.own)
}

/// Refuses a container whose program would be nvbind, and which is to be the one that that would start.
fn check_command(line: &CommandLine) -> Result<(), Failure> {
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let words: Vec<String> = line.container.command.iter().map(text).collect();
    let image = line.container.image.as_ref().map(text).unwrap_or_default();
    match nested::find(&words) {
        Some(nested) if nested.is_for(&image) => {
            let instead = shell::quote(nested.command.iter().map(OsStr::new));
            Err(Error::Nested { instead: String::from_utf8_lossy(&instead).into_owned() }.into())
        }
        Some(nested) => {
            log::warn!(
                "the container's command is `nvbind run` of {}, which has to be in the image",
                nested.image
            );
            Ok(())
        }
        None => Ok(()),
    }
}

/// Says that NVIDIA's runtime is not what starts the container.
pub(crate) fn note_runtime(options: &Options, configuration: &Configuration) {
    let configured = OsStr::new(&configuration.settings.runtime.default_runtime);
    let name = options.last("runtime").and_then(|given| given.value.as_deref()).unwrap_or(configured);
    if Runtime::is_nvidias(name) {
        log::warn!("--runtime {} is left out: podman's own runtime starts the container", name.display());
    }
}

/// What the line asks for.
fn asked(line: &CommandLine) -> Result<asked::Asked, Failure> {
    let caller = asked::Caller { variable: &|name| std::env::var_os(name), file: &read_variables };
    Ok(line.options.asked(caller)?)
}

/// The text of a file of `--env-file`. What is no file can be read once, and that is podman's.
fn read_variables(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file =
        fs::metadata(path).ok().filter(fs::Metadata::is_file).and_then(|_| fs::File::open(path).ok())?;
    file.take(MAX_VARIABLES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What becomes of a number of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// They are chosen now.
    Choose,
    /// They are chosen at each start of what is made here.
    Keep,
    /// They cannot be chosen.
    Refuse,
}

/// What the container is to have, with its GPUs chosen.
fn wanted(
    line: &CommandLine,
    choose: impl FnOnce(u32) -> Result<Vec<GpuName>, Failure>,
) -> Result<Wanted, Failure> {
    let asked = asked(line)?;
    let gpus = match asked.choice {
        Choice::Nothing => None,
        Choice::Named(gpus) => Some(gpus),
        Choice::Any(count) => Some(Gpus::Listed(choose(count)?)),
    };
    Ok(Wanted { gpus, capabilities: asked.capabilities })
}

/// The process of the container that this one takes the place of, with `--replace`.
fn replaced(options: &Options) -> Vec<u32> {
    match options.values("name").next_back().and_then(OsStr::to_str) {
        Some(name) if options.is_on("replace") => {
            engine::processes(options, &["container", "inspect", "--format={{.State.Pid}}", name])
        }
        Some(_) | None => Vec::new(),
    }
}

/// So many GPUs of this machine, as this hook will find it.
pub(crate) fn choose(
    hook: &HookOptions,
    modules: Modules,
    count: u32,
    replaced: &[u32],
) -> Result<Vec<GpuName>, Failure> {
    let machine = Machine::open_with(hook, modules)?;
    let gpus = match machine.whole_gpus()? {
        Some(gpus) => gpus,
        None if count == 1 => return Ok(vec![GpuName::Index(0)]),
        None => return Err(free::Error::Few { count, there: 1 }.into()),
    };
    let free = Free::look(gpus.iter().map(|gpu| &gpu.node), replaced);
    let chosen = free::choose(count, &gpus, &free, || machine.memory_in_use())?;
    let names = chosen.iter().map(|gpu| free::name(gpu)).collect();
    // Until podman ends: then the container runs and can be seen, or has ended.
    if modules == Modules::Load {
        free.keep(chosen.iter().map(|gpu| &gpu.node));
    }
    Ok(names)
}

/// What podman would be told, as far as that is known without changing anything.
pub(crate) fn preview(line: &CommandLine, verb: Verb, counts: Counts) -> Result<Invocation, Failure> {
    // Where podman's configuration is broken, podman says so.
    let directories = engine::hooks_dirs(&line.options).ok().flatten();
    let wanted = wanted(line, |count| match (counts, directories.as_deref()) {
        (Counts::Choose, Some(directories)) => {
            let hook = hooks::find(directories).map(HookOptions::from).unwrap_or_default();
            choose(&hook, Modules::Leave, count, &replaced(&line.options))
        }
        (Counts::Choose, None) => Err(Error::Elsewhere.into()),
        (Counts::Keep, _) => Ok(Vec::new()),
        (Counts::Refuse, _) => Err(Error::Counted.into()),
    })?;
    let request = request(line, &wanted)?;
    let has_nvidias = directories.as_deref().is_some_and(hooks::has_nvidias);
    let plan = match directories.filter(|_| line.options.own.device_rules == Some(true)).zip(request) {
        Some((directories, request)) => {
            let hook = HookOptions::from(engine::hook(&directories)?);
            Some(driver::preview(&hook, request)?.1)
        }
        None => None,
    };
    Ok(line.invocation(verb, &wanted, has_nvidias, &device_rules(&line.options, plan.as_ref())))
}

/// A container whose start can begin.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) invocation: Invocation,
    /// Whether the hook acts, and on this machine.
    pub(crate) has_hook: bool,
}

/// What podman is told, with everything ready for the container. Fails where it would start without its GPUs, or not
/// start for a reason that crun does not tell.
pub(crate) fn prepare(line: &CommandLine, verb: Verb) -> Result<Prepared, Failure> {
    let Some(directories) = engine::hooks_dirs(&line.options)? else {
        let wanted = wanted(line, |_count| Err(Error::Elsewhere.into()))?;
        request(line, &wanted)?;
        let invocation = line.invocation(verb, &wanted, false, &device_rules(&line.options, None));
        return Ok(Prepared { invocation, has_hook: false });
    };
    let hook = || Ok::<_, Failure>(HookOptions::from(engine::hook(&directories)?));
    let wanted = wanted(line, |count| choose(&hook()?, Modules::Load, count, &replaced(&line.options)))?;
    let has_nvidias = hooks::has_nvidias(&directories);
    let Some(request) = request(line, &wanted)? else {
        let invocation = line.invocation(verb, &wanted, has_nvidias, &[]);
        return Ok(Prepared { invocation, has_hook: false });
    };
    let keeps_groups = line.options.values("group-add").any(|group| group == "keep-groups");
    let (host, plan) = driver::make_ready(&hook()?, request, keeps_groups)?;
    preflight::check(line, verb, &host, &plan)?;
    let rules = device_rules(&line.options, Some(&plan));
    let invocation = line.invocation(verb, &wanted, has_nvidias, &rules);
    Ok(Prepared { invocation, has_hook: true })
}

/// What the hook will be asked; none for a container that is to have nothing of the driver.
fn request(line: &CommandLine, wanted: &Wanted) -> Result<Option<Request>, Failure> {
    let Some(request) = line.request(wanted)? else { return Ok(None) };
    // The commonest of what the hook refuses; crun would not tell its reason.
    if request.isolate && line.options.is_on("privileged") {
        return Err(Error::Privileged.into());
    }
    Ok(Some(request))
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
