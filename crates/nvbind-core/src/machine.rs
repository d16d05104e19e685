//! A machine for the tests, and its inventory.

#[path = "../../../tests/fixtures/machine.rs"]
#[expect(dead_code, reason = "it serves the tests of several crates")]
mod fixture;

use crate::capability::Capabilities;
use crate::extras::Extras;
use crate::host::Host;
use crate::host::Roots;
use crate::inventory::{Error, Inventory};
pub(crate) use fixture::{Machine, VERSION, libcuda, shared_object, shared_object_32};

impl Machine {
    pub(crate) fn host(&self) -> Host {
        Host::open(&Roots::below(&self.path("/"))).unwrap()
    }

    pub(crate) fn inventory(&self) -> Result<Inventory, Error> {
        Inventory::read(&self.host(), Capabilities::ALL, &Extras::all())
    }
}

/// Two GPUs whose index, minor and DRM numbers all disagree.
pub(crate) fn two_gpus() -> Inventory {
    let machine = Machine::new();
    machine.gpu("0000:01:00.0", 1, "GPU-aaaa0000-0000-0000-0000-000000000001", &["card2", "renderD130"]);
    machine.gpu("0000:41:00.0", 0, "GPU-bbbb0000-0000-0000-0000-000000000002", &["card0", "renderD128"]);
    machine.write("usr/bin/nvidia-smi", "#!/bin/sh\n");
    machine.write("dev/nvidia-modeset", "");
    machine.inventory().unwrap()
}
