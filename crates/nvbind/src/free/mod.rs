//! GPUs that are free: no running container of this user has them (for root: nobody's), and no other start chooses them
//! at this moment.

mod claims;
mod held;

use claims::Claims;
use held::Numbers;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::gpu_name::GpuName;
use nvbind_core::inventory::{DeviceNode, Gpu};
use nvbind_core::message::line;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

/// Why there are not so many.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{count} GPUs are asked for, and this machine has {there} that can be given whole")]
    Few { count: u32, there: usize },
    #[error("{count} GPUs are asked for, and {free} of {there} are free: {taken}")]
    Taken { count: u32, free: usize, there: usize, taken: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Driver
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Few { .. } => {
                "`--gpu 0` names a GPU by its number, `--gpus 1` asks for any one; see `nvbind info`".into()
            }
            Error::Taken { .. } => "`--gpu NAME` shares a GPU with the container that has it".into(),
        })
    }
}

/// What is free among some nodes, and nobody else's to choose until this is dropped.
#[derive(Debug)]
pub(crate) struct Free {
    held: BTreeSet<Numbers>,
    /// Given back before the next start may choose: fields are dropped in their order.
    locks: BTreeMap<Numbers, File>,
    /// None where there is nowhere to lock anything.
    claims: Option<Claims>,
}

impl Free {
    /// Looks at the nodes of GPUs, or of MIG devices. What the containers of the processes `replaced` have is free:
    /// they end before the new one starts.
    pub(crate) fn look<'a>(nodes: impl IntoIterator<Item = &'a DeviceNode>, replaced: &[u32]) -> Free {
        let claims = Claims::open().inspect_err(warn_unlocked).ok();
        let mut locks = BTreeMap::new();
        for node in nodes {
            let taken = claims.as_ref().map(|claims| claims.take(&name_of(node)));
            if let Some(Ok(Some(lock))) = taken {
                locks.insert(numbers(node), lock);
            }
        }
        // After the locks: whoever gave one back has a container that can be seen.
        Free { held: held::held(Path::new("/proc"), replaced), claims, locks }
    }

    pub(crate) fn has(&self, node: &DeviceNode) -> bool {
        let is_locked = self.claims.is_none() || self.locks.contains_key(&numbers(node));
        is_locked && !self.held.contains(&numbers(node))
    }

    /// Takes these for the program that will be in this process's place, and gives all others back.
    pub(crate) fn keep<'a>(mut self, nodes: impl IntoIterator<Item = &'a DeviceNode>) {
        let mut locks = nodes.into_iter().filter_map(|node| self.locks.remove(&numbers(node)));
        if let Err(error) = locks.try_for_each(claims::hand_on) {
            warn_unlocked(&error);
        }
    }
}

fn warn_unlocked(error: &io::Error) {
    log::warn!("another start at this moment may choose the same GPU: {}", line(error));
}

fn numbers(node: &DeviceNode) -> Numbers {
    (node.major.into(), node.minor.into())
}

/// The name of its lock.
fn name_of(node: &DeviceNode) -> String {
    node.path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Takes so many of these, which are whole and in PCI order: of the free ones those with the least memory in use, where
/// that is known. They get the names that they keep when other GPUs come and go: what is chosen here is kept with the
/// container.
pub(crate) fn choose<'g>(
    count: u32,
    gpus: &'g [Gpu],
    free: &Free,
    used: impl FnOnce() -> BTreeMap<u32, u64>,
) -> Result<Vec<&'g Gpu>, Error> {
    let number = usize::try_from(count).unwrap_or(usize::MAX);
    if gpus.len() < number {
        return Err(Error::Few { count, there: gpus.len() });
    }
    let (mut there, taken): (Vec<&Gpu>, Vec<&Gpu>) = gpus.iter().partition(|gpu| free.has(&gpu.node));
    if there.len() < number {
        let taken: Vec<String> = taken.iter().map(|gpu| format!("{} ({})", gpu.index, name(gpu))).collect();
        let taken = format!("containers have {}", taken.join(", "));
        return Err(Error::Taken { count, free: there.len(), there: gpus.len(), taken });
    }
    if there.len() > number {
        let used = used();
        there.sort_by_key(|gpu| used.get(&gpu.index).map_or(0, |bytes| bytes / IDLE));
    }
    there.truncate(number);
    there.sort_by_key(|gpu| gpu.index);
    let told: Vec<String> = there.iter().map(|gpu| format!("{} ({})", gpu.index, name(gpu))).collect();
    log::warn!("of {} GPUs the container has {}", gpus.len(), told.join(", "));
    Ok(there)
}

/// What a driver keeps for itself on an idle GPU differs by less.
const IDLE: u64 = 1 << 30;

/// The name that a GPU keeps.
pub(crate) fn name(gpu: &Gpu) -> GpuName {
    let uuid = gpu.uuid.as_deref().and_then(|uuid| GpuName::parse(uuid).ok());
    uuid.unwrap_or(GpuName::Pci(gpu.pci))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{self, HookOptions};
    use crate::fixture::Machine;

    #[test]
    fn the_first_are_taken_by_names_that_last() {
        let machine = Machine::new();
        for (pci, minor) in [("0000:01:00.0", 2), ("0000:41:00.0", 0), ("0000:81:00.0", 1)] {
            machine.gpu(pci, minor, &format!("GPU-{minor}aaaaaaa-0000-0000-0000-000000000000"), &[]);
        }
        let (config, root) = (machine.path("config.toml"), machine.path("/").display().to_string());
        let keys = ["root", "dev_root", "proc_root", "sys_root"].map(|key| format!("{key} = {root:?}\n"));
        std::fs::write(&config, format!("[driver]\n{}", keys.concat())).unwrap();
        let opened = driver::Machine::open(&HookOptions::of_config(&config)).unwrap();
        let mut gpus = opened.whole_gpus().unwrap().unwrap();
        let nobodys = || Free { held: BTreeSet::new(), claims: None, locks: BTreeMap::new() };
        let names = |count, gpus: &[Gpu]| {
            let chosen = choose(count, gpus, &nobodys(), BTreeMap::new)?;
            Ok(chosen.into_iter().map(|gpu| name(gpu).to_string()).collect::<Vec<_>>())
        };
        let [first, second] = [2, 0].map(|minor| format!("GPU-{minor}aaaaaaa-0000-0000-0000-000000000000"));
        assert_eq!(names(1, &gpus).unwrap(), [first.as_str()]);
        assert_eq!(names(2, &gpus).unwrap(), [first.as_str(), second.as_str()]);
        assert_eq!(names(4, &gpus), Err(Error::Few { count: 4, there: 3 }));
        // Before its first use a GPU may have no UUID.
        gpus[0].uuid = None;
        assert_eq!(names(1, &gpus).unwrap(), ["0000:01:00.0"]);

        // What a container has is not taken, and of the others those that are idle.
        let index = |count, held: &[Numbers], used: &[(u32, u64)]| {
            let free = Free { held: held.iter().copied().collect(), ..nobodys() };
            let chosen = choose(count, &gpus, &free, || used.iter().copied().collect())?;
            Ok(chosen.into_iter().map(|gpu| gpu.index).collect::<Vec<_>>())
        };
        assert_eq!(index(1, &[(195, 2)], &[]).unwrap(), [1]);
        assert_eq!(index(2, &[(195, 0)], &[]).unwrap(), [0, 2]);
        assert_eq!(index(1, &[], &[(0, 9 << 30), (1, 2 << 30), (2, 1 << 20)]).unwrap(), [2]);
        assert_eq!(index(2, &[], &[(0, 9 << 30), (1, 2 << 30), (2, 1 << 20)]).unwrap(), [1, 2]);
        let error: Error = index(3, &[(195, 0)], &[]).unwrap_err();
        let says = "3 GPUs are asked for, and 2 of 3 are free: containers have 1 (GPU-0aaaaaaa";
        assert!(error.to_string().starts_with(says), "{error}");
    }

    #[test]
    fn what_one_start_chose_another_at_this_moment_does_not() {
        let nodes: Vec<DeviceNode> = [7001, 7002]
            .map(|minor| DeviceNode { path: format!("/dev/nvidia-test{minor}"), major: 195, minor })
            .to_vec();
        let first = Free::look(&nodes, &[]);
        if first.claims.is_none() {
            eprintln!("skipped: this user has no directory for locks");
            return;
        }
        assert!(nodes.iter().all(|node| first.has(node)));
        first.keep([&nodes[0]]);
        let second = Free::look(&nodes, &[]);
        assert_eq!(nodes.iter().map(|node| second.has(node)).collect::<Vec<_>>(), [false, true]);
    }
}
