//! The matrix: every combination of runtime, user, user namespace and confinement, as named cells.

use super::podman::{Podman, Runtime, User};

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
    /// podman's default.
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
const USERNS: &[(Userns, &str)] = &[
    (Userns::Default, "default"),
    (Userns::KeepId, "keep-id"),
    (Userns::Auto, "auto"),
    (Userns::Uidmap, "uidmap"),
];
const MODES: &[(Mode, &str, &[&str])] = &[
    (Mode::Plain, "plain", &[]),
    (Mode::ReadOnly, "read-only", &["--read-only"]),
    (Mode::NoCaps, "no-caps", &["--cap-drop=all", "--security-opt=no-new-privileges"]),
    (Mode::Privileged, "privileged", &["--privileged"]),
];

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Who runs podman with which runtime.
    pub(crate) podman: Podman,
    /// The user namespace.
    pub(crate) userns: Userns,
    /// The confinement.
    pub(crate) mode: Mode,
    names: (&'static str, &'static str),
    options: &'static [&'static str],
}

/// All cells, in a fixed order.
pub(crate) fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for podman in podmans() {
        for (userns, userns_name) in USERNS {
            for (mode, mode_name, options) in MODES {
                let names = (*userns_name, *mode_name);
                cells.push(Cell { podman, userns: *userns, mode: *mode, names, options });
            }
        }
    }
    cells
}

/// Every user with every runtime.
pub(crate) fn podmans() -> impl Iterator<Item = Podman> {
    RUNTIMES.iter().flat_map(|runtime| USERS.iter().map(|user| Podman::new(*user, *runtime)))
}

impl Cell {
    /// The name below the lane's: `crun/rootful/auto/read-only`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}/{}", self.podman.name(), self.names.0, self.names.1)
    }

    /// What `podman run` is told for it.
    pub(crate) fn options(&self) -> Vec<&'static str> {
        let map: &[&str] = match (self.userns, self.podman.user) {
            (Userns::Default, _) => &[],
            (Userns::KeepId, _) => &["--userns=keep-id"],
            (Userns::Auto, _) => &["--userns=auto"],
            (Userns::Uidmap, User::Root) => &["--uidmap=0:100000:5000", "--gidmap=0:100000:5000"],
            (Userns::Uidmap, User::Rootless) => &["--uidmap=0:1:5000", "--gidmap=0:1:5000"],
        };
        map.iter().chain(self.options).copied().collect()
    }

    /// Whether podman and the runtime have to filter devices on their own. In a user namespace that is theirs to decide:
    /// podman 5 gives no rules, from which crun makes no filter and runc its own.
    pub(crate) fn must_be_filtered(&self) -> bool {
        self.podman.user == User::Root && self.userns == Userns::Default && self.mode != Mode::Privileged
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_combination_is_a_cell_of_its_own_name() {
        let names: BTreeSet<String> = cells().iter().map(Cell::name).collect();
        assert_eq!(names.len(), 2 * 2 * 4 * 4);
        assert!(names.contains("runc/rootless/keep-id/no-caps"), "{names:?}");
    }

    #[test]
    fn a_cell_is_options_of_podman_run() {
        let of = |name: &str| {
            let cell = cells().into_iter().find(|cell| cell.name() == name);
            cell.map(|cell| cell.options())
        };
        assert_eq!(of("crun/rootful/default/plain"), Some(vec![]));
        assert_eq!(
            of("crun/rootless/uidmap/read-only"),
            Some(vec!["--uidmap=0:1:5000", "--gidmap=0:1:5000", "--read-only"])
        );
    }

    #[test]
    fn only_rootful_containers_without_a_user_namespace_have_to_be_filtered() {
        let filtered: Vec<String> =
            cells().iter().filter(|cell| cell.must_be_filtered()).map(Cell::name).collect();
        let cells = |runtime: &str| {
            ["plain", "read-only", "no-caps"].map(|mode| format!("{runtime}/rootful/default/{mode}"))
        };
        assert_eq!(filtered, [cells("crun"), cells("runc")].concat());
    }
}
