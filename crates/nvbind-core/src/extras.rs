//! Extras: what a container gets only when it asks for it by name, since it shares something with other containers or
//! reaches beyond the GPUs.

use crate::list;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// One past the largest number of an IMEX channel (NVIDIA's open kernel modules, `NV_CAPS_IMEX_CHANNELS_MAX`).
const IMEX_CHANNELS: u32 = 1 << 20;

/// One of the words of `io.nvbind.extras`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// The host's CUDA Multi-Process Service.
    Mps,
    /// Channels to the memory of other machines' GPUs over NVLink.
    Imex,
    /// The switches that connect the GPUs of a large server, and their management.
    Nvswitch,
    /// GPUDirect Storage: transfers between GPUs and disks.
    Gds,
    /// Copies between GPU and CPU memory by gdrdrv.
    Gdrcopy,
    /// InfiniBand and RoCE adapters.
    Infiniband,
}

impl Extra {
    /// Every extra, in the order in which lists are printed.
    pub const ALL: [Extra; 6] =
        [Extra::Mps, Extra::Imex, Extra::Nvswitch, Extra::Gds, Extra::Gdrcopy, Extra::Infiniband];

    /// The word used in annotations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Extra::Mps => "mps",
            Extra::Imex => "imex",
            Extra::Nvswitch => "nvswitch",
            Extra::Gds => "gds",
            Extra::Gdrcopy => "gdrcopy",
            Extra::Infiniband => "infiniband",
        }
    }

    /// What brings it to a host that lacks it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Extra::Mps => "start nvidia-cuda-mps-control -d",
            Extra::Imex => {
                "load the nvidia module with NVreg_CreateImexChannel0=1 for channel 0, make others with mknod"
            }
            Extra::Nvswitch => {
                "load the nvidia module on a machine with NVSwitches, start nvidia-fabricmanager"
            }
            Extra::Gds => "install nvidia-gds, run `modprobe nvidia-fs` as root",
            Extra::Gdrcopy => "install gdrdrv-dkms of GDRCopy, run `modprobe gdrdrv` as root",
            Extra::Infiniband => "install rdma-core, run `modprobe ib_uverbs` as root",
        }
    }
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The extras that a container asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    whole: BTreeSet<Extra>,
    channels: BTreeSet<u32>,
}

impl Extras {
    /// Every extra there is.
    #[must_use]
    pub fn all() -> Extras {
        Extras { whole: Extra::ALL.into(), channels: BTreeSet::new() }
    }

    /// Reads a list such as `mps,imex:0`; spaces around words are ignored. Returns the set and the words that are no
    /// extra.
    #[must_use]
    pub fn parse(list: &str) -> (Extras, Vec<&str>) {
        let mut extras = Extras::default();
        let mut unknown = Vec::new();
        for word in list::split(list).filter(|word| !word.is_empty()) {
            if let Some(extra) = Extra::ALL.into_iter().find(|extra| extra.name() == word) {
                extras.whole.insert(extra);
            } else if let Some(channel) = word.strip_prefix("imex:").and_then(channel) {
                extras.channels.insert(channel);
            } else {
                unknown.push(word);
            }
        }
        (extras, unknown)
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.channels.is_empty()
    }

    /// Whether it is asked for, wholly or in part.
    #[must_use]
    pub fn has(&self, extra: Extra) -> bool {
        self.takes_all(extra) || (extra == Extra::Imex && !self.channels.is_empty())
    }

    /// Whether all of it is asked for.
    #[must_use]
    pub fn takes_all(&self, extra: Extra) -> bool {
        self.whole.contains(&extra)
    }

    /// Whether its node of that minor number is asked for.
    #[must_use]
    pub fn takes(&self, extra: Extra, minor: u32) -> bool {
        self.takes_all(extra) || (extra == Extra::Imex && self.channels.contains(&minor))
    }

    /// What is asked for, in the order of [`Extra::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Extra> {
        Extra::ALL.into_iter().filter(|extra| self.has(*extra))
    }

    /// The IMEX channels that are asked for by number, beside all or without them.
    pub fn channels(&self) -> impl Iterator<Item = u32> {
        self.channels.iter().copied()
    }
}

/// A channel's number, before any path is made of it.
fn channel(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|channel| *channel < IMEX_CHANNELS)
}

impl fmt::Display for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.whole.iter().map(|extra| extra.name().to_owned());
        let words: Vec<String> =
            whole.chain(self.channels().map(|channel| format!("imex:{channel}"))).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_spaces_repeats_channels_and_unknown_words() {
        for (list, text, unknown) in [
            ("mps", "mps", vec![]),
            (" gds , mps,mps", "mps,gds", vec![]),
            ("imex+nvswitch", "imex,nvswitch", vec![]),
            ("imex:7,imex:0", "imex:0,imex:7", vec![]),
            ("imex:1048575", "imex:1048575", vec![]),
            (
                "imex:1048576,imex:,imex:+1,imex:../x",
                "",
                vec!["imex:1048576", "imex:", "imex:", "1", "imex:../x"],
            ),
            ("gdrcopy,infiniband,all", "gdrcopy,infiniband", vec!["all"]),
            ("", "", vec![]),
        ] {
            let (extras, rest) = Extras::parse(list);
            assert_eq!((extras.to_string().as_str(), rest), (text, unknown), "{list:?}");
        }
    }

    #[test]
    fn a_channel_asks_for_its_node_alone_and_the_word_for_all() {
        let of = |list| Extras::parse(list).0;
        let takes = |list| [0, 7].map(|minor| of(list).takes(Extra::Imex, minor));
        assert_eq!(takes("imex:7"), [false, true]);
        assert_eq!(takes("imex,imex:7"), [true, true]);
        assert_eq!(takes("mps"), [false, false]);
        assert!(of("imex:7").has(Extra::Imex) && !of("mps").has(Extra::Imex));
    }
}
