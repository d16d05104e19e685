//! A Quadlet: podman's options by the keys of a `.container` file (podman-systemd.unit(5) of Podman 5.4), the rest as
//! `PodmanArgs=`.

use super::unit::{self, Unit};
use super::{Error, Generated, Setting, Start, note_inherited};

/// How Quadlet reads a key (`pkg/systemd/quadlet/quadlet.go` of podman's source).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it is, and the last one counts.
    One,
    /// As it is, as often as it stands there.
    Each,
    /// Words with quotes, as often as they stand there.
    Words,
    /// Yes or no.
    Switch,
}
use Form::{Each, One, Switch, Words};

const KEYS: &[(&str, &str, Form)] = &[
    ("name", "ContainerName", One),
    ("annotation", "Annotation", Words),
    ("env", "Environment", Words),
    ("env-file", "EnvironmentFile", Words),
    ("env-host", "EnvironmentHost", Switch),
    ("volume", "Volume", Each),
    ("mount", "Mount", Words),
    ("tmpfs", "Tmpfs", Each),
    ("device", "AddDevice", Each),
    ("publish", "PublishPort", Each),
    ("expose", "ExposeHostPort", Each),
    ("network", "Network", Each),
    ("net", "Network", Each),
    ("network-alias", "NetworkAlias", Each),
    ("add-host", "AddHost", Each),
    ("dns", "DNS", Each),
    ("dns-option", "DNSOption", Each),
    ("dns-opt", "DNSOption", Each),
    ("dns-search", "DNSSearch", Each),
    ("hostname", "HostName", One),
    ("ip", "IP", One),
    ("ip6", "IP6", One),
    ("user", "User", One),
    ("group-add", "GroupAdd", Each),
    ("userns", "UserNS", One),
    ("uidmap", "UIDMap", Each),
    ("gidmap", "GIDMap", Each),
    ("subuidname", "SubUIDMap", One),
    ("subgidname", "SubGIDMap", One),
    ("cap-add", "AddCapability", Each),
    ("cap-drop", "DropCapability", Each),
    ("read-only", "ReadOnly", Switch),
    ("read-only-tmpfs", "ReadOnlyTmpfs", Switch),
    ("init", "RunInit", Switch),
    ("label", "Label", Words),
    ("secret", "Secret", Words),
    ("sysctl", "Sysctl", Each),
    ("ulimit", "Ulimit", Each),
    ("pids-limit", "PidsLimit", One),
    ("shm-size", "ShmSize", One),
    ("cgroups", "CgroupsMode", One),
    ("log-driver", "LogDriver", One),
    ("log-opt", "LogOpt", Each),
    ("health-cmd", "HealthCmd", One),
    ("health-interval", "HealthInterval", One),
    ("health-log-destination", "HealthLogDestination", One),
    ("health-max-log-count", "HealthMaxLogCount", One),
    ("health-max-log-size", "HealthMaxLogSize", One),
    ("health-on-failure", "HealthOnFailure", One),
    ("health-retries", "HealthRetries", One),
    ("health-start-period", "HealthStartPeriod", One),
    ("health-startup-cmd", "HealthStartupCmd", One),
    ("health-startup-interval", "HealthStartupInterval", One),
    ("health-startup-retries", "HealthStartupRetries", One),
    ("health-startup-success", "HealthStartupSuccess", One),
    ("health-startup-timeout", "HealthStartupTimeout", One),
    ("health-timeout", "HealthTimeout", One),
    ("stop-signal", "StopSignal", One),
    ("stop-timeout", "StopTimeout", One),
    ("pull", "Pull", One),
    ("tz", "Timezone", One),
    ("entrypoint", "Entrypoint", One),
    ("workdir", "WorkingDir", One),
];

/// Values of `--security-opt` that are a key of their own.
const SECURITY: &[(&str, &str)] = &[
    ("no-new-privileges", "NoNewPrivileges"),
    ("no-new-privileges=true", "NoNewPrivileges"),
    ("no-new-privileges:true", "NoNewPrivileges"),
    ("label=disable", "SecurityLabelDisable"),
    ("label=nested", "SecurityLabelNested"),
];

/// Beginnings of a value of `--security-opt`, whose rest is the value of a key.
const SECURITY_WITH_VALUE: &[(&str, &str)] = &[
    ("label=type:", "SecurityLabelType"),
    ("label=level:", "SecurityLabelLevel"),
    ("label=filetype:", "SecurityLabelFileType"),
    ("seccomp=", "SeccompProfile"),
];

/// Values of `--sdnotify` that are no default of Quadlet's, and what `Notify=` is then.
const NOTIFY: &[(&str, &str)] = &[("container", "true"), ("healthy", "healthy")];

/// The `.container` file.
pub(crate) fn render(start: &Start) -> Result<Generated, Error> {
    if let Some(word) = ["", ";"].into_iter().find(|word| start.command.iter().any(|other| other == word)) {
        return Err(Error::Word { word });
    }
    if !unit::is_plain(&start.image) {
        return Err(Error::Image { image: start.image.clone() });
    }
    let mut file = Unit::default();
    file.describe(start)?;
    file.section("Container");
    let image = if start.is_on("rootfs") { "Rootfs" } else { "Image" };
    file.set(image, &unit::literal(&start.image));
    if !start.command.is_empty() {
        file.set("Exec", &unit::line(start.command.iter().map(String::as_str)));
    }
    for setting in &start.global {
        file.set("GlobalArgs", &unit::quote(&setting.argument()));
    }
    let mut notes = unit::notes(start.options.iter().map(|setting| setting.name.as_str()));
    if let Some(notify) = start.value("sdnotify").and_then(|value| find(NOTIFY, value)) {
        file.set("Notify", notify);
    }
    let mut rest = Vec::new();
    for (at, setting) in start.options.iter().enumerate() {
        if unit::is_left_out(&setting.name) || setting.name == "rootfs" {
            continue;
        }
        let later = start.options.get(at + 1..).unwrap_or_default();
        match key(setting) {
            Some((_, _, One | Switch)) if later.iter().any(|other| other.name == setting.name) => {}
            Some((key, value, _)) => file.set(key, &value),
            None => {
                notes.extend(note_inherited(setting));
                rest.push(setting.argument());
            }
        }
    }
    // Last, as Quadlet hands them to podman.
    for argument in &rest {
        file.set("PodmanArgs", &unit::quote(argument));
    }
    file.serve(start)?;
    file.install();
    Ok(Generated { text: file.into_text(), notes })
}

/// The key for an option, if it has one that can hold its value.
fn key(setting: &Setting) -> Option<(&'static str, String, Form)> {
    if setting.name == "security-opt" {
        return security(setting.value.as_deref()?);
    }
    let (_, key, form) = KEYS.iter().find(|(option, _, _)| *option == setting.name)?;
    let value = match form {
        Switch => setting.is_on.to_string(),
        Words => unit::quote(setting.value.as_deref().filter(|value| is_own(&setting.name, value))?),
        One | Each => {
            let value = setting.value.as_deref()?;
            let fits = unit::is_plain(value) && is_own(&setting.name, value);
            fits.then(|| unit::literal(value))?
        }
    };
    Some((key, value, *form))
}

fn security(value: &str) -> Option<(&'static str, String, Form)> {
    if let Some(key) = find(SECURITY, value) {
        return Some((key, "true".to_owned(), Each));
    }
    let (rest, key) =
        SECURITY_WITH_VALUE.iter().find_map(|(begin, key)| Some((value.strip_prefix(begin)?, *key)))?;
    unit::is_plain(rest).then(|| (key, unit::literal(rest), Each))
}

/// Whether Quadlet takes the value for no more than podman's: no other unit, and nothing that it would lose.
fn is_own(option: &str, value: &str) -> bool {
    let before_colon = value.split(':').next().unwrap_or_default();
    match option {
        "annotation" | "env" | "label" => value.contains('='),
        "volume" => !before_colon.ends_with(".volume"),
        "network" | "net" => ![".network", ".container"].iter().any(|unit| before_colon.ends_with(unit)),
        "mount" => value.split(',').any(|part| part.starts_with("src=/") || part.starts_with("source=/")),
        _ => true,
    }
}

fn find(table: &[(&str, &'static str)], value: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == value).map(|(_, found)| *found)
}
