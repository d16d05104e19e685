//! The loaded driver's version, from `/proc/driver/nvidia/version`.

use super::{Driver, Error};
use crate::host::{Found as _, Tree};

const PATH: &str = "/proc/driver/nvidia/version";

pub(super) fn read(proc: &Tree) -> Result<Driver, Error> {
    let Some(text) = proc.text(PATH).found()? else {
        return Err(Error::NotLoaded { path: proc.display(PATH) });
    };
    parse(&text).ok_or_else(|| Error::Version { path: proc.display(PATH) })
}

/// The first line reads `NVRM version: NVIDIA UNIX [Open] x86_64 Kernel Module [for x86_64]  VERSION  DATE`.
pub(super) fn parse(text: &str) -> Option<Driver> {
    let line = text.lines().find_map(|line| line.strip_prefix("NVRM version:"))?;
    let is_version = |word: &&str| {
        let parts: Vec<&str> = word.split('.').collect();
        (2..=4).contains(&parts.len())
            && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let version = line.split_whitespace().find(is_version)?.to_owned();
    Some(Driver { version, open_modules: line.split_whitespace().any(|word| word == "Open") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_flavours_of_the_module_are_read() {
        for (text, version, open_modules) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Thu Jun  5 2025\nGCC version:  gcc 12.2.0\n",
                "535.261.03",
                false,
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.172.08  Release Build  (root@host)  Tue\n",
                "570.172.08",
                true,
            ),
        ] {
            assert_eq!(parse(text).unwrap(), Driver { version: version.to_owned(), open_modules });
        }
    }

    #[test]
    fn a_text_without_a_version_is_none() {
        for text in
            ["", "NVRM version: NVIDIA UNIX\n", "GCC version: gcc 12.2.0\n", "NVRM version: 535..1 /../etc 1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
