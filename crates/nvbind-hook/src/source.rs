//! Who asks for a container's GPUs: its annotations, or, for a hook that is told so, its environment.

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::oci::{Config, State};
use nvbind_core::request::{
    self, CAPABILITIES_ANNOTATION, CAPABILITIES_VARIABLE, DEVICES_VARIABLE, EXTRAS_ANNOTATION,
    GPU_ANNOTATION, ISOLATE_ANNOTATION, PREFIX, Request,
};
use nvbind_core::security::{NoAnnotations, Security};
use nvbind_core::visible_devices;

/// How much of an image's value a message repeats.
const VALUE_TOLD: usize = 80;

/// Where a request is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `io.nvbind.gpu`, with what devices of nvbind's CDI specification have left in config.json.
    Annotation,
    /// The same, for a container that need not have the annotation: `--cdi`.
    Cdi,
    /// `NVIDIA_VISIBLE_DEVICES`: `--visible-devices`.
    Environment,
    /// Docker's `--gpus`: the hook was started under the name that Docker looks for.
    Docker,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Annotation(#[from] request::Error),
    #[error(transparent)]
    Environment(#[from] visible_devices::Error),
    #[error(transparent)]
    NoAnnotations(#[from] NoAnnotations),
    #[error(
        "NVIDIA_VISIBLE_DEVICES={value} may be the image's word, and gives no GPU to a container without CAP_SYS_ADMIN; ask by --annotation io.nvbind.gpu={selection}, start with --env NVIDIA_VISIBLE_DEVICES=void, or set security.visible_devices_when_unprivileged in {file}",
        selection = value.replace(',', "+")
    )]
    Unprivileged { value: String, file: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Annotation(error) => error.exit(),
            Error::Environment(error) => error.exit(),
            Error::NoAnnotations(error) => error.exit(),
            Error::Unprivileged { .. } => Exit::Permission,
        }
    }
}

/// An image's value as a message repeats it.
pub(crate) fn shorten(value: &str) -> String {
    value.chars().take(VALUE_TOLD).collect()
}

/// By what podman, CRI-O and containerd tell that a container is in a pod, all of whose containers have its
/// annotations.
const POD: [&str; 2] = ["io.kubernetes.cri-o.SandboxID", "io.kubernetes.cri.sandbox-id"];

/// An annotation of nvbind's, if the container has one.
fn own_annotation(state: &State) -> Option<&str> {
    let is_own = |name: &&str| name.starts_with(PREFIX) && !request::is_start_annotation(name);
    state.annotations.keys().map(String::as_str).filter(is_own).min()
}

/// No GPU is asked for: an annotation that says more of a request was meant for one, but in a pod for another
/// container.
fn no_request(state: &State) -> Result<Option<Request>, Error> {
    match own_annotation(state) {
        Some(name) if !POD.iter().any(|pod| state.annotations.contains_key(*pod)) => {
            Err(request::Error::NoGpus(name.to_owned()).into())
        }
        Some(_) | None => Ok(None),
    }
}

/// Where Docker has containerd keep its containers' bundles: below a namespace of this name (moby's
/// `DefaultNamespace`).
const DOCKER: &str = "moby";

/// Whether Docker runs the container. By the name under which it runs the hook it cannot be told: NVIDIA's hook JSON
/// names the same to podman, which leaves the variable as the image says it.
fn is_dockers(state: &State) -> bool {
    state.bundle.components().any(|component| component.as_os_str() == DOCKER)
}

impl Source {
    /// Whether a container's request is this hook's to read: with an annotation it is that of the hook for annotations,
    /// and never of both.
    pub(crate) fn is_for(self, state: &State) -> bool {
        match self {
            Source::Annotation => own_annotation(state).is_some(),
            Source::Cdi | Source::Docker => true,
            Source::Environment => !state.annotations.contains_key(GPU_ANNOTATION),
        }
    }

    /// What the container asks for, if it does.
    pub(crate) fn parse_request(self, state: &State, config: &Config) -> Result<Option<Request>, Error> {
        let annotation = |name| state.annotations.get(name).map(String::as_str);
        let request = match self {
            Source::Annotation | Source::Cdi | Source::Docker => {
                request::check_annotations(state.annotations.keys().map(String::as_str))?;
                // Whichever of these hooks comes first serves all requests.
                let dockers = visible_devices::find_dockers(config).filter(|_| is_dockers(state));
                let mut selections = annotation(GPU_ANNOTATION).into_iter().chain(config.marked_gpus());
                match (selections.next(), dockers) {
                    (None, None) if self == Source::Docker => visible_devices::parse_request(config)?,
                    (None, None) => return no_request(state),
                    (None, Some(value)) => Some(visible_devices::parse(config, value)?),
                    (Some(gpus), dockers) => {
                        let request = Request::parse(gpus, None, config.env(CAPABILITIES_VARIABLE))?;
                        let request = selections.chain(dockers).try_fold(request, Request::with_gpus)?;
                        request.narrowed(config.env(DEVICES_VARIABLE))?
                    }
                }
            }
            Source::Environment => visible_devices::parse_request(config)?,
        };
        let Some(request) = request else { return Ok(None) };
        let request = request
            .with_capabilities(annotation(CAPABILITIES_ANNOTATION))?
            .with_extras(annotation(EXTRAS_ANNOTATION))?
            .with_isolation(annotation(ISOLATE_ANNOTATION))?;
        Ok(Some(request))
    }

    /// Sees that the container may ask in this way.
    pub(crate) fn check(self, state: &State, config: &Config, security: &Security) -> Result<(), Error> {
        if own_annotation(state).is_some() {
            security.allow_annotations()?;
        }
        let is_enough = match self {
            Source::Annotation | Source::Cdi => true,
            Source::Docker if is_dockers(state) => true,
            Source::Docker | Source::Environment => {
                config.is_privileged() || security.visible_devices_when_unprivileged
            }
        };
        if is_enough {
            return Ok(());
        }
        let value = shorten(visible_devices::find_value(config).unwrap_or_default());
        Err(Error::Unprivileged { value, file: security.file().to_owned() })
    }
}
