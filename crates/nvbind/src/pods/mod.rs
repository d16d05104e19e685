//! GPUs for the pods of a Kubernetes file, as `podman kube play` starts them: what Kubernetes asks for by resources
//! becomes the annotation of the pod and a variable of each container.

mod object;
mod quantity;
mod share;

#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;

use crate::choice;
use crate::driver::{self, Machine};
use crate::podman::kube_play::KEEP_GROUPS;
use crate::podman::mistakes;
use crate::yaml;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::request::{
    self, CAPABILITIES_ANNOTATION, CAPABILITIES_VARIABLE, DEVICES_VARIABLE, EXTRAS_ANNOTATION,
    GPU_ANNOTATION, ISOLATE_ANNOTATION, Request,
};
use object::Container;
pub(crate) use object::{Change, Pod};

/// Why a file has no GPUs to give. Containers are named with their pod, pods with their kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{file} is no YAML that podman could play")]
    Yaml { file: String, source: yaml::Error },
    #[error("{container}: {resource} is {value:?}, which is no whole number")]
    Number { container: String, resource: String, value: String },
    /// Two numbers for one thing.
    #[error("{container}: {resource} is not the same in limits and requests")]
    Differ { container: String, resource: String },
    /// A resource that says too little.
    #[error("{container}: {resource} does not say which GPU")]
    Resource { container: String, resource: String },
    /// The name is in no grammar, or that of the annotation.
    #[error("{owner}")]
    Request { owner: String, source: request::Error },
    /// One that is not there, not allowed or not to be told.
    #[error("{owner}")]
    Driver { owner: String, source: driver::Error },
    /// A template and its object say two things.
    #[error("{pod} has the annotation {name} twice, as {one:?} and, in its template, as {other:?}")]
    Annotations { pod: String, name: String, one: String, other: String },
    /// The file says twice what a container has.
    #[error(
        "{container} has {DEVICES_VARIABLE}={value:?} and asks for other GPUs by its resources or annotation"
    )]
    Disagree { container: String, value: String },
    /// The variable's value is in another object.
    #[error("{container}: which GPUs it has stands elsewhere, as {variable} has valueFrom")]
    ValueFrom { container: String, variable: &'static str },
    /// Kubernetes refuses it, too.
    #[error("{container}: {resource} is in requests, and not in limits")]
    NoLimit { container: String, resource: String },
    /// A variable that asks for nothing that there is.
    #[error("{container}: NVIDIA_VISIBLE_DEVICES={value}")]
    Variable { container: String, value: String, source: choice::Error },
    /// The variable and the resources.
    #[error("{container} has {variable}, and asks for GPUs by its resources")]
    Twice { container: String, variable: String },
    /// NVIDIA's runtime would look at the image.
    #[error("{pod} has the runtime class {class}, and no container of it says which GPUs it is to have")]
    RuntimeClass { pod: String, class: String },
    /// nvbind would have to be in the image.
    #[error("{container}: its command is `nvbind run` itself, which is not in the image")]
    Nested { container: String, command: Vec<String>, asks: bool },
    /// Nobody would read it.
    #[error("{owner}")]
    Mistake { owner: String, source: mistakes::Error },
    /// podman would give all of them the same.
    #[error(
        "{pod} is to be there {replicas} times, and podman gives each of them the same GPUs, or starts one alone"
    )]
    Replicas { pod: String, replicas: u64 },
    /// Each container had its own, as `nvbind run` gave it.
    #[error("the containers of {pod} do not have the same {name}, and podman gives all of them one")]
    Apart { pod: String, name: &'static str },
    #[error("{asked} of {what} are asked for ({by}), and there {} {there}{which}", if *there == 1 { "is" } else { "are" })]
    TooMany { asked: usize, what: String, by: String, there: usize, which: String },
    #[error("{container}: an isolated container cannot be privileged: it would see all GPUs")]
    Privileged { container: String },
    /// The GPUs of another machine are not known here.
    #[error("{container} asks for a number of GPUs, and podman starts it on another machine")]
    Elsewhere { container: String },
    /// Something has to be put where something else is.
    #[error("{object}: {place} is not what it has to be")]
    Type { object: String, place: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        if let Error::Driver { source, .. } = self { source.exit() } else { Exit::Request }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Driver { source, .. } => source.hint(),
            Error::Resource { .. } => {
                Some("containers that share a GPU name it: `nvidia.com/gpu=0: 1` in each".into())
            }
            Error::Replicas { .. } => {
                Some("write `replicas: 1`, and an object for each of the others".into())
            }
            Error::Elsewhere { .. } => Some("name them: `nvidia.com/gpu=0: 1`".into()),
            Error::ValueFrom { .. } => Some("write its value here, or ask by `nvidia.com/gpu` alone".into()),
            Error::NoLimit { resource, .. } => Some(format!("write `{resource}` below `limits:`")),
            Error::Twice { .. } => Some("leave the variable out: nvbind sets it".into()),
            Error::RuntimeClass { .. } => {
                Some("write `nvidia.com/gpu: 1` below `resources.limits` of the container".into())
            }
            Error::Nested { command, asks, .. } => Some(instead(command, *asks)),
            Error::Mistake { source, .. } => source.hint(),
            Error::Variable { source, .. } => source.hint(),
            Error::Yaml { .. }
            | Error::Number { .. }
            | Error::Differ { .. }
            | Error::Request { .. }
            | Error::Annotations { .. }
            | Error::Disagree { .. }
            | Error::Apart { .. }
            | Error::TooMany { .. }
            | Error::Privileged { .. }
            | Error::Type { .. } => None,
        }
    }
}

/// What a container's command is to be that is `nvbind run`.
fn instead(command: &[String], asks: bool) -> String {
    let what = match command {
        [] => "leave `command` and `args` out".to_owned(),
        words => format!("write `command: {}` alone", serde_json::json!(words)),
    };
    let limit = if asks { "" } else { ", and `nvidia.com/gpu: 1` below `resources.limits`" };
    format!("{what}{limit}")
}

/// What the hook will be asked by a container; none for one that is to have nothing of the driver, or of which it
/// stands elsewhere.
fn read_request(
    pod: &Pod,
    container: &Container,
    selection: &str,
    new: Option<&str>,
) -> Result<Option<Request>, request::Error> {
    let own = object::devices(container);
    if own == Some(None) {
        return Ok(None);
    }
    let capabilities = container.variable(CAPABILITIES_VARIABLE).flatten();
    Request::parse(selection, pod.annotation(CAPABILITIES_ANNOTATION), capabilities)?
        .with_extras(pod.annotation(EXTRAS_ANNOTATION))?
        .with_isolation(pod.annotation(ISOLATE_ANNOTATION))?
        .narrowed(new.or_else(|| own.flatten()))
}

/// What the hook will be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) container: String,
    pub(crate) request: Request,
    /// Whether the container keeps the user's groups.
    pub(crate) keeps_groups: bool,
}

/// Kubernetes files, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    documents: Vec<yaml::Node>,
    /// The pods that podman would start of them.
    pub(crate) pods: Vec<Pod>,
}

impl Documents {
    /// Reads the text of a file, and adds it to the others.
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let yaml = |source| Error::Yaml { file: file.to_owned(), source };
        let mut documents = yaml::read(text).map_err(yaml)?;
        for object in object::objects(&mut documents) {
            self.pods.push(object::read(object)?);
        }
        self.documents.append(&mut documents);
        Ok(())
    }

    /// Has `--annotation` of the command line count, as podman has it: for Pods, over what their own files say.
    pub(crate) fn annotate(&mut self, name: &str, value: &str) -> Result<(), Error> {
        mistakes::check_annotation(name)
            .map_err(|source| Error::Mistake { owner: format!("--annotation {name}"), source })?;
        for pod in self.pods.iter_mut().filter(|pod| pod.is_pod) {
            pod.annotations.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// Whether podman would not understand something: a container asks for GPUs of its own, or an annotation is lost.
    pub(crate) fn is_to_change(&self) -> bool {
        self.pods.iter().any(|pod| !pod.lost.is_empty() || pod.containers.iter().any(Container::asks))
    }

    /// Whether a pod has the annotation.
    pub(crate) fn has_annotation(&self) -> bool {
        self.pods.iter().any(|pod| pod.annotation(GPU_ANNOTATION).is_some())
    }

    /// Gives every container that asks for GPUs its own of them.
    pub(crate) fn share(
        &self,
        machine: Option<&mut Machine>,
        has_nvidias_hook: bool,
    ) -> Result<Vec<Change>, Error> {
        share::share(&self.pods, machine, has_nvidias_hook)
    }

    /// What the hook will be asked by each container with these changes.
    pub(crate) fn requests(&self, changes: &[Change]) -> Result<Vec<Asked>, Error> {
        let mut all = Vec::new();
        for (at, pod) in self.pods.iter().enumerate() {
            let change = changes.get(at).cloned().unwrap_or_default();
            let new = change.annotations.iter().find(|(name, _)| name == GPU_ANNOTATION);
            let selection = new.map(|(_, value)| value.as_str()).or_else(|| pod.annotation(GPU_ANNOTATION));
            let Some(selection) = selection else { continue };
            for (at, container) in pod.containers.iter().enumerate() {
                let new = change
                    .variables
                    .get(at)
                    .and_then(|new| new.iter().find(|(name, _)| *name == DEVICES_VARIABLE));
                let request = read_request(pod, container, selection, new.map(|(_, value)| value.as_str()));
                let request =
                    request.map_err(|source| Error::Request { owner: container.title.clone(), source })?;
                let Some(request) = request else { continue };
                if request.isolate && container.privileged {
                    return Err(Error::Privileged { container: container.title.clone() });
                }
                let keeps_groups = pod.annotation(KEEP_GROUPS.0) == Some(KEEP_GROUPS.1);
                all.push(Asked { container: container.title.clone(), request, keeps_groups });
            }
        }
        Ok(all)
    }

    /// The text of all of them with these changes.
    pub(crate) fn write(mut self, changes: &[Change]) -> Result<String, Error> {
        let objects = object::objects(&mut self.documents);
        for ((object, pod), change) in objects.into_iter().zip(&self.pods).zip(changes) {
            object::change(object, pod, change)?;
        }
        Ok(yaml::write(&self.documents))
    }
}
