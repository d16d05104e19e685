//! The pods of a file, their containers, and what these ask for.

use super::{Error, quantity};
use crate::choice::Choice;
use crate::podman::{mistakes, nested};
use crate::yaml::{Node, Value};
use nvbind_core::request::{
    CAPABILITIES_ANNOTATION, DEVICES_VARIABLE, EXTRAS_ANNOTATION, GPU_ANNOTATION, Gpus, ISOLATE_ANNOTATION,
    PREFIX,
};
use nvbind_core::visible_devices;

/// What podman starts (`pkg/domain/infra/abi/play.go` of its source), and where its pod is. Annotations it takes from
/// the object's own metadata, never from those of a template.
const KINDS: &[(&str, &[&str])] = &[
    ("Pod", &[]),
    ("Deployment", &["spec", "template"]),
    ("DaemonSet", &["spec", "template"]),
    ("Job", &["spec", "template"]),
];

/// Lists of containers in a pod's `spec`, and what one of them is called.
const CONTAINERS: [(&str, &str); 2] = [("initContainers", "init container"), ("containers", "container")];

/// What the classes of NVIDIA's runtimes begin with (`runtimeClassName`).
const RUNTIME_CLASS: &str = "nvidia";

/// Those that hold for all containers of a pod, or for none.
const WHOLE: [&str; 3] = [CAPABILITIES_ANNOTATION, EXTRAS_ANNOTATION, ISOLATE_ANNOTATION];

/// Where a container asks. Kubernetes wants the limit, and the same in both; podman looks at both for its own spelling.
const LIMITS: &str = "limits";
const ASKS: [&str; 2] = [LIMITS, "requests"];

/// A number of whole GPUs, as Kubernetes has it.
pub(super) const BY_NUMBER: &str = "nvidia.com/gpu";
/// One by its name in CDI, as Podman has it.
const BY_NAME: [&str; 2] = ["nvidia.com/gpu=", "nvbind.io/gpu="];
/// A number of MIG devices of a profile.
pub(super) const BY_PROFILE: &str = "nvidia.com/mig-";
/// Of NVIDIA's device plugin, for GPUs that containers share.
const SHARED: &str = "nvidia.com/gpu.shared";

/// A pod that podman would start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Its kind and name.
    pub(crate) title: String,
    /// Whether it is a Pod itself, and no template.
    pub(crate) is_pod: bool,
    /// Its annotations: names and values.
    pub(crate) annotations: Vec<(String, String)>,
    /// nvbind's among them that stand where podman does not look: in a template, or with a container's name.
    pub(crate) lost: Vec<(String, String)>,
    /// How many of it there are to be.
    pub(crate) replicas: u64,
    /// Its containers, those that start before the others first.
    pub(crate) containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its pod and its name.
    pub(crate) title: String,
    /// Its name alone.
    name: String,
    /// When it runs.
    pub(crate) role: Role,
    /// What it asks for.
    pub(crate) asks: Vec<Ask>,
    /// Its variables; nothing for a value that stands elsewhere.
    pub(crate) environment: Vec<(String, Option<String>)>,
    /// The annotation that `podman kube generate` makes of a container's own, `io.nvbind.gpu/NAME`.
    pub(crate) selection: Option<String>,
    /// Whether it is `privileged`.
    pub(crate) privileged: bool,
}

/// When a container runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// To its end, before those that follow it.
    Init,
    /// It is started before those that follow it, and runs beside them: an init container that is restarted always.
    Sidecar,
    /// Beside the others.
    #[default]
    App,
}

/// What a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// So many whole GPUs.
    Number(usize),
    /// So many MIG devices of this profile, as [`UnitKind::Mig`](crate::driver::UnitKind::Mig) has it.
    Profile(String, usize),
    /// This one, in the grammar of `io.nvbind.gpu`.
    Name(String),
    /// The same by `NVIDIA_VISIBLE_DEVICES`, as NVIDIA's own runtime is asked.
    Variable(String),
}

impl Pod {
    /// The value of an annotation.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Container {
    /// Whether it asks for GPUs of its own.
    pub(crate) fn asks(&self) -> bool {
        !self.asks.is_empty() || self.selection.is_some()
    }

    /// Whether it says that it is to have no GPU.
    fn denies(&self) -> bool {
        self.variable(visible_devices::VARIABLE).is_some()
    }

    /// What it says of a variable; nothing within for a value that stands elsewhere.
    pub(crate) fn variable(&self, name: &str) -> Option<Option<&str>> {
        self.environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_deref())
    }
}

/// The objects among the documents that podman would start pods of.
pub(super) fn objects(documents: &mut [Node]) -> Vec<&mut Node> {
    let mut all = Vec::new();
    for document in documents {
        if kind(document) != "List" {
            all.push(document);
        } else if let Some(Node { value: Value::List(items), .. }) = document.get_mut("items") {
            all.extend(items);
        }
    }
    all.retain(|object| place(object).is_some());
    all
}

fn kind(object: &Node) -> &str {
    object.get("kind").and_then(Node::as_text).unwrap_or_default()
}

/// Where the pod is in an object.
fn place(object: &Node) -> Option<&'static [&'static str]> {
    KINDS.iter().find(|(known, _)| *known == kind(object)).map(|(_, place)| *place)
}

fn at<'a>(object: &'a Node, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(object, |node, key| node.get(key))
}

/// Reads the pod of an object. What is of another type than it has to be, podman refuses with its own message.
pub(super) fn read(object: &Node) -> Result<Pod, Error> {
    let name = at(object, &["metadata", "name"]).and_then(Node::as_text).unwrap_or("without a name");
    let title = format!("{} {name}", kind(object));
    let pod = at(object, place(object).unwrap_or_default());
    let mut annotations = texts(at(object, &["metadata", "annotations"]));
    let of_template = pod.and_then(|pod| at(pod, &["metadata", "annotations"]));
    let mut lost = texts(of_template.filter(|_| place(object) != Some(&[])));
    check_keys(pod.filter(|_| place(object) != Some(&[])), &title)?;
    check_keys(Some(object), &title)?;
    lost.retain(|(key, _)| key.starts_with(PREFIX));
    for (key, value) in &lost {
        if let Some((_, other)) = annotations.iter().find(|(known, other)| known == key && other != value) {
            let (one, other) = (other.clone(), value.clone());
            return Err(Error::Annotations { pod: title, name: key.clone(), one, other });
        }
    }
    lost.retain(|(key, value)| !annotations.iter().any(|(known, other)| (known, other) == (key, value)));
    annotations.extend(lost.iter().cloned());
    let replicas = at(object, &["spec", "replicas"]).and_then(Node::as_text);
    let mut containers = Vec::new();
    for (list, kind) in CONTAINERS {
        for container in pod.and_then(|pod| at(pod, &["spec", list])).map(Node::items).unwrap_or_default() {
            let read = read_container(container, &format!("{title}, {kind}"), &annotations)?;
            let role = if kind == "container" { Role::App } else { init_role(container) };
            containers.push(Container { role, ..read });
        }
    }
    lost.retain(|(key, _)| !key.contains('/'));
    let together = of_containers(&annotations, &containers, &title)?;
    annotations.extend(together.iter().cloned());
    lost.extend(together);
    let class = pod.and_then(|pod| at(pod, &["spec", "runtimeClassName"])).and_then(Node::as_text);
    let asks = containers.iter().any(|container| container.asks() || container.denies());
    let is_asked = asks || annotations.iter().any(|(name, _)| name == GPU_ANNOTATION);
    if let Some(class) = class.filter(|class| class.starts_with(RUNTIME_CLASS) && !is_asked) {
        return Err(Error::RuntimeClass { pod: title, class: class.to_owned() });
    }
    Ok(Pod {
        is_pod: place(object) == Some(&[]),
        title,
        annotations,
        lost,
        replicas: replicas.and_then(|text| text.parse().ok()).unwrap_or(1),
        containers,
    })
}

/// Refuses annotations that nvbind does not have, and labels for annotations.
fn check_keys(object: Option<&Node>, title: &str) -> Result<(), Error> {
    let mistake = |source| Error::Mistake { owner: title.to_owned(), source };
    let Some(object) = object else { return Ok(()) };
    for (key, _) in texts(at(object, &["metadata", "annotations"])) {
        mistakes::check_annotation(&key).map_err(mistake)?;
    }
    for (key, _) in texts(at(object, &["metadata", "labels"])) {
        mistakes::check_label(&key).map_err(mistake)?;
    }
    Ok(())
}

/// Kubernetes has sidecars among the init containers, which it restarts always.
fn init_role(container: &Node) -> Role {
    match container.get("restartPolicy").and_then(Node::as_text) {
        Some("Always") => Role::Sidecar,
        Some(_) | None => Role::Init,
    }
}

/// What all containers with a selection of their own have of the annotations that hold for a whole pod.
fn of_containers(
    annotations: &[(String, String)],
    containers: &[Container],
    pod: &str,
) -> Result<Vec<(String, String)>, Error> {
    let mut all = Vec::new();
    for name in WHOLE {
        let selected = containers.iter().filter(|container| container.selection.is_some());
        let mut values = selected.map(|container| own(annotations, name, &container.name));
        let Some(first) = values.next() else { continue };
        if values.any(|value| value != first) {
            return Err(Error::Apart { pod: pod.to_owned(), name });
        }
        let is_there = annotations.iter().any(|(known, _)| known == name);
        all.extend(first.filter(|_| !is_there).map(|value| (name.to_owned(), value.to_owned())));
    }
    Ok(all)
}

fn texts(map: Option<&Node>) -> Vec<(String, String)> {
    let text = |(key, value): &(Node, Node)| Some((key.as_text()?.to_owned(), value.as_text()?.to_owned()));
    map.map(Node::pairs).unwrap_or_default().iter().filter_map(text).collect()
}

/// The value of an annotation that names a container.
fn own<'a>(annotations: &'a [(String, String)], name: &str, container: &str) -> Option<&'a str> {
    let is_it =
        |known: &str| known.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) == Some(container);
    annotations.iter().find(|(known, _)| is_it(known)).map(|(_, value)| value.as_str())
}

fn read_container(
    container: &Node,
    kind: &str,
    annotations: &[(String, String)],
) -> Result<Container, Error> {
    let name = container.get("name").and_then(Node::as_text).unwrap_or("without a name");
    let title = format!("{kind} {name}");
    let mut asked: Vec<(&str, usize)> = Vec::new();
    let resources = |list: &str| at(container, &["resources", list]).map(Node::pairs).unwrap_or_default();
    for list in ASKS {
        for (resource, value) in resources(list) {
            let Some(resource) = resource.as_text().filter(|resource| is_gpu(resource)) else { continue };
            let number = number(value).ok_or_else(|| Error::Number {
                container: title.clone(),
                resource: resource.to_owned(),
                value: value.as_text().unwrap_or("a list or a mapping").to_owned(),
            })?;
            match asked.iter().find(|(known, _)| *known == resource) {
                Some((_, other)) if *other != number => {
                    return Err(Error::Differ { container: title, resource: resource.to_owned() });
                }
                Some(_) => {}
                // podman has its own spelling in both.
                None if list != LIMITS && number > 0 && name_of(resource).is_none() => {
                    return Err(Error::NoLimit { container: title, resource: resource.to_owned() });
                }
                None => asked.push((resource, number)),
            }
        }
    }
    let asks = asked.into_iter().filter(|(_, number)| *number > 0).map(|(resource, number)| {
        ask(resource, number)
            .ok_or_else(|| Error::Resource { container: title.clone(), resource: resource.to_owned() })
    });
    let mut asks = asks.collect::<Result<Vec<_>, _>>()?;
    let variable = |entry: &Node| {
        let value = match entry.get("value") {
            Some(value) => value.as_text().map(str::to_owned),
            None => entry.get("valueFrom").is_none().then(String::new),
        };
        Some((entry.get("name")?.as_text()?.to_owned(), value))
    };
    let environment = container.get("env").map(Node::items).unwrap_or_default().iter().filter_map(variable);
    let environment: Vec<(String, Option<String>)> = environment.collect();
    let selection = own(annotations, GPU_ANNOTATION, name).map(str::to_owned);
    // Beside these the variable is what nvbind wrote, for programs.
    if selection.is_none() && !environment.iter().any(|(known, _)| known == DEVICES_VARIABLE) {
        let asked = ask_by_variable(&environment, !asks.is_empty(), &title)?;
        asks.extend(asked);
    }
    check_command(container, &title, !asks.is_empty())?;
    let privileged = at(container, &["securityContext", "privileged"]).and_then(Node::as_text);
    Ok(Container {
        name: name.to_owned(),
        asks,
        role: Role::App,
        selection,
        environment,
        privileged: privileged.is_some_and(|text| text.eq_ignore_ascii_case("true")),
        title,
    })
}

/// What `NVIDIA_VISIBLE_DEVICES` asks for, as NVIDIA's own runtime would be asked by it; none where it asks for
/// nothing. Beside resources it would say another thing.
fn ask_by_variable(
    environment: &[(String, Option<String>)],
    has_resources: bool,
    container: &str,
) -> Result<Option<Ask>, Error> {
    let variable = environment.iter().rev().find(|(name, _)| name == visible_devices::VARIABLE);
    let Some((name, value)) = variable else { return Ok(None) };
    let container = container.to_owned();
    let Some(value) = value else {
        return Err(Error::ValueFrom { container, variable: visible_devices::VARIABLE });
    };
    let source = |source| Error::Variable { container: container.clone(), value: value.clone(), source };
    match Choice::parse_variable(value).map_err(source)? {
        Choice::Nothing => Ok(None),
        _ if has_resources => Err(Error::Twice { container, variable: format!("{name}={value}") }),
        // In the grammar of the variable nobody asks for a number.
        Choice::Any(_) => Ok(None),
        choice @ Choice::Named(Gpus::All | Gpus::None | Gpus::Listed(_)) => {
            Ok(Some(Ask::Variable(choice.to_string())))
        }
    }
}

/// Refuses a container whose program would be nvbind, and which is to be the one that that would start.
fn check_command(container: &Node, title: &str, asks: bool) -> Result<(), Error> {
    let words =
        |key: &str| container.get(key).map(Node::items).unwrap_or_default().iter().filter_map(Node::as_text);
    let arguments: Vec<String> = words("args").map(str::to_owned).collect();
    let all: Vec<String> = words("command").map(str::to_owned).chain(arguments.iter().cloned()).collect();
    let Some(nested) = nested::find(&all).or_else(|| nested::find(&arguments)) else { return Ok(()) };
    let image = container.get("image").and_then(Node::as_text).unwrap_or_default();
    if nested.is_for(image) {
        return Err(Error::Nested { container: title.to_owned(), command: nested.command, asks });
    }
    log::warn!("{title}: its command is `nvbind run` of {}, which has to be in the image", nested.image);
    Ok(())
}

fn is_gpu(resource: &str) -> bool {
    let is_one = [BY_PROFILE, SHARED].iter().any(|start| resource.starts_with(start));
    resource == BY_NUMBER || is_one || name_of(resource).is_some()
}

/// The GPU that a resource names.
fn name_of(resource: &str) -> Option<&str> {
    BY_NAME.iter().find_map(|start| resource.strip_prefix(start))
}

fn number(value: &Node) -> Option<usize> {
    quantity::whole(value.as_text()?)
}

fn ask(resource: &str, number: usize) -> Option<Ask> {
    if resource == BY_NUMBER {
        return Some(Ask::Number(number));
    }
    if let Some(name) = name_of(resource) {
        return Some(Ask::Name(name.to_owned()));
    }
    let profile = resource.strip_prefix(BY_PROFILE)?;
    Some(Ask::Profile(profile.to_owned(), number))
}

/// What becomes of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The annotations that it gets.
    pub(crate) annotations: Vec<(String, String)>,
    /// The variables that each of its containers gets, in the order of [`Pod::containers`].
    pub(crate) variables: Vec<Vec<(&'static str, String)>>,
}

/// Changes the pod of an object.
pub(super) fn change(object: &mut Node, pod: &Pod, change: &Change) -> Result<(), Error> {
    let wrong = |place: &str| Error::Type { object: pod.title.clone(), place: place.to_owned() };
    if !change.annotations.is_empty() {
        object.map_at("metadata").ok_or_else(|| wrong("metadata"))?;
        let annotations = object.get_mut("metadata").and_then(|metadata| metadata.map_at("annotations"));
        let annotations = annotations.ok_or_else(|| wrong("metadata.annotations"))?;
        // podman refuses what `podman kube generate` would make of those with a container's name the next time.
        let is_lost = |key: &str| key.starts_with(PREFIX) && key.contains('/');
        annotations.retain(|(key, _)| !key.as_text().is_some_and(is_lost));
        let new = change.annotations.iter().map(|(key, value)| (Node::text(key), Node::text(value)));
        annotations.extend(new);
    }
    let place = place(object).unwrap_or_default();
    let Some(spec) = place.iter().chain(&["spec"]).try_fold(object, |node, key| node.get_mut(key)) else {
        return Ok(());
    };
    let mut all = change.variables.iter().zip(&pod.containers);
    for (list, _) in CONTAINERS {
        let Some(Node { value: Value::List(containers), .. }) = spec.get_mut(list) else { continue };
        for (container, (variables, read)) in containers.iter_mut().zip(&mut all) {
            let wrong = |place: &str| Error::Type { object: read.title.clone(), place: place.to_owned() };
            take_out(container);
            if variables.is_empty() {
                continue;
            }
            let environment = container.list_at("env").ok_or_else(|| wrong("env"))?;
            let is_new = |entry: &Node| {
                let name = entry.get("name").and_then(Node::as_text);
                variables.iter().any(|(new, _)| name == Some(*new))
            };
            environment.retain(|entry| !is_new(entry));
            let entries =
                variables.iter().map(|(name, value)| Node::texts(&[("name", name), ("value", value)]));
            environment.extend(entries);
        }
    }
    Ok(())
}

/// Without the resources that are GPUs, and what they leave empty.
fn take_out(container: &mut Node) {
    let Some(resources) = container.get_mut("resources") else { return };
    for list in ASKS {
        if let Some(Node { value: Value::Map(pairs), .. }) = resources.get_mut(list) {
            pairs.retain(|(resource, _)| !resource.as_text().is_some_and(is_gpu));
        }
    }
}

/// Whether the variable is for nvbind.
pub(super) fn devices(container: &Container) -> Option<Option<&str>> {
    container.variable(DEVICES_VARIABLE)
}
