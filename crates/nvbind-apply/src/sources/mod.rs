//! The host's side of a plan: every file and node is opened, checked and cloned as a detached mount before the
//! container's namespaces are joined. Only then are sources reachable that others cannot search.

mod files;
mod nodes;

pub(crate) use nodes::{Binding, NodeSource, is_device};

use crate::error::Error;
use files::Files;
use nvbind_core::host::Host;
use nvbind_core::plan::{Entry, Plan, Proc, ViewPath};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// All sources of a plan.
#[derive(Debug)]
pub(crate) struct Sources<'p> {
    /// Detached mounts of what the host has for the view. A socket that went away has none.
    mounts: BTreeMap<&'p ViewPath, OwnedFd>,
    /// Device nodes, in the plan's order.
    pub(crate) nodes: Vec<NodeSource>,
    /// Detached mounts of directories of procfs, by their paths.
    pub(crate) proc: Vec<(&'p str, OwnedFd)>,
}

impl<'p> Sources<'p> {
    /// Opens and clones them. Nodes are cloned only if they are to be bound: to let go of a detached mount that was
    /// never attached takes the kernel longer than everything else about it.
    pub(crate) fn open(
        plan: &'p Plan,
        proc: Option<&'p Proc>,
        host: &'p Host,
        in_user_namespace: bool,
        binding: Option<Binding>,
    ) -> Result<Sources<'p>, Error> {
        let node = |device| nodes::open(device, host, in_user_namespace, binding);
        let nodes =
            plan.devices.iter().filter_map(|device| node(device).transpose()).collect::<Result<_, _>>()?;
        let mut files = Files::of(&host.files, in_user_namespace);
        let mut mounts = BTreeMap::new();
        for (path, entry) in plan.view.iter() {
            let mount = match entry {
                Entry::File { host, .. } => Some(files.clone_file(host)?),
                Entry::Socket { host, .. } => files.clone_socket(host)?,
                Entry::Shared { host, .. } => Some(files.clone_shared(host)?),
                Entry::Text { .. } | Entry::Link { .. } => None,
            };
            mounts.extend(mount.map(|mount| (path, mount)));
        }
        let directories = proc.into_iter().flat_map(|proc| &proc.directories);
        let proc =
            directories.map(|path| Ok((path.as_str(), files::clone_kernels_directory(path, &host.proc)?)));
        Ok(Sources { mounts, nodes, proc: proc.collect::<Result<_, Error>>()? })
    }

    /// The mount for a path of the view, if there is one.
    pub(crate) fn find(&self, path: &ViewPath) -> Option<&OwnedFd> {
        self.mounts.get(path)
    }

    /// The mount for a path of the view, which has to have one.
    pub(crate) fn get(&self, path: &ViewPath) -> Result<&OwnedFd, Error> {
        self.find(path).ok_or_else(|| Error::system(format!("put {path} into the driver view"), Errno::NOENT))
    }
}
