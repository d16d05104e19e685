//! Which container has which GPUs: those that the file names, and of the others each goes to one container alone.

use super::Error;
use super::object::{self, Ask, BY_NUMBER, Change, Container, Pod, Role};
use crate::driver::{Machine, Unit, UnitId, UnitKind};
use crate::podman::invocation::{DEVICE_ORDER, visible};
use nvbind_core::request::{DEVICES_VARIABLE, GPU_ANNOTATION, Request, VOID};
use nvbind_core::visible_devices;
use std::collections::BTreeSet;

/// What podman before 5.0 takes for a Pod's annotation.
const LONGEST: usize = 63;

const ALL: &str = "all";

/// What a container has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Share {
    /// As the variable has them.
    names: Vec<String>,
    /// All that its pod has.
    is_all: bool,
    /// Its variable says so already.
    is_said: bool,
    /// It asks for nothing, and its pod does.
    is_void: bool,
}

/// Decides for every pod; nothing changes in one whose containers ask for nothing. `machine` is where they are to run,
/// if that is this one.
pub(super) fn share(
    pods: &[Pod],
    machine: Option<&mut Machine>,
    has_nvidias_hook: bool,
) -> Result<Vec<Change>, Error> {
    let mut sharing = Sharing { pods, machine, named: BTreeSet::new(), given: BTreeSet::new() };
    let mut shares = pods.iter().map(|pod| sharing.named(pod)).collect::<Result<Vec<_>, _>>()?;
    // Who may have some alone chooses first.
    for is_limited in [true, false] {
        for (pod, shares) in pods.iter().zip(&mut shares) {
            let has_own = pod.containers.iter().any(|container| container.selection.is_some());
            if (has_own || pod.annotation(GPU_ANNOTATION).is_some()) == is_limited {
                sharing.number(pod, shares)?;
            }
        }
    }
    Ok(pods.iter().zip(&shares).map(|(pod, shares)| change(pod, shares, has_nvidias_hook)).collect())
}

/// GPUs on their way to containers.
#[derive(Debug)]
struct Sharing<'a> {
    pods: &'a [Pod],
    machine: Option<&'a mut Machine>,
    /// Those that the file names.
    named: BTreeSet<UnitId>,
    /// Those that went to who asked for a number.
    given: BTreeSet<UnitId>,
}

impl Sharing<'_> {
    /// What the containers of a pod name, by resources or by their variable; nothing for a pod that asks for nothing.
    fn named(&mut self, pod: &Pod) -> Result<Vec<Share>, Error> {
        if !pod.containers.iter().any(Container::asks) {
            if let Some(selection) = pod.annotation(GPU_ANNOTATION).filter(|selection| *selection != ALL) {
                let request = request(selection, &pod.title)?;
                let units = self.units(&request, &pod.title)?;
                self.named.extend(units.into_iter().map(|unit| unit.id));
            }
            return Ok(Vec::new());
        }
        if pod.replicas > 1 {
            return Err(Error::Replicas { pod: pod.title.clone(), replicas: pod.replicas });
        }
        let whole = request(pod.annotation(GPU_ANNOTATION).unwrap_or(ALL), &pod.title)?;
        pod.containers.iter().map(|container| self.named_by(container, &whole)).collect()
    }

    fn named_by(&mut self, container: &Container, pods: &Request) -> Result<Share, Error> {
        let selection = container.selection.as_deref();
        let own = selection.map(|selection| request(selection, &container.title)).transpose()?;
        let may_have = own.as_ref().unwrap_or(pods);
        let names: Vec<&str> = container.asks.iter().filter_map(Ask::name).collect();
        let Some(variable) = object::devices(container) else {
            let names = (!names.is_empty()).then(|| names.join(","));
            let named = names.or_else(|| selection.filter(|_| container.asks.is_empty()).map(str::to_owned));
            let Some(named) = named else {
                return Ok(Share { is_void: !container.asks(), ..Share::default() });
            };
            let (names, is_all) = self.read(&named, container, may_have)?;
            return Ok(Share { names, is_all, ..Share::default() });
        };
        let Some(variable) = variable else {
            // What it will be, its pod has to have.
            let share = Share { is_all: true, is_said: true, ..Share::default() };
            let error =
                || Error::ValueFrom { container: container.title.clone(), variable: DEVICES_VARIABLE };
            return if container.asks() { Err(error()) } else { Ok(share) };
        };
        let is_void = variable.trim() == VOID;
        let (names, is_all) =
            if is_void { Default::default() } else { self.read(variable, container, may_have)? };
        // `all` would mean all that the pod has.
        let is_more = is_all && selection.is_some_and(|selection| selection != ALL);
        if is_more || !container.asks.is_empty() && !self.agrees(variable, container, may_have)? {
            return Err(Error::Disagree { container: container.title.clone(), value: variable.to_owned() });
        }
        Ok(Share { names, is_all, is_said: true, is_void })
    }

    /// The names in a selection, and whether it is all; what it names goes to nobody who asks for a number.
    fn read(
        &mut self,
        selection: &str,
        container: &Container,
        pods: &Request,
    ) -> Result<(Vec<String>, bool), Error> {
        let is_all = selection.split(',').any(|name| matches!(name.trim(), "" | ALL));
        let selection = if is_all { ALL } else { selection };
        let names = self.chosen(selection, container, pods)?;
        if is_all {
            return Ok((Vec::new(), true));
        }
        self.named.extend(names);
        Ok((selection.split([',', '+']).map(|name| name.trim().to_owned()).collect(), false))
    }

    /// Whether a variable names what the resources ask for.
    fn agrees(&mut self, variable: &str, container: &Container, pods: &Request) -> Result<bool, Error> {
        let has = self.chosen(variable, container, pods)?;
        let names: Vec<&str> = container.asks.iter().filter_map(Ask::name).collect();
        let named =
            if names.is_empty() { BTreeSet::new() } else { self.chosen(&names.join(","), container, pods)? };
        let numbers = container.asks.iter().filter_map(Ask::number).map(|(_, number)| number);
        let number = numbers.fold(named.len(), usize::saturating_add);
        Ok(named.is_subset(&has) && has.len() == number)
    }

    /// What a selection means of what the pod has.
    fn chosen(
        &mut self,
        selection: &str,
        container: &Container,
        pods: &Request,
    ) -> Result<BTreeSet<UnitId>, Error> {
        let request = pods.clone().narrowed(Some(selection));
        let request = request.map_err(|source| Error::Request { owner: container.title.clone(), source })?;
        let Some(request) = request else { return Ok(BTreeSet::new()) };
        Ok(self.units(&request, &container.title)?.into_iter().map(|unit| unit.id).collect())
    }

    /// What a request means on the machine; of another one's nothing is known.
    fn units(&mut self, request: &Request, owner: &str) -> Result<Vec<Unit>, Error> {
        let Some(machine) = self.machine.as_deref_mut() else { return Ok(Vec::new()) };
        machine.units(request).map_err(|source| Error::Driver { owner: owner.to_owned(), source })
    }

    /// Gives the containers of a pod the numbers that they ask for. An init container has ended before the others
    /// start, but for sidecars that were started earlier: so it may have what others will have (Kubernetes' documents,
    /// "Init Containers" and "Sidecar Containers", on sharing of resources).
    fn number(&mut self, pod: &Pod, shares: &mut [Share]) -> Result<(), Error> {
        let before = self.given.clone();
        let mut of_sidecars: Vec<(usize, UnitId)> = Vec::new();
        let mut order: Vec<(usize, (&Container, &mut Share))> =
            pod.containers.iter().zip(shares).enumerate().filter(|(_, (_, share))| !share.is_said).collect();
        order.sort_by_key(|(_, (container, _))| container.role == Role::Init);
        for (at, (container, share)) in order {
            let limit = container.selection.as_deref().or_else(|| pod.annotation(GPU_ANNOTATION));
            for (kind, number) in container.asks.iter().filter_map(Ask::number) {
                if self.machine.is_none() {
                    return Err(Error::Elsewhere { container: container.title.clone() });
                }
                let known = self.machine.as_deref_mut().map_or(Ok(()), |machine| machine.know(&kind));
                known.map_err(|source| Error::Driver { owner: container.title.clone(), source })?;
                let whole = request(limit.unwrap_or(ALL), &pod.title)?;
                let all = self.units(&whole, &pod.title)?;
                let fitting = |unit: &&Unit| unit.kind == kind && !self.named.contains(&unit.id);
                let fitting: Vec<&Unit> = all.iter().filter(fitting).collect();
                let is_init = container.role == Role::Init;
                let is_beside = |id: &UnitId| of_sidecars.iter().any(|(other, one)| *other < at && one == id);
                let is_taken = |id: &UnitId| match is_init {
                    true => before.contains(id) || is_beside(id),
                    false => self.given.contains(id),
                };
                let mut free: Vec<&Unit> =
                    fitting.iter().filter(|unit| !is_taken(&unit.id)).copied().collect();
                // What the pod has anyway, before others.
                free.sort_by_key(|unit| is_init && !self.given.contains(&unit.id));
                let got: Vec<&Unit> = free.into_iter().take(number).collect();
                if got.len() < number {
                    let before = if limit.is_some() { before } else { BTreeSet::new() };
                    let there = fitting.iter().filter(|unit| !before.contains(&unit.id)).count();
                    return Err(self.too_many(
                        pod,
                        limit,
                        &kind,
                        there,
                        all.iter().any(|unit| unit.kind.is_mig()),
                    ));
                }
                self.given.extend(got.iter().map(|unit| unit.id));
                if container.role == Role::Sidecar {
                    of_sidecars.extend(got.iter().map(|unit| (at, unit.id)));
                }
                share.names.extend(got.into_iter().map(|unit| unit.name.clone()));
            }
        }
        Ok(())
    }

    fn too_many(
        &self,
        pod: &Pod,
        limit: Option<&str>,
        kind: &UnitKind,
        there: usize,
        has_mig: bool,
    ) -> Error {
        let pods = if limit.is_some() { std::slice::from_ref(pod) } else { self.pods };
        let numbers = |container: &Container| (container.title.clone(), container.number_of(kind));
        let mut by: Vec<(String, usize)> = pods.iter().flat_map(|pod| &pod.containers).map(numbers).collect();
        by.retain(|(_, number)| *number > 0);
        let allowed = self.machine.as_deref().and_then(|machine| machine.allowed());
        let which = [
            (!self.named.is_empty()).then(|| ", without what the file names".to_owned()),
            limit.map(|selection| format!(", of {GPU_ANNOTATION}={selection}")),
            allowed.map(|allowed| format!(", as {allowed}")),
            (has_mig && !kind.is_mig())
                .then(|| ", without divided ones, whose parts are nvidia.com/mig-PROFILE".to_owned()),
        ];
        Error::TooMany {
            asked: pods.iter().map(|pod| pod.number_of(kind)).fold(0, usize::saturating_add),
            what: match kind {
                UnitKind::Mig(Some(profile)) => format!("{}{profile}", object::BY_PROFILE),
                UnitKind::Whole | UnitKind::Divided | UnitKind::Mig(None) => BY_NUMBER.to_owned(),
            },
            by: by.iter().map(|(title, number)| format!("{title}: {number}")).collect::<Vec<_>>().join("; "),
            there,
            which: which.into_iter().flatten().collect(),
        }
    }
}

fn request(selection: &str, pod: &str) -> Result<Request, Error> {
    Request::parse(selection, None, None).map_err(|source| Error::Request { owner: pod.to_owned(), source })
}

impl Ask {
    fn name(&self) -> Option<&str> {
        match self {
            Ask::Name(name) | Ask::Variable(name) => Some(name),
            Ask::Number(_) | Ask::Profile(..) => None,
        }
    }

    fn number(&self) -> Option<(UnitKind, usize)> {
        match self {
            Ask::Name(_) | Ask::Variable(_) => None,
            Ask::Number(number) => Some((UnitKind::Whole, *number)),
            Ask::Profile(profile, number) => Some((UnitKind::Mig(Some(profile.clone())), *number)),
        }
    }
}

impl Container {
    /// How many of a kind it asks for.
    fn number_of(&self, kind: &UnitKind) -> usize {
        let numbers = self.asks.iter().filter_map(Ask::number).filter(|(asked, _)| asked == kind);
        numbers.map(|(_, number)| number).fold(0, usize::saturating_add)
    }
}

impl Pod {
    /// How many of a kind it needs: those of all that run beside each other, at the time when these are most.
    fn number_of(&self, kind: &UnitKind) -> usize {
        let (mut beside, mut most) = (0_usize, 0);
        for container in &self.containers {
            let number = container.number_of(kind);
            match container.role {
                Role::Init => most = most.max(beside.saturating_add(number)),
                Role::Sidecar | Role::App => beside = beside.saturating_add(number),
            }
        }
        most.max(beside)
    }
}

/// The annotation is what the containers have together, and each has a variable that says what of it is its own.
fn change(pod: &Pod, shares: &[Share], has_nvidias_hook: bool) -> Change {
    let mut annotations = pod.lost.clone();
    if !shares.is_empty() && pod.annotation(GPU_ANNOTATION).is_none() {
        annotations.push((GPU_ANNOTATION.to_owned(), together(shares)));
    }
    let given = pod.containers.iter().zip(shares);
    let variables = given.map(|(container, share)| share.variables(container, has_nvidias_hook));
    Change { annotations, variables: variables.collect() }
}

fn together(shares: &[Share]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in shares.iter().flat_map(|share| &share.names) {
        if name != "none" && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    // In the order of the GPUs, as far as these are counted.
    names.sort_by_key(|name| name.parse::<u32>().unwrap_or(u32::MAX));
    let together = if names.is_empty() { "none".to_owned() } else { names.join("+") };
    // Every container has its variable, so that this says no more than what they may name.
    let is_all = shares.iter().any(|share| share.is_all) || together.len() > LONGEST;
    if is_all { ALL.to_owned() } else { together }
}

impl Share {
    /// The variables that it adds; one that the container has stays.
    fn variables(&self, container: &Container, has_nvidias_hook: bool) -> Vec<(&'static str, String)> {
        let selection = match self {
            Share { is_void: true, .. } => VOID.to_owned(),
            Share { is_all: true, .. } => ALL.to_owned(),
            Share { names, .. } => names.join(","),
        };
        let shown = if has_nvidias_hook || self.is_void { VOID.to_owned() } else { visible(&selection) };
        let order = (!self.is_void).then(|| (DEVICE_ORDER.0, DEVICE_ORDER.1.to_owned()));
        let own = (DEVICES_VARIABLE, selection);
        let kept = [own].into_iter().chain(order).filter(|(name, _)| container.variable(name).is_none());
        // It says what the container has, whatever it said. One whose own variable stands elsewhere keeps both.
        let is_known = container.variable(DEVICES_VARIABLE) != Some(None);
        let shown = (visible_devices::VARIABLE, shown);
        let mut all: Vec<_> = kept.collect();
        if is_known || container.variable(shown.0).is_none() {
            all.insert(usize::from(!all.is_empty()), shown);
        }
        all
    }
}
