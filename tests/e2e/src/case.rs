//! A case as data: what it does, what it depends on, where it can be, and what may keep it from running there.

use crate::ended::Ended;
use crate::lane::Lane;
use crate::podman::{Podman, Runtime, User};
use nvbind_lanes::Lane as Definition;
use nvbind_lanes::cgroup::View;
use nvbind_lanes::spec::Init;
use nvbind_lanes::tree::BOOKWORM;

/// What a case does.
pub(crate) type Function = fn(&Lane, Podman) -> Result<(), Ended>;

/// What the outcome of a case can depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// The OCI runtime: crun or runc.
    Runtime,
    /// Who runs podman: root or an ordinary user.
    User,
    /// The version of cgroups, by which devices are filtered.
    Cgroup,
    /// Whether systemd manages the cgroups of containers.
    Init,
    /// Podman's release, with the tools of the same Debian.
    Release,
}

pub(crate) const RUNTIME: Axis = Axis::Runtime;
pub(crate) const WHO: Axis = Axis::User;
pub(crate) const CGROUP: Axis = Axis::Cgroup;
pub(crate) const INIT: Axis = Axis::Init;
pub(crate) const RELEASE: Axis = Axis::Release;

/// A property of the place where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Of(Runtime),
    By(User),
    Cgroup(View),
    Init(Init),
    /// Debian 12 with Podman 4.3, or the other release.
    Bookworm(bool),
    /// The lane has a tree of applications for images.
    Applications,
    /// The lane has no kernel of its own.
    SameKernel,
}

pub(crate) const CRUN: Condition = Condition::Of(Runtime::Crun);
pub(crate) const RUNC: Condition = Condition::Of(Runtime::Runc);
pub(crate) const ROOTFUL: Condition = Condition::By(User::Root);
pub(crate) const ROOTLESS: Condition = Condition::By(User::Rootless);
pub(crate) const V1: Condition = Condition::Cgroup(View::V1);
pub(crate) const V2: Condition = Condition::Cgroup(View::V2);
pub(crate) const SYSTEMD: Condition = Condition::Init(Init::Systemd);
pub(crate) const NO_SYSTEMD: Condition = Condition::Init(Init::Plain);
pub(crate) const BOOKWORM_PODMAN: Condition = Condition::Bookworm(true);
pub(crate) const TRIXIE_PODMAN: Condition = Condition::Bookworm(false);
/// The lane has this kernel and what the machine makes of its cgroups.
pub(crate) const SAME_KERNEL: Condition = Condition::SameKernel;
pub(crate) const APPLICATIONS: Condition = Condition::Applications;

/// Any of these lists, all conditions of which hold.
pub(crate) type Where = &'static [&'static [Condition]];

/// No condition at all.
const ANYWHERE: Where = &[&[]];

/// One lane of each release, with cgroups of both versions and both cgroup managers: for cases of what podman and its
/// tools make of a file, which depends on their versions above all, and which take their time with Podman 4.3.
pub(crate) const ONE_OF_EACH_RELEASE: Where =
    &[&[BOOKWORM_PODMAN, V1, NO_SYSTEMD, CRUN], &[TRIXIE_PODMAN, SYSTEMD]];

/// Where Podman has Quadlet, and something starts its units: with podman's own runtime.
pub(crate) const QUADLET: Where = &[&[TRIXIE_PODMAN, SYSTEMD, CRUN]];

/// Why a case may be skipped: what podman, a runtime or this machine cannot do, with or without nvbind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skip {
    /// Where that is so.
    at: Where,
    /// A part of the reason that is given then.
    reason: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Function,
    axes: &'static [Axis],
    only: Where,
    sample: Where,
    skips: &'static [Skip],
    pub(crate) seconds: u32,
}

/// How long a case takes, in seconds, if it does not declare it: one or two containers.
const USUAL: u32 = 1;

impl Case {
    /// A case that depends on nothing: it runs once.
    pub(crate) const fn new(name: &'static str, run: Function) -> Self {
        Self { name, run, axes: &[], only: ANYWHERE, sample: ANYWHERE, skips: &[], seconds: USUAL }
    }

    /// It runs once for each combination of the values of these axes.
    pub(crate) const fn each(self, axes: &'static [Axis]) -> Self {
        Self { axes, ..self }
    }

    /// It can be nowhere else.
    pub(crate) const fn only(self, only: Where) -> Self {
        Self { only, ..self }
    }

    /// Of the places for a combination, these are taken where not all combinations run.
    pub(crate) const fn sample(self, sample: Where) -> Self {
        Self { sample, ..self }
    }

    /// Where and why it may be skipped.
    pub(crate) const fn may_skip(self, skips: &'static [Skip]) -> Self {
        Self { skips, ..self }
    }

    /// About how long it takes, in seconds: lanes are filled by that.
    pub(crate) const fn takes(self, seconds: u32) -> Self {
        Self { seconds, ..self }
    }
}

/// A declared skip.
pub(crate) const fn skip(at: Where, reason: &'static str) -> Skip {
    Skip { at, reason }
}

/// A place where cases can run: a lane, with a user and a runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) lane: &'static Definition,
    pub(crate) podman: Podman,
}

impl Place {
    fn has(self, condition: Condition) -> bool {
        match condition {
            Condition::Of(runtime) => self.podman.runtime == runtime,
            Condition::By(user) => self.podman.user == user,
            Condition::Cgroup(view) => self.lane.view == view,
            Condition::Init(init) => self.lane.init == init,
            Condition::Bookworm(expected) => (self.lane.recipe.release == BOOKWORM.release) == expected,
            Condition::SameKernel => self.lane.machine.is_none(),
            Condition::Applications => self.lane.apps.is_some(),
        }
    }

    pub(crate) fn is_in(self, places: Where) -> bool {
        places.iter().any(|all| all.iter().all(|condition| self.has(*condition)))
    }

    /// What the place has of an axis, as a number.
    fn value(self, axis: Axis) -> bool {
        match axis {
            Axis::Runtime => self.has(CRUN),
            Axis::User => self.has(ROOTFUL),
            Axis::Cgroup => self.has(V1),
            Axis::Init => self.has(SYSTEMD),
            Axis::Release => self.has(BOOKWORM_PODMAN),
        }
    }
}

impl Case {
    /// Whether the case can be there.
    pub(crate) fn can_be_at(&self, place: Place) -> bool {
        place.is_in(self.only)
    }

    /// Whether the place is among those taken where not all combinations run.
    pub(crate) fn is_sampled_at(&self, place: Place) -> bool {
        place.is_in(self.sample)
    }

    /// What of the place matters to the case.
    pub(crate) fn combination(&self, place: Place) -> Vec<bool> {
        self.axes.iter().map(|axis| place.value(*axis)).collect()
    }

    /// Whether something is known that may keep the case from running there.
    pub(crate) fn may_be_skipped_at(&self, place: Place) -> bool {
        self.skips.iter().any(|skip| place.is_in(skip.at))
    }

    /// Whether this reason for a skip is declared.
    pub(crate) fn declares(&self, place: Place, reason: &str) -> bool {
        self.skips.iter().any(|skip| place.is_in(skip.at) && reason.contains(skip.reason))
    }
}
