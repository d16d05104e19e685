//! Versions of drivers and of CUDA, and which CUDA a driver brings.
//!
//! Only the driver itself could be asked for its CUDA version, by NVML or by calling libcuda. But a driver branch has
//! one CUDA version for its whole life, so a table of branches says the same without loading anything.

use std::cmp::Ordering;
use std::fmt;

/// The parts of a version; `470` and `470.0` are the same.
const PARTS: usize = 4;

/// Digits of a part: what fits in its type.
const DIGITS: usize = 9;

/// A version such as `12.4` or `570.172.08`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; PARTS]);

impl Version {
    /// Reads up to four numbers with dots between them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        let mut version = Version::default();
        let mut rest = Some(text);
        for part in &mut version.0 {
            let Some(digits) = rest else { break };
            let (digits, next) =
                digits.split_once('.').map_or((digits, None), |(one, rest)| (one, Some(rest)));
            if digits.len() > DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *part = digits.parse().ok()?;
            rest = next;
        }
        rest.is_none().then_some(version)
    }

    /// The version of two numbers.
    #[must_use]
    pub const fn of(major: u32, minor: u32) -> Version {
        Version([major, minor, 0, 0])
    }

    /// The first number: a driver's branch.
    #[must_use]
    pub const fn major(self) -> u32 {
        let [major, ..] = self.0;
        major
    }
}

/// As much of CUDA's version as is known of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuda {
    /// This version, by major and minor number.
    Exactly(u32, u32),
    /// This one or a newer one: the driver is newer than the table.
    AtLeast(u32, u32),
    /// The driver is older than the table.
    Unknown,
}

/// Driver branches, with the CUDA version that `nvidia-smi` prints for each (CUDA Toolkit release notes, "CUDA Toolkit
/// and Corresponding Driver Versions").
const BRANCHES: &[(u32, u32, u32)] = &[
    (440, 10, 2),
    (450, 11, 0),
    (455, 11, 1),
    (460, 11, 2),
    (465, 11, 3),
    (470, 11, 4),
    (495, 11, 5),
    (510, 11, 6),
    (515, 11, 7),
    (520, 11, 8),
    (525, 12, 0),
    (530, 12, 1),
    (535, 12, 2),
    (545, 12, 3),
    (550, 12, 4),
    (555, 12, 5),
    (560, 12, 6),
    (565, 12, 7),
    (570, 12, 8),
    (575, 12, 9),
    (580, 13, 0),
    (590, 13, 1),
    (595, 13, 2),
    (610, 13, 3),
    (615, 13, 4),
];

impl Cuda {
    /// What a driver brings. A branch between two of the table counts as the older one.
    #[must_use]
    pub fn of_driver(driver: Version) -> Cuda {
        let branch = driver.major();
        let known = BRANCHES.iter().rev().find(|(first, _, _)| *first <= branch);
        let newest = BRANCHES.last().is_some_and(|(newest, _, _)| *newest < branch);
        match known {
            Some(&(_, major, minor)) if newest => Cuda::AtLeast(major, minor),
            Some(&(_, major, minor)) => Cuda::Exactly(major, minor),
            None => Cuda::Unknown,
        }
    }

    /// The version that `cuda.h` counts as one number: 12080 is 12.8.
    #[must_use]
    pub const fn of_number(number: u32) -> Cuda {
        Cuda::Exactly(number / 1000, number % 1000 / 10)
    }

    /// How it may compare with a version: one ordering where that is known, several where not.
    #[must_use]
    pub fn compare(self, other: Version) -> &'static [Ordering] {
        use Ordering::{Equal, Greater, Less};
        let is = |major, minor| Version::of(major, minor).cmp(&other);
        match self {
            Cuda::Exactly(major, minor) => one(is(major, minor)),
            Cuda::AtLeast(major, minor) => match is(major, minor) {
                Greater => &[Greater],
                Equal => &[Equal, Greater],
                Less => &[Less, Equal, Greater],
            },
            Cuda::Unknown => &[Less, Equal, Greater],
        }
    }
}

/// An ordering as the only possible one.
pub(crate) const fn one(ordering: Ordering) -> &'static [Ordering] {
    match ordering {
        Ordering::Less => &[Ordering::Less],
        Ordering::Equal => &[Ordering::Equal],
        Ordering::Greater => &[Ordering::Greater],
    }
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cuda::Exactly(major, minor) => write!(f, "CUDA {major}.{minor}"),
            Cuda::AtLeast(major, minor) => write!(f, "CUDA {major}.{minor} or newer"),
            Cuda::Unknown => f.write_str("CUDA version not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        assert!(version("12.10") > version("12.9"));
        assert!(version("570.172.08") < version("571"));
        assert_eq!(version("470"), version("470.0.0.0"));
        assert_eq!(version("570.172.08").major(), 570);
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in
            ["", ".", "12.", ".4", "12..4", "+12", "12.4a", " 12", "1.2.3.4.5", "1.2.3.4.", "1000000000"]
        {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_branch_has_the_cuda_version_of_its_row_or_of_the_older_one() {
        for (driver, cuda) in [
            ("418.39", Cuda::Unknown),
            ("450.36.06", Cuda::Exactly(11, 0)),
            ("535.261.03", Cuda::Exactly(12, 2)),
            ("570.172.08", Cuda::Exactly(12, 8)),
            ("575.57.08", Cuda::Exactly(12, 9)),
            ("585.10", Cuda::Exactly(13, 0)),
            ("590.44.01", Cuda::Exactly(13, 1)),
            ("615.71.09", Cuda::Exactly(13, 4)),
            ("700.1", Cuda::AtLeast(13, 4)),
        ] {
            assert_eq!(Cuda::of_driver(version(driver)), cuda, "{driver}");
        }
        assert!(BRANCHES.is_sorted(), "the newest branch stands last");
    }

    #[test]
    fn a_driver_newer_than_the_table_compares_with_older_versions_only() {
        use Ordering::{Equal, Greater, Less};
        let newer = Cuda::AtLeast(13, 4);
        assert_eq!(newer.compare(version("12.4")), [Greater]);
        assert_eq!(newer.compare(version("13.4")), [Equal, Greater]);
        assert_eq!(newer.compare(version("14.0")), [Less, Equal, Greater]);
        assert_eq!(Cuda::Exactly(12, 8).compare(version("12.8.0")), [Equal]);
    }
}
