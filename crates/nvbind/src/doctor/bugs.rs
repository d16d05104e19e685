//! Bugs of podman and the runtimes that a container with GPUs meets, by the version that has them no longer.

use super::subject::{Program, text};
use super::{Facts, Finding, packages};
use crate::version::Version;
use serde_json::Value;

struct Bug {
    program: &'static str,
    /// The first version without it.
    fixed: Version,
    /// Whether this machine meets it.
    is_met: fn(&Facts<'_>) -> bool,
    /// Whether no container starts at all.
    is_fatal: bool,
    says: &'static str,
    /// Where it was fixed.
    source: &'static str,
}

const BUGS: &[Bug] = &[
    Bug {
        program: "podman",
        fixed: Version([4, 5, 1]),
        is_met: |facts| facts.annotations,
        is_fatal: false,
        says: "an image's own annotations ask for GPUs; security.annotations = false in /etc/nvbind/config.toml leaves devices of CDI alone (nvbind setup --cdi)",
        source: "containers/podman 0f18a0144a",
    },
    Bug {
        program: "podman",
        fixed: Version([4, 8, 0]),
        is_met: |facts| facts.engine.as_ref().is_ok_and(|engine| engine.has_attributes),
        is_fatal: true,
        says: "it cannot read {append = …} of hooks_dir in containers.conf, and starts nothing",
        source: "containers/common 0.57",
    },
    Bug {
        program: "crun",
        fixed: Version([1, 26, 0]),
        is_met: runs_in_container,
        is_fatal: false,
        says: "with --read-only a createContainer hook finds the root filesystem read-only already",
        source: "containers/crun 6607eb2f",
    },
    Bug {
        program: "crun",
        fixed: Version([1, 27, 0]),
        is_met: |facts| runs_in_container(facts) && is_podman_from(facts, Version([5, 2, 0])),
        is_fatal: false,
        says: "with --userns=auto or --uidmap it does not run a createContainer hook",
        source: "containers/crun 34143735",
    },
    Bug {
        program: "runc",
        fixed: Version([1, 3, 0]),
        is_met: |facts| runs_in_container(facts) && !has_environment(facts),
        is_fatal: false,
        says: "a createContainer hook gets the image's environment, as its JSON has no `env`",
        source: "opencontainers/runc 06f1e0765",
    },
];

/// What is found of a program: its bugs, else that it is fine.
pub(super) fn find(facts: &Facts<'_>, name: &str, program: &Program) -> Finding {
    let path = program.path.display();
    let Some(version) = program.version else {
        return Finding::ok(format!("{name} of unknown version, {path}"));
    };
    let met: Vec<&Bug> =
        BUGS.iter().filter(|bug| bug.program == name && version < bug.fixed && (bug.is_met)(facts)).collect();
    let Some(fixed) = met.iter().map(|bug| bug.fixed).max() else {
        return Finding::ok(format!("{name} {version}, {path}"));
    };
    let told = met.iter().map(|bug| format!("{} (until {}, {})", bug.says, bug.fixed, bug.source));
    let mut detail = format!("{name} {version}: {}", told.collect::<Vec<_>>().join("; "));
    let fix = match packages::upgrade(facts.machine, name, fixed) {
        Ok(fix) => Some(fix),
        Err(why) => {
            detail = format!("{detail}; {why}");
            None
        }
    };
    if met.iter().any(|bug| bug.is_fatal) { Finding::fail(detail, fix) } else { Finding::warn(detail, fix) }
}

fn is_podman_from(facts: &Facts<'_>, first: Version) -> bool {
    facts.podman.as_ref().and_then(|podman| podman.version).is_none_or(|version| version >= first)
}

/// The JSON of nvbind's hook.
fn json(facts: &Facts<'_>) -> Option<Value> {
    let hook = facts.hook.as_ref()?.as_ref().ok()?;
    serde_json::from_str(&text(&hook.json)?).ok()
}

/// Whether it names the stage createContainer.
fn runs_in_container(facts: &Facts<'_>) -> bool {
    let json = json(facts);
    let stages = json.as_ref().and_then(|json| json.get("stages")?.as_array());
    stages.is_some_and(|stages| stages.iter().any(|stage| stage == "createContainer"))
}

/// Whether it sets a variable: runtimes take an empty list for none.
fn has_environment(facts: &Facts<'_>) -> bool {
    let json = json(facts);
    let variables = json.as_ref().and_then(|json| json.get("hook")?.get("env")?.as_array());
    variables.is_some_and(|variables| !variables.is_empty())
}
