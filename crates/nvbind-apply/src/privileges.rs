//! What this process may still do when it is in the container's namespaces: from there on it reads what the image
//! brings, and starts no program any more.

use crate::error::Error;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// To mount, to make device nodes and to give them their owner, and to change what the image's users own.
const CAPABILITIES: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER);

/// Address space: several times what the largest files and lists take that are read.
const MEMORY: rlim_t = 512 << 20;

/// Gives up every capability but [`CAPABILITIES`], the gain of any by a program, and memory beyond [`MEMORY`].
pub(crate) fn limit() -> Result<(), Error> {
    give_up()
        .and_then(|()| limit_memory())
        .map_err(|errno| Error::system("give up privileges that are not needed", errno))
}

fn give_up() -> rustix::io::Result<()> {
    // In a container that runs Podman, or by a service's limits, this process may lack some already.
    let kept = capabilities(None)?.permitted.intersection(CAPABILITIES);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    set_no_new_privs(true)
}

/// By nix, as rustix takes it that nobody's limits can be refused, and panics or passes over it where they are.
fn limit_memory() -> rustix::io::Result<()> {
    let system = |errno: nix::Error| Errno::from_raw_os_error(errno as i32);
    let (_soft, hard) = getrlimit(Resource::RLIMIT_AS).map_err(system)?;
    let maximum = hard.min(MEMORY);
    setrlimit(Resource::RLIMIT_AS, maximum, maximum).map_err(system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::no_new_privs;

    #[test]
    fn what_is_left_is_what_is_needed_and_cannot_be_had_back() {
        // A thread's own: the other tests keep theirs.
        let before = capabilities(None).unwrap();
        std::thread::spawn(move || {
            give_up().unwrap();
            let left = capabilities(None).unwrap();
            assert_eq!(left.permitted, before.permitted.intersection(CAPABILITIES));
            assert_eq!((left.effective, left.inheritable), (left.permitted, CapabilitySet::empty()));
            assert!(no_new_privs().unwrap());
            let lost = before.permitted.difference(CAPABILITIES);
            assert!(lost.is_empty() || set_capabilities(None, before).is_err());
        })
        .join()
        .unwrap();
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
