//! A pod for `podman kube play` (docs/kubernetes_support.md of Podman 5.4). An option that a pod has no field for is an
//! error: left out, it could take a restriction with it.

use super::{Error, Generated, Setting, Start};
use crate::podman::kube_play::KEEP_GROUPS;
use serde_json::{Map, Value, json};

/// What podman takes instead of a field of the pod (`libpod/define/annotations.go` of its source).
const ULIMIT: &str = "io.podman.annotations.ulimit";
const USERNS: &str = "io.podman.annotations.userns";
/// These hold for the container whose name follows a slash.
const LABEL: &str = "io.podman.annotations.label";
const APPARMOR: &str = "io.podman.annotations.apparmor";
const INIT: &str = "io.podman.annotations.init";
/// The class of resources that podman takes for `--device`.
const DEVICE: &str = "podman.io/device=";

/// The pod's name without `--name`.
const NAME: &str = "gpu";

/// What is no part of the pod, and why; nothing where it makes no difference.
const LEFT_OUT: &[(&str, Option<&str>)] = &[
    ("detach", None),
    ("name", None),
    ("quiet", None),
    ("replace", Some("podman kube play --replace does it")),
    ("rm", Some("podman kube down removes the pod")),
    ("sig-proxy", None),
];

/// Switches by their fields.
const SWITCHES: &[(&str, Section, &str)] = &[
    ("interactive", Section::Container, "stdin"),
    ("tty", Section::Container, "tty"),
    ("privileged", Section::Security, "privileged"),
    ("read-only", Section::Security, "readOnlyRootFilesystem"),
];

/// Options with a value that is a field, or what the only possible value makes of a field.
const TEXTS: &[(&str, Section, &str)] =
    &[("workdir", Section::Container, "workingDir"), ("hostname", Section::Pod, "hostname")];

/// `--pid=host` and the like.
const HOST: &[(&str, &str)] =
    &[("ipc", "hostIPC"), ("net", "hostNetwork"), ("network", "hostNetwork"), ("pid", "hostPID")];

/// `--pull`.
const PULL: &[(&str, &str)] = &[("always", "Always"), ("missing", "IfNotPresent"), ("never", "Never")];

/// `--security-opt label=`.
const SELINUX: &[&str] = &["filetype", "level", "role", "type", "user"];

/// podman's restart policies; a pod without one would be restarted for ever.
const RESTART: &[(&str, &str)] = &[
    ("", "Never"),
    ("no", "Never"),
    ("on-failure", "OnFailure"),
    ("always", "Always"),
    ("unless-stopped", "Always"),
];

/// Units of podman's sizes by Kubernetes' (binary both).
const SIZES: &[(char, &str)] = &[('b', ""), ('k', "Ki"), ('m', "Mi"), ('g', "Gi")];

#[derive(Clone, Copy, Debug)]
enum Section {
    Pod,
    Container,
    Security,
}

/// A pod in the making.
#[derive(Debug, Default)]
struct Pod {
    name: String,
    annotations: Map<String, Value>,
    labels: Map<String, Value>,
    spec: Map<String, Value>,
    security: Map<String, Value>,
    container: Map<String, Value>,
    container_security: Map<String, Value>,
    volumes: Vec<Value>,
    ulimits: Vec<String>,
    notes: Vec<String>,
}

/// The pod with its one container, in JSON.
pub(crate) fn render(start: &Start) -> Result<Generated, Error> {
    let name = start.value("name").unwrap_or(NAME).to_owned();
    let mut pod = Pod { name, ..Pod::default() };
    let mut refused = Vec::new();
    if start.is_on("rootfs") {
        refused.push("--rootfs".to_owned());
    }
    for setting in &start.options {
        if setting.name != "rootfs" && pod.take(setting).is_none() {
            refused.push(setting.argument());
        }
    }
    if !refused.is_empty() {
        return Err(Error::Pod { options: refused });
    }
    for setting in &start.global {
        pod.notes.push(format!(
            "{} is left out: give it to podman itself, before `kube play`",
            setting.argument()
        ));
    }
    let notes = std::mem::take(&mut pod.notes);
    Ok(Generated { text: format!("{:#}\n", pod.into_document(start)), notes })
}

impl Pod {
    /// Puts an option where it belongs; nothing, if a pod has no such place.
    fn take(&mut self, setting: &Setting) -> Option<()> {
        let name = setting.name.as_str();
        if let Some((_, why)) = LEFT_OUT.iter().find(|(known, _)| *known == name) {
            self.notes.extend(why.map(|why| format!("--{name} is left out: {why}")));
            return Some(());
        }
        if let Some((_, section, field)) = SWITCHES.iter().find(|(known, _, _)| *known == name) {
            self.at(*section).insert((*field).to_owned(), setting.is_on.into());
            return Some(());
        }
        if name == "init" {
            if setting.is_on {
                self.annotate(&format!("{INIT}/{}", self.name), "TRUE");
            }
            return Some(());
        }
        let value = setting.value.as_deref()?;
        if let Some((_, section, field)) = TEXTS.iter().find(|(known, _, _)| *known == name) {
            self.at(*section).insert((*field).to_owned(), value.into());
            return Some(());
        }
        if let Some((_, field)) = HOST.iter().find(|(known, _)| *known == name && value == "host") {
            self.spec.insert((*field).to_owned(), true.into());
            return Some(());
        }
        self.take_value(name, value)
    }

    fn take_value(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "annotation" => {
                let (key, value) = value.split_once('=')?;
                self.annotate(key, value);
            }
            "label" => {
                let (key, value) = value.split_once('=')?;
                self.labels.insert(key.to_owned(), value.into());
            }
            "env" => {
                let (key, value) = value.split_once('=')?;
                let list = list(&mut self.container, "env")?;
                // The last one counts.
                list.retain(|other| other.get("name").and_then(Value::as_str) != Some(key));
                list.push(json!({"name": key, "value": value}));
            }
            "entrypoint" => {
                let command = serde_json::from_str::<Vec<String>>(value);
                let command = command.unwrap_or_else(|_plain| vec![value.to_owned()]);
                self.container.insert("command".to_owned(), command.into());
            }
            "volume" => self.volume(value)?,
            "tmpfs" if !value.contains(':') => {
                self.mount(json!({"emptyDir": {"medium": "Memory"}}), value)?
            }
            "publish" => {
                let port = port(value)?;
                list(&mut self.container, "ports")?.push(port);
            }
            "device" => {
                let resources = object(&mut self.container, "resources")?;
                object(resources, "limits")?.insert(format!("{DEVICE}{value}"), 1.into());
            }
            "cpus" => {
                value.parse::<f64>().ok()?;
                let resources = object(&mut self.container, "resources")?;
                object(resources, "limits")?.insert("cpu".to_owned(), value.into());
            }
            "memory" => {
                let size = size(value)?;
                let resources = object(&mut self.container, "resources")?;
                object(resources, "limits")?.insert("memory".to_owned(), size.into());
            }
            "cap-add" | "cap-drop" => {
                let field = if name == "cap-add" { "add" } else { "drop" };
                let capabilities = object(&mut self.container_security, "capabilities")?;
                list(capabilities, field)?.extend(value.split(',').map(Value::from));
            }
            "security-opt" => self.secure(value)?,
            "user" => {
                let (user, group) =
                    value.split_once(':').map_or((value, None), |(user, group)| (user, Some(group)));
                let user: u32 = user.parse().ok()?;
                let group = group.map(str::parse::<u32>).transpose().ok()?;
                self.container_security.insert("runAsUser".to_owned(), user.into());
                self.container_security.remove("runAsGroup");
                if let Some(group) = group {
                    self.container_security.insert("runAsGroup".to_owned(), group.into());
                }
            }
            "group-add" if value == "keep-groups" => self.annotate(KEEP_GROUPS.0, KEEP_GROUPS.1),
            "group-add" => {
                let group: u32 = value.parse().ok()?;
                list(&mut self.security, "supplementalGroups")?.push(group.into());
            }
            "sysctl" => {
                let (key, value) = value.split_once('=')?;
                list(&mut self.security, "sysctls")?.push(json!({"name": key, "value": value}));
            }
            "ulimit" => self.ulimits.push(value.to_owned()),
            "userns" => self.annotate(USERNS, value),
            "add-host" => {
                let (host, address) = value.split_once(':')?;
                list(&mut self.spec, "hostAliases")?.push(json!({"ip": address, "hostnames": [host]}));
            }
            "dns" | "dns-search" => {
                let field = if name == "dns" { "nameservers" } else { "searches" };
                list(object(&mut self.spec, "dnsConfig")?, field)?.push(value.into());
            }
            "network" | "net" => {
                self.notes.push(format!("--network={value} is left out: give it to podman kube play"));
            }
            "pull" => {
                let policy = find(PULL, value)?;
                self.container.insert("imagePullPolicy".to_owned(), policy.into());
            }
            "restart" => {
                let policy = find(RESTART, value)?;
                self.spec.insert("restartPolicy".to_owned(), policy.into());
            }
            "stop-timeout" => {
                let seconds: u32 = value.parse().ok()?;
                self.spec.insert("terminationGracePeriodSeconds".to_owned(), seconds.into());
            }
            _ => return None,
        }
        Some(())
    }

    /// `[SOURCE:]PATH[:OPTIONS]`: a path of the host, a named volume, or one without a name.
    fn volume(&mut self, value: &str) -> Option<()> {
        let mut parts = value.splitn(3, ':');
        let (first, path, options) = (parts.next()?, parts.next(), parts.next());
        let (source, path) = match path {
            Some(path) => (Some(first), path),
            None => (None, first),
        };
        let source = match source {
            Some(path) if path.starts_with('/') => json!({"hostPath": {"path": path}}),
            Some(name) => json!({"persistentVolumeClaim": {"claimName": name}}),
            None => json!({"emptyDir": {}}),
        };
        // podman takes options of a mount after its path, Z among them.
        self.mount(source, &options.map_or_else(|| path.to_owned(), |options| format!("{path}:{options}")))
    }

    fn mount(&mut self, source: Value, path: &str) -> Option<()> {
        let name = format!("volume-{}", self.volumes.len());
        let mut volume = source;
        volume.as_object_mut()?.insert("name".to_owned(), name.clone().into());
        self.volumes.push(volume);
        list(&mut self.container, "volumeMounts")?.push(json!({"name": name, "mountPath": path}));
        Some(())
    }

    fn secure(&mut self, value: &str) -> Option<()> {
        match value.split_once(['=', ':']).unwrap_or((value, "true")) {
            ("no-new-privileges", "true") => {
                self.container_security.insert("allowPrivilegeEscalation".to_owned(), false.into());
            }
            ("unmask", "ALL") => {
                self.container_security.insert("procMount".to_owned(), "Unmstart".into());
            }
            ("apparmor", profile) => self.annotate(&format!("{APPARMOR}/{}", self.name), profile),
            ("label", label @ ("disable" | "nested")) => {
                self.annotate(&format!("{LABEL}/{}", self.name), label);
            }
            ("label", label) => {
                let (key, value) = label.split_once(':').filter(|(key, _)| SELINUX.contains(key))?;
                object(&mut self.container_security, "seLinuxOptions")?.insert(key.to_owned(), value.into());
            }
            _ => return None,
        }
        Some(())
    }

    fn annotate(&mut self, key: &str, value: &str) {
        self.annotations.insert(key.to_owned(), value.into());
    }

    fn at(&mut self, section: Section) -> &mut Map<String, Value> {
        match section {
            Section::Pod => &mut self.spec,
            Section::Container => &mut self.container,
            Section::Security => &mut self.container_security,
        }
    }

    fn into_document(mut self, start: &Start) -> Value {
        if !self.ulimits.is_empty() {
            self.annotate(ULIMIT, &self.ulimits.join(","));
        }
        self.container.insert("name".to_owned(), self.name.clone().into());
        self.container.insert("image".to_owned(), start.image.clone().into());
        if !start.command.is_empty() {
            self.container.insert("args".to_owned(), start.command.clone().into());
        }
        insert_filled(&mut self.container, "securityContext", self.container_security);
        insert_filled(&mut self.spec, "securityContext", self.security);
        self.spec.entry("restartPolicy").or_insert_with(|| "Never".into());
        if !self.volumes.is_empty() {
            self.spec.insert("volumes".to_owned(), self.volumes.into());
        }
        self.spec.insert("containers".to_owned(), json!([self.container]));
        // Two names in a pod: podman's containers are called POD-CONTAINER.
        let mut metadata = Map::from_iter([("name".to_owned(), Value::from(format!("{}-pod", self.name)))]);
        insert_filled(&mut metadata, "annotations", self.annotations);
        insert_filled(&mut metadata, "labels", self.labels);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": self.spec})
    }
}

/// `[[IP:]HOST PORT:]CONTAINER PORT[/PROTOCOL]`, where both ports are numbers: a pod has no ranges, and publishes no port
/// that the host is to choose.
fn port(value: &str) -> Option<Value> {
    let (value, protocol) = value.split_once('/').map_or((value, None), |(value, it)| (value, Some(it)));
    let (before, container) = value.rsplit_once(':')?;
    let (ip, host) = before.rsplit_once(':').map_or((None, before), |(ip, host)| (Some(ip), host));
    let mut port = Map::from_iter([
        ("containerPort".to_owned(), Value::from(container.parse::<u16>().ok()?)),
        ("hostPort".to_owned(), Value::from(host.parse::<u16>().ok()?)),
    ]);
    if let Some(ip) = ip {
        port.insert("hostIP".to_owned(), ip.trim_matches(['[', ']']).into());
    }
    if let Some(protocol) = protocol {
        port.insert("protocol".to_owned(), protocol.to_uppercase().into());
    }
    Some(port.into())
}

/// A size of podman's as Kubernetes writes it.
fn size(value: &str) -> Option<String> {
    let lower = value.to_lowercase();
    let number = lower.trim_end_matches(char::is_alphabetic);
    let unit = lower.strip_prefix(number)?;
    number.parse::<f64>().ok()?;
    let (_, suffix) = SIZES.iter().find(|(letter, _)| unit.is_empty() || unit == letter.to_string())?;
    Some(format!("{number}{suffix}"))
}

fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    map.entry(key).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn list<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Vec<Value>> {
    map.entry(key).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
}

fn insert_filled(map: &mut Map<String, Value>, key: &str, value: Map<String, Value>) {
    if !value.is_empty() {
        map.insert(key.to_owned(), value.into());
    }
}

fn find(table: &[(&str, &'static str)], value: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == value).map(|(_, found)| *found)
}
