//! The pipeline: state and config.json → request → inventory → plan → the container.

use crate::arguments::{self, Arguments, StageName};
use crate::bundle;
use crate::harden;
use crate::report::{self, Subject};
use crate::source;
use nvbind_apply::{Container, Stage};
use nvbind_core::exit::Exit;
use nvbind_core::failure::{Explain, Failure};
use nvbind_core::nvml::Program;
use nvbind_core::oci::{Config, STATE_LIMIT, State};
use nvbind_core::plan::{Entry, Plan};
use nvbind_core::record::is_start;
use nvbind_core::request::START_ANNOTATION;
use nvbind_core::requirements;
use nvbind_core::resolve::{self, Policy};
use nvbind_core::settings::Settings;
use nvbind_core::visible_devices;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;

/// How many of an image's variables are told of.
const VARIABLES_TOLD: usize = 4;

/// Why a container does not start.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The container.
    pub(crate) subject: Subject,
    pub(crate) failure: Failure,
}

/// What can be wrong with the hook's own input.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("cannot read the container state from stdin")]
    Stdin(#[source] io::Error),
    #[error("the container state on stdin is larger than {STATE_LIMIT} bytes")]
    StateTooLarge,
    #[error("the container state has no usable pid ({0}); hooks of stage prestart need one")]
    Pid(i32),
    #[error(
        "NVIDIA's own hook {} would give the container GPUs as well, by NVIDIA_VISIBLE_DEVICES={value}; start with --env NVIDIA_VISIBLE_DEVICES=void, or remove one of the two hooks",
        path.display()
    )]
    TwoHooks { path: PathBuf, value: String },
}

impl Explain for InputError {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// Does everything that the state on `stdin` asks for.
pub(crate) fn run(words: impl Iterator<Item = OsString>, stdin: impl Read) -> Result<(), Refusal> {
    let mut subject = Subject::default();
    steps(words, stdin, &mut subject).map_err(|failure| Refusal { subject, failure })
}

/// What Podman says to the runtime for `--group-add keep-groups` (crun(1), `run.oci.keep_original_groups`).
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

fn steps(
    words: impl Iterator<Item = OsString>,
    stdin: impl Read,
    subject: &mut Subject,
) -> Result<(), Failure> {
    let words: Vec<OsString> = words.collect();
    // After the program's name. It counts also where the rest is refused.
    subject.in_container = words.get(1).is_some_and(|stage| stage == arguments::CREATE_CONTAINER);
    let arguments = arguments::parse(words.into_iter())?;
    let state = read_state(stdin)?;
    subject.id.clone_from(&state.id);
    subject.start = state.annotations.get(START_ANNOTATION).filter(|token| is_start(token)).cloned();
    let source = arguments.source;
    if !source.is_for(&state) {
        return Ok(());
    }
    let bundle = bundle::read(&state)?;
    if let Some((path, value)) = visible_devices::find_nvidias_hook(&bundle.config) {
        let (path, value) = (path.to_owned(), source::shorten(value));
        return Err(InputError::TwoHooks { path, value }.into());
    }
    let request = source.parse_request(&state, &bundle.config)?;
    let Some(request) = request else { return Ok(()) };
    harden::require_kernel()?;
    let as_root = !nvbind_apply::in_user_namespace()?;
    let settings = Settings::load(arguments.config.as_deref(), as_root)?;
    // The configuration is read with `--driver-root`, too, which tells where the driver is and nothing else.
    let settings = settings.with_driver_root(arguments.driver_root.as_deref());
    source.check(&state, &bundle.config, &settings.security)?;
    let policy = Policy { nvml: nvml(&arguments), may_load_modules: as_root };
    let (host, plan) = resolve::resolve(&settings, request, policy)?;
    check_requirements(&bundle.config, &plan)?;
    let stage = match arguments.stage {
        StageName::Prestart if state.pid > 1 => Stage::Prestart { pid: state.pid },
        StageName::Prestart => return Err(InputError::Pid(state.pid).into()),
        StageName::CreateContainer => Stage::CreateContainer,
    };
    let files = plan.view.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).count();
    // Of crun alone: runc passes over the annotation, and says nothing of the root filesystem.
    let keeps_groups =
        state.root.is_some() && state.annotations.get(KEEP_GROUPS).is_some_and(|value| value == "1");
    let target = Container {
        keeps_groups,
        id: &state.id,
        stage,
        root: &bundle.root,
        bundle: &bundle.path,
        config: &bundle.config,
    };
    report::prepare_record(subject);
    if let Some(view) = nvbind_apply::apply(&plan, &host, &target)? {
        let gpus = plan.gpus.len();
        log::info!("container {}: {gpus} GPUs and {files} files of the driver, at {view}", state.id);
    }
    Ok(())
}

fn read_state(stdin: impl Read) -> Result<State, Failure> {
    let mut bytes = Vec::new();
    stdin.take(STATE_LIMIT + 1).read_to_end(&mut bytes).map_err(InputError::Stdin)?;
    if bytes.len() as u64 > STATE_LIMIT {
        return Err(InputError::StateTooLarge.into());
    }
    Ok(State::parse(&bytes)?)
}

/// Sees that the driver is one that the image can use. Without a GPU nothing of it runs.
fn check_requirements(config: &Config, plan: &Plan) -> Result<(), Failure> {
    if plan.gpus.is_empty() {
        return Ok(());
    }
    let unknown = requirements::check(config.environment(), &plan.driver.version)?;
    for variable in unknown.iter().take(VARIABLES_TOLD) {
        let driver = &plan.driver.version;
        log::info!(
            "{variable} is taken to hold: only NVML could tell all that it asks of the driver {driver}"
        );
    }
    Ok(())
}

/// Who may be asked for what only NVML knows.
fn nvml(arguments: &Arguments) -> Program {
    match arguments {
        Arguments { driver_root: Some(_), .. } => Program::OTHER_ROOT,
        Arguments { stage: StageName::CreateContainer, .. } => Program::IN_CONTAINER,
        Arguments { stage: StageName::Prestart, driver_root: None, .. } => Program::Installed,
    }
}
