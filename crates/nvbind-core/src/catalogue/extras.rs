//! What the driver's daemons share with their clients, and what belongs to an extra.
//!
//! Sources: NVIDIA's open kernel modules (`nv-caps-imex.c`, `linux_nvswitch.c`), gds-nvidia-fs (`nvfs-core.h`), GDRCopy
//! (`insmod.sh`), Linux (`drivers/infiniband/core/uverbs_main.c`, `ucma.c`, Documentation/admin-guide/devices.txt); the
//! daemons' manual pages; CUDA's documentation of `CUDA_MPS_PIPE_DIRECTORY`.

use super::places::{WellKnownPlace, always};
use crate::capability::Capabilities;
use crate::capability::Capability::Utility;
use crate::extras::Extra;

/// What a node's numbers have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// A major number that `/proc/devices` has under this name, and this minor number.
    Fixed(&'static str, u32),
    /// The same, and the number at the end of the node's name.
    Named(&'static str),
    /// The same, and any minor number.
    Any(&'static str),
    /// A miscellaneous device, under this name in `/proc/misc`.
    Misc(&'static str),
}

/// A device node of an extra, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraNode {
    /// The extra that it belongs to.
    pub extra: Extra,
    /// The directory that it is in.
    pub directory: &'static str,
    /// The name; a `*` at the end stands for a number.
    pub name: &'static str,
    /// What its numbers have to be.
    pub number: Number,
    /// Whether a host without it does not have the extra.
    pub required: bool,
}

const fn node(
    extra: Extra,
    directory: &'static str,
    name: &'static str,
    number: Number,
    required: bool,
) -> ExtraNode {
    ExtraNode { extra, directory, name, number, required }
}

/// The nodes of the extras.
pub const EXTRA_NODES: &[ExtraNode] = &[
    node(
        Extra::Imex,
        "/dev/nvidia-caps-imex-channels",
        "channel*",
        Number::Named("nvidia-caps-imex-channels"),
        true,
    ),
    node(Extra::Nvswitch, "/dev", "nvidia-nvswitchctl", Number::Fixed("nvidia-nvswitch", 255), true),
    node(Extra::Nvswitch, "/dev", "nvidia-nvswitch*", Number::Named("nvidia-nvswitch"), false),
    node(Extra::Gds, "/dev", "nvidia-fs*", Number::Any("nvidia-fs"), true),
    node(Extra::Gdrcopy, "/dev", "gdrdrv", Number::Fixed("gdrdrv", 0), true),
    // The first 32 have a fixed major number, further ones another of the same name.
    node(Extra::Infiniband, "/dev/infiniband", "uverbs*", Number::Any("infiniband_verbs"), true),
    node(Extra::Infiniband, "/dev/infiniband", "rdma_cm", Number::Misc("rdma_cm"), false),
];

/// A socket of one of the driver's daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Where hosts have it; the first that is there counts.
    pub host: &'static [&'static str],
    /// Path below the view.
    pub inside: &'static str,
    /// Who needs it.
    pub capabilities: Capabilities,
}

/// The daemons' sockets; [`DIRECTORIES`](super::DIRECTORIES) has their well-known places.
pub const SOCKETS: &[Socket] = &[
    Socket {
        host: &["/run/nvidia-persistenced/socket", "/var/run/nvidia-persistenced/socket"],
        inside: "run/nvidia-persistenced/socket",
        capabilities: Capabilities::of(&[Utility]),
    },
    Socket {
        host: &["/run/nvidia-fabricmanager/socket", "/var/run/nvidia-fabricmanager/socket"],
        inside: "run/nvidia-fabricmanager/socket",
        capabilities: Capabilities::of(&[Utility]),
    },
];

/// A directory of the host in which a container can write: the clients of a daemon make their own ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The extra that it belongs to.
    pub extra: Extra,
    /// Where hosts have it.
    pub host: &'static str,
    /// Path below the view.
    pub inside: &'static str,
    /// Where programs look for it.
    pub places: &'static [WellKnownPlace],
}

/// The shared directories.
pub const SHARED: &[Shared] = &[Shared {
    extra: Extra::Mps,
    host: "/tmp/nvidia-mps",
    inside: "run/nvidia-mps",
    places: &[always("/tmp/nvidia-mps")],
}];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_extra_has_a_row_without_which_a_host_lacks_it() {
        let nodes = EXTRA_NODES.iter().filter(|row| row.required).map(|row| row.extra);
        let required: BTreeSet<Extra> = nodes.chain(SHARED.iter().map(|row| row.extra)).collect();
        assert_eq!(required, Extra::ALL.into());
    }

    #[test]
    fn a_number_is_asked_of_a_name_only_where_it_ends_in_one() {
        for row in EXTRA_NODES {
            let has_star = row.name.ends_with('*');
            match row.number {
                Number::Named(_) => assert!(has_star, "{}", row.name),
                Number::Fixed(..) | Number::Misc(_) => assert!(!has_star, "{}", row.name),
                Number::Any(_) => {}
            }
        }
    }
}
