//! The matrix: every combination of runtime, user, user namespace and confinement, as named cells.

use crate::case::{
    Axis, BOOKWORM_PODMAN, CGROUP, Case, RELEASE, ROOTFUL, RUNTIME, Skip, TRIXIE_PODMAN, V1, V2, WHO, Where,
    skip,
};
use crate::containers::cell;
use crate::podman::{Podman, Runtime, User};

/// The user namespace of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Userns {
    /// podman's default: the host's if rootful, the user's own if rootless.
    Default,
    /// The user keeps its id inside.
    KeepId,
    /// A range of ids that podman chooses.
    Auto,
    /// A range of ids that the caller names.
    Uidmap,
}

/// How a container is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    /// The root file system is read-only.
    ReadOnly,
    /// No capabilities and no new privileges.
    NoCaps,
    /// All of them.
    Privileged,
}

const RUNTIMES: &[Runtime] = &[Runtime::Crun, Runtime::Runc];
const USERS: &[User] = &[User::Root, User::Rootless];

/// What is in a cell beside its user and its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// The user namespace.
    pub(crate) userns: Userns,
    pub(crate) mode: Mode,
}

/// The case of a user namespace and a confinement.
macro_rules! cell {
    ($name:literal, $userns:ident, $mode:ident) => {
        Case::new($name, |_, podman| {
            cell::judge(podman, Options { userns: Userns::$userns, mode: Mode::$mode })
        })
    };
}

/// All of a place: who filters devices, and how ids are mapped, depend on each.
const ALL: &[Axis] = &[RUNTIME, WHO, CGROUP, RELEASE];
const BOTH: &[Axis] = &[RUNTIME, WHO];

const OLD_V1: Where = &[&[BOOKWORM_PODMAN, V1]];
const OLD_V2: Where = &[&[BOOKWORM_PODMAN, V2]];
const NEW_V1: Where = &[&[TRIXIE_PODMAN, V1]];
const NEW_V2: Where = &[&[TRIXIE_PODMAN, V2]];

/// Podman 4.3 has it for users only.
const NO_KEEP_ID: &[Skip] =
    &[skip(&[&[BOOKWORM_PODMAN, ROOTFUL]], "keep-id is only supported in rootless mode")];

pub(crate) const PLAIN: Case = cell!("default/plain", Default, Plain).each(ALL);
pub(crate) const READ_ONLY_IN_RANGE: Case = cell!("auto/read-only", Auto, ReadOnly).each(BOTH).sample(NEW_V2);

/// Every user namespace with every confinement, with every user and runtime. Where not all combinations run, each
/// namespace and each confinement still meets both versions of cgroups with both releases of Podman: a Latin square.
pub(crate) const CASES: &[Case] = &[
    PLAIN,
    cell!("default/read-only", Default, ReadOnly).each(BOTH).sample(OLD_V2),
    cell!("default/no-caps", Default, NoCaps).each(BOTH).sample(NEW_V1),
    cell!("default/privileged", Default, Privileged).each(ALL),
    cell!("keep-id/plain", KeepId, Plain).each(ALL).may_skip(NO_KEEP_ID),
    cell!("keep-id/read-only", KeepId, ReadOnly).each(BOTH).sample(NEW_V1).may_skip(NO_KEEP_ID),
    cell!("keep-id/no-caps", KeepId, NoCaps).each(BOTH).sample(NEW_V2).may_skip(NO_KEEP_ID),
    cell!("keep-id/privileged", KeepId, Privileged).each(BOTH).sample(OLD_V1).may_skip(NO_KEEP_ID),
    cell!("auto/plain", Auto, Plain).each(ALL),
    READ_ONLY_IN_RANGE,
    cell!("auto/no-caps", Auto, NoCaps).each(BOTH).sample(OLD_V1),
    cell!("auto/privileged", Auto, Privileged).each(BOTH).sample(OLD_V2),
    cell!("uidmap/plain", Uidmap, Plain).each(ALL),
    cell!("uidmap/read-only", Uidmap, ReadOnly).each(BOTH).sample(OLD_V1),
    cell!("uidmap/no-caps", Uidmap, NoCaps).each(BOTH).sample(OLD_V2),
    cell!("uidmap/privileged", Uidmap, Privileged).each(BOTH).sample(NEW_V1),
];

/// Every user with every runtime.
pub(crate) fn podmans() -> impl Iterator<Item = Podman> {
    RUNTIMES.iter().flat_map(|runtime| USERS.iter().map(|user| Podman::new(*user, *runtime)))
}

impl Options {
    /// What `podman run` is told for it.
    pub(crate) fn of(self, podman: Podman) -> Vec<&'static str> {
        let map: &[&str] = match (self.userns, podman.user) {
            (Userns::Default, _) => &[],
            (Userns::KeepId, _) => &["--userns=keep-id"],
            (Userns::Auto, _) => &["--userns=auto"],
            (Userns::Uidmap, User::Root) => &["--uidmap=0:100000:5000", "--gidmap=0:100000:5000"],
            (Userns::Uidmap, User::Rootless) => &["--uidmap=0:1:5000", "--gidmap=0:1:5000"],
        };
        let mode: &[&str] = match self.mode {
            Mode::Plain => &[],
            Mode::ReadOnly => &["--read-only"],
            Mode::NoCaps => &["--cap-drop=all", "--security-opt=no-new-privileges"],
            Mode::Privileged => &["--privileged"],
        };
        map.iter().chain(mode).copied().collect()
    }

    /// Whether podman and the runtime have to filter devices on their own. In a user namespace that is theirs to
    /// decide: podman 5 gives no rules, from which crun makes no filter and runc its own.
    pub(crate) fn must_be_filtered(self, podman: Podman) -> bool {
        podman.user == User::Root && self.userns == Userns::Default && self.mode != Mode::Privileged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{Extent, cells};
    use std::collections::BTreeSet;

    /// The name of a cell: its namespace and its confinement.
    fn parts(name: &str) -> (&str, &str) {
        name.split_once('/').unwrap()
    }

    #[test]
    fn every_combination_is_a_cell_of_its_own_name() {
        let namespaces = ["default", "keep-id", "auto", "uidmap"];
        let modes = ["plain", "read-only", "no-caps", "privileged"];
        let expected: BTreeSet<String> = namespaces
            .iter()
            .flat_map(|first| modes.iter().map(move |second| format!("{first}/{second}")))
            .collect();
        let names: BTreeSet<String> = CASES.iter().map(|case| case.name.to_owned()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn every_namespace_and_every_confinement_meets_every_release_with_every_cgroup_version() {
        let all = cells(Extent::Needed);
        let cells = all.iter().filter(|cell| CASES.iter().any(|case| case.name == cell.case.name));
        let mut met = BTreeSet::new();
        for cell in cells.filter(|cell| !cell.lane.starts_with("vm-")) {
            let (namespace, mode) = parts(cell.case.name);
            let place = [OLD_V1, OLD_V2, NEW_V1, NEW_V2].iter().position(|place| cell.place.is_in(place));
            for part in [namespace, mode] {
                met.insert((part, cell.place.podman.name(), place));
            }
        }
        // Eight of them, with every user and runtime, in four kinds of place.
        assert_eq!(met.len(), 8 * 4 * 4, "{met:#?}");
    }

    #[test]
    fn a_cell_is_options_of_podman_run() {
        let of = |userns, mode, user| Options { userns, mode }.of(Podman::new(user, Runtime::Crun));
        assert_eq!(of(Userns::Default, Mode::Plain, User::Root), [""; 0]);
        assert_eq!(
            of(Userns::Uidmap, Mode::ReadOnly, User::Rootless),
            ["--uidmap=0:1:5000", "--gidmap=0:1:5000", "--read-only"]
        );
    }

    #[test]
    fn only_rootful_containers_without_a_user_namespace_have_to_be_filtered() {
        let of =
            |userns, mode, user| Options { userns, mode }.must_be_filtered(Podman::new(user, Runtime::Runc));
        assert!(of(Userns::Default, Mode::NoCaps, User::Root));
        assert!(!of(Userns::Default, Mode::Privileged, User::Root));
        assert!(!of(Userns::Auto, Mode::Plain, User::Root));
        assert!(!of(Userns::Default, Mode::Plain, User::Rootless));
    }
}
