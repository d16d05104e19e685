//! Which GPUs a container has that asks for a number of them.

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::gpu_name::GpuName;
use nvbind_core::inventory::Gpu;

/// Why there are not so many.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{count} GPUs are asked for, and this machine has {there} that can be given whole")]
    Few { count: u32, there: usize },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Driver
    }

    fn hint(&self) -> Option<String> {
        Some("`--gpu 0` names a GPU by its number, `--gpus 1` asks for any one; see `nvbind info`".into())
    }
}

/// Takes so many of these, which are whole and in PCI order. They get the names that they keep when other GPUs come and
/// go: what is chosen here is kept with the container.
pub(crate) fn choose(count: u32, gpus: &[Gpu]) -> Result<Vec<GpuName>, Error> {
    let chosen = usize::try_from(count).ok().and_then(|count| gpus.get(..count));
    let chosen = chosen.ok_or(Error::Few { count, there: gpus.len() })?;
    let told: Vec<String> = chosen.iter().map(|gpu| format!("{} ({})", gpu.index, name(gpu))).collect();
    log::warn!("of {} GPUs the container has {}", gpus.len(), told.join(", "));
    Ok(chosen.iter().map(name).collect())
}

fn name(gpu: &Gpu) -> GpuName {
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
        let names = |count, gpus: &[Gpu]| {
            choose(count, gpus).map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let [first, second] = [2, 0].map(|minor| format!("GPU-{minor}aaaaaaa-0000-0000-0000-000000000000"));
        assert_eq!(names(1, &gpus).unwrap(), [first.as_str()]);
        assert_eq!(names(2, &gpus).unwrap(), [first.as_str(), second.as_str()]);
        assert_eq!(names(4, &gpus), Err(Error::Few { count: 4, there: 3 }));
        // Before its first use a GPU may have no UUID.
        gpus[0].uuid = None;
        assert_eq!(names(1, &gpus).unwrap(), ["0000:01:00.0"]);
    }
}
