//! What of a machine's GPUs the configuration allows, or a pod has.

use super::{Choice, Error, Found, add, describe, expected, find};
use crate::gpu_name::GpuName;
use crate::inventory::Gpu;
use crate::security::Allowed;

/// The allowed GPUs and MIG devices that this machine has.
#[derive(Debug)]
pub(super) struct Limit<'a> {
    parts: Choice,
    allowed: &'a Allowed,
}

impl<'a> Limit<'a> {
    /// A name that fits nothing, as that of a GPU that was removed, allows nothing.
    pub(super) fn new(allowed: &'a Allowed, gpus: &[Gpu]) -> Result<Limit<'a>, Error> {
        let mut parts = Choice::new();
        for name in &allowed.names {
            let found = find(name, gpus, allowed.numbers);
            if found.len() as u64 > expected(name) {
                let (name, there_is) = (name.to_string(), describe(gpus));
                let allowed = Box::new(allowed.clone());
                return Err(Error::AmbiguousAllowed { name, allowed, there_is });
            }
            add(&mut parts, found);
        }
        Ok(Limit { parts, allowed })
    }

    /// Leaves of a choice what is allowed.
    pub(super) fn narrow(&self, choice: &mut Choice) -> Result<(), Error> {
        choice.retain(|gpu, parts| {
            parts.whole &= self.allows(*gpu, None);
            parts.mig.retain(|mig| self.allows(*gpu, Some(*mig)));
            parts.whole || !parts.mig.is_empty()
        });
        if choice.is_empty() { Err(Error::NoneAllowed(self.allowed.clone())) } else { Ok(()) }
    }

    /// Sees that all that a name means is allowed.
    pub(super) fn check(&self, name: &GpuName, found: &[Found]) -> Result<(), Error> {
        if found.iter().all(|(gpu, mig)| self.allows(*gpu, *mig)) {
            return Ok(());
        }
        Err(Error::NotAllowed { name: name.to_string(), allowed: self.allowed.clone() })
    }

    /// A GPU stands for its MIG devices, and none of these for the GPU.
    fn allows(&self, gpu: usize, mig: Option<usize>) -> bool {
        let is_in = |mig: usize| self.parts.get(&gpu).is_some_and(|parts| parts.mig.contains(&mig));
        self.parts.get(&gpu).is_some_and(|parts| parts.whole) || mig.is_some_and(is_in)
    }
}
