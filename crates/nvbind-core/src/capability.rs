//! Driver capabilities: which parts of the driver a container wants.

use crate::list;
use serde::{Serialize, Serializer};
use std::fmt;

/// One of the NVIDIA driver capabilities, in the words of `NVIDIA_DRIVER_CAPABILITIES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// CUDA and OpenCL.
    Compute,
    /// `nvidia-smi` and NVML.
    Utility,
    /// OpenGL, EGL and Vulkan.
    Graphics,
    /// NVENC, NVDEC, VDPAU.
    Video,
    /// The display of X11.
    Display,
    /// DLSS and other NGX features.
    Ngx,
    /// The 32-bit libraries of the others.
    Compat32,
}

impl Capability {
    /// Every capability, in the order in which lists are printed.
    pub const ALL: [Capability; 7] = [
        Capability::Compute,
        Capability::Utility,
        Capability::Graphics,
        Capability::Video,
        Capability::Display,
        Capability::Ngx,
        Capability::Compat32,
    ];

    /// The word used in annotations and environment variables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Capability::Compute => "compute",
            Capability::Utility => "utility",
            Capability::Graphics => "graphics",
            Capability::Video => "video",
            Capability::Display => "display",
            Capability::Ngx => "ngx",
            Capability::Compat32 => "compat32",
        }
    }

    /// The capability of that name, or none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Capability> {
        Capability::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

/// A set of [`Capability`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Every capability there is.
    pub const ALL: Capabilities = Capabilities::of(&Capability::ALL);

    /// The set of these.
    #[must_use]
    pub const fn of(list: &[Capability]) -> Capabilities {
        let mut bits = 0;
        let mut rest = list;
        while let [first, tail @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = tail;
        }
        Capabilities(bits)
    }

    /// Whether the two sets share a capability.
    #[must_use]
    pub const fn intersects(self, other: Capabilities) -> bool {
        !self.intersection(other).is_empty()
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The capabilities in the set, in the order of [`Capability::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.0 & (1 << *capability as u8) != 0)
    }

    /// Reads a list such as `compute,utility`, `compute+utility` or `all`; spaces around words are ignored.
    /// Returns the set and the words that are no capability.
    #[must_use]
    pub fn parse(list: &str) -> (Capabilities, Vec<&str>) {
        let mut set = Capabilities::default();
        let mut unknown = Vec::new();
        for word in list::split(list).filter(|word| !word.is_empty()) {
            if word == "all" {
                set = Capabilities::ALL;
            } else if let Some(capability) = Capability::from_name(word) {
                set = set.union(Capabilities::of(&[capability]));
            } else {
                unknown.push(word);
            }
        }
        (set, unknown)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Capabilities::ALL {
            return f.write_str("all");
        }
        for (position, capability) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(capability.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({self})")
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_spaces_repeats_and_unknown_words() {
        for (list, text, unknown) in [
            ("compute", "compute", vec![]),
            (" utility, compute,compute ", "compute,utility", vec![]),
            ("compute+utility", "compute,utility", vec![]),
            ("all", "all", vec![]),
            ("graphics,all", "all", vec![]),
            ("compute,gpu,Video", "compute", vec!["gpu", "Video"]),
            ("", "", vec![]),
        ] {
            let (set, rest) = Capabilities::parse(list);
            assert_eq!((set.to_string().as_str(), rest), (text, unknown), "{list:?}");
        }
    }
}
