//! podman and its OCI runtime.

use super::machine::text;
use super::version::Version;
use super::{Facts, Finding};

/// The oldest podman that nvbind is tried with.
const OLDEST: Version = Version([4, 3, 0]);

/// The last podman that takes the OCI annotations of an image for those of the container (containers/podman, commit
/// 0f18a0144a: 4.5.1).
const LAST_WITH_IMAGE_ANNOTATIONS: Version = Version([4, 5, 0]);

/// The first crun that runs a createContainer hook in a user namespace under Podman 5.2 and later (containers/crun,
/// commit 34143735). Hooks of other stages run everywhere.
const CRUN_FOR_CREATE_CONTAINER: Version = Version([1, 27, 0]);

/// In the order in which podman looks for its default runtime.
const RUNTIMES: &[&str] = &["crun", "runc"];

/// Where podman looks for them, without regard to `PATH` (`runtimes`, containers.conf(5)).
const RUNTIME_DIRECTORIES: &[&str] = &[
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/sbin",
    "/bin",
    "/run/current-system/sw/bin",
];

pub(super) fn podman(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let Some((path, says)) = machine.program("podman") else {
        return Finding::fail("podman is not in PATH", machine.install("podman"));
    };
    let path = path.display();
    let upgrade = machine.install("podman");
    match says.as_deref().and_then(Version::find) {
        None => Finding::warn(format!("{path} does not tell its version"), format!("{path} --version")),
        Some(version) if version < OLDEST => Finding::fail(
            format!("{version} is older than {OLDEST}, the oldest that nvbind works with"),
            upgrade,
        ),
        Some(version) if version <= LAST_WITH_IMAGE_ANNOTATIONS => Finding::warn(
            format!("{version}: an image's own annotation triggers the hook, too (podman before 4.5.1)"),
            upgrade,
        ),
        Some(version) => Finding::ok(format!("{version}, {path}")),
    }
}

pub(super) fn runtime(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let set = facts.engine.as_ref().ok().and_then(|engine| engine.runtime.as_deref());
    let names = set.map_or_else(|| RUNTIMES.to_vec(), |name| vec![name]);
    let find = |name: &&str| machine.program_in(RUNTIME_DIRECTORIES, name);
    let Some((path, says)) = names.iter().find_map(find) else {
        return match set.filter(|name| !RUNTIMES.contains(name) && !name.starts_with('/')) {
            Some(name) => {
                Finding::skipped(format!("where {name} is, podman's configuration says (engine.runtimes)"))
            }
            None => {
                let package = set.filter(|name| RUNTIMES.contains(name)).unwrap_or("crun");
                Finding::fail(format!("{} is not installed", names.join(" or ")), machine.install(package))
            }
        };
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let version = says.as_deref().and_then(Version::find);
    let told = version.map_or_else(|| "of unknown version".to_owned(), |version| version.to_string());
    if name == "crun"
        && version.is_some_and(|version| version < CRUN_FOR_CREATE_CONTAINER)
        && runs_in_container(facts)
    {
        return Finding::warn(
            format!(
                "crun {told} does not run a createContainer hook in a user namespace (crun before {CRUN_FOR_CREATE_CONTAINER})"
            ),
            machine.install("crun"),
        );
    }
    Finding::ok(format!("{name} {told}, {}", path.display()))
}

/// Whether the hook's JSON names the stage createContainer.
fn runs_in_container(facts: &Facts<'_>) -> bool {
    let Some(Ok(hook)) = &facts.hook else { return false };
    let json = text(&hook.json);
    let value = json.and_then(|json| serde_json::from_str::<serde_json::Value>(&json).ok());
    let stages = value.as_ref().and_then(|value| value.get("stages")?.as_array());
    stages.is_some_and(|stages| stages.iter().any(|stage| stage == "createContainer"))
}
