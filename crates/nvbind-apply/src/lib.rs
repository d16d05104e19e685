//! Carries a plan out in one container: mounts, namespaces, device nodes, the device cgroup and the ld.so.cache.
//!
//! Everything of the host is opened, checked and cloned first; then the device cgroup is told, the container's
//! namespaces are joined, and only then is anything attached or created. When a step fails, what was created in the
//! root filesystem is taken back, and the mounts die with the container's mount namespace.

pub mod cgroup;
mod compat;
mod devices;
mod draft;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod isolation;
mod journal;
mod layout;
mod links;
mod loader;
mod missing_nodes;
mod mount;
mod mountinfo;
mod namespaces;
mod node;
mod privileges;
mod proc;
mod rootfs;
mod sources;
mod view;

use cgroup::{DeviceNumber, Outcome};
pub use error::Error;
use layout::Layout;
use loader::Loaders;
use namespaces::Namespaces;
pub use namespaces::in_user_namespace;
use nvbind_core::host::Host;
use nvbind_core::inventory::DeviceNode;
use nvbind_core::oci::Config;
use nvbind_core::plan::{Plan, Proc, VIEW};
use rootfs::{HostTmpfs, Rootfs};
use sources::{Binding, NodeSource, Sources};
use std::path::Path;
use view::ViewMount;

/// Where the hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In the runtime's namespaces, before the container's init pivots (OCI `prestart`, `createRuntime`).
    Prestart {
        /// The container's init process as this process sees it.
        pid: i32,
    },
    /// In the container's namespaces, before the pivot (OCI `createContainer`).
    CreateContainer,
}

/// The container that a plan is for.
#[derive(Debug)]
pub struct Container<'a> {
    /// Its id, by which its cgroups are known.
    pub id: &'a str,
    /// Where the hook runs.
    pub stage: Stage,
    /// Its root filesystem.
    pub root: &'a Path,
    /// The directory that the runtime started it from.
    pub bundle: &'a Path,
    /// What its config.json says.
    pub config: &'a Config,
    /// Whether its processes keep the groups of the user who started it.
    pub keeps_groups: bool,
}

/// Carries out a plan. Returns where the view stands; none where another hook has served the container already.
///
/// # Errors
/// When any step fails; nothing is left behind then.
pub fn apply(plan: &Plan, host: &Host, container: &Container<'_>) -> Result<Option<&'static str>, Error> {
    let proc = plan.proc.as_ref().filter(|_| container.config.masks_proc());
    let in_user_namespace = in_user_namespace()?;
    if let Some(unseen) = &plan.unseen {
        isolation::check_configuration(unseen, container.config, host, in_user_namespace)?;
    }
    let namespaces = match container.stage {
        Stage::Prestart { pid } => Some(Namespaces::of(pid)?),
        Stage::CreateContainer => None,
    };
    // In a user namespace nodes cannot be made, but bound.
    let binds_nodes = namespaces.as_ref().map_or(in_user_namespace, |theirs| theirs.is_user_namespace);
    let binding = Binding { is_rootless: in_user_namespace, keeps_groups: container.keeps_groups };
    let sources = Sources::open(plan, proc, host, in_user_namespace, binds_nodes.then_some(binding))?;
    match container.stage {
        _ if in_user_namespace => {}
        Stage::Prestart { pid } => allow(pid, container.id, &sources.nodes)?,
        Stage::CreateContainer => check_allowed(container.config, plan)?,
    }
    let host_tmpfs = HostTmpfs::read(container.root)?;
    if let Some(namespaces) = namespaces {
        namespaces.join()?;
    }
    privileges::limit()?;
    let rootfs = Rootfs::open(container.root, container.bundle, container.config, &host_tmpfs)?;
    // Engines add a device's hooks more than once, and a container can ask in two ways: all its hooks have one request.
    if rootfs.is_served {
        return Ok(None);
    }
    match fill(&rootfs, plan, proc, &sources, container.config) {
        Ok(view) => Ok(Some(view)),
        Err(error) => {
            rootfs.undo();
            Err(error)
        }
    }
}

fn fill(
    rootfs: &Rootfs,
    plan: &Plan,
    proc: Option<&Proc>,
    sources: &Sources<'_>,
    config: &Config,
) -> Result<&'static str, Error> {
    if let Some(unseen) = &plan.unseen {
        isolation::check_nodes(unseen, rootfs)?;
    }
    let (place, directory) = view::choose(rootfs)?;
    devices::add(rootfs, &sources.nodes)?;
    let layout = Layout { place, view: compat::choose_view(rootfs, plan)? };
    let mut view = ViewMount::attach(rootfs, &directory, config.mount_label())?;
    let shared = view.fill(&layout.view, sources)?;
    if let Some(proc) = proc {
        proc::fill(&mut view, proc, &sources.proc)?;
    }
    let loaders = Loaders::of(rootfs)?;
    if !loaders.is_none() {
        links::add(rootfs, plan, &layout, &view)?;
    }
    // A view that was not there has no links of an earlier start that lead to it.
    if place != VIEW || !directory.is_new {
        links::remove_unused(rootfs, plan)?;
    }
    let drafts = loader::draft(rootfs, &layout, &mut view, config, &loaders)?;
    view.seal()?;
    shared.attach()?;
    if proc.is_some() {
        proc::cover(rootfs, &view)?;
    }
    // Last: what has a place cannot fail half-way, so that nothing of the image's has to be restored.
    drafts.into_iter().try_for_each(|draft| draft.place(rootfs))?;
    Ok(place)
}

/// Lets the nodes through the container's device cgroup.
fn allow(pid: i32, id: &str, nodes: &[NodeSource]) -> Result<(), Error> {
    let number = |node: &DeviceNode| DeviceNumber { major: node.major, minor: node.minor };
    let devices: Vec<DeviceNumber> = nodes.iter().map(|source| number(&source.device.node)).collect();
    if devices.is_empty() {
        return Ok(());
    }
    match cgroup::allow(pid, id, &devices)? {
        Outcome::Allowed | Outcome::Unfiltered => {}
        Outcome::AllowedForNow(error) => {
            log::warn!(
                "a `systemctl daemon-reload` will take the GPUs away, since systemd cannot be told: {error}"
            );
        }
        Outcome::Shared(cgroup) => {
            log::warn!("the container shares the cgroup {cgroup}, whose device rules are left alone");
        }
    }
    Ok(())
}

/// At stage createContainer only the host's root cgroup can be reached, so the runtime must have been told.
fn check_allowed(config: &Config, plan: &Plan) -> Result<(), Error> {
    let denied = |node: &&DeviceNode| !config.allows_device(node.major, node.minor);
    match plan.devices.iter().map(|device| &device.node).find(denied) {
        Some(node) => Err(Error::NotAllowed { path: node.path.clone() }),
        None => Ok(()),
    }
}
