//! Versions of programs, as they tell them.

use nvbind_core::child;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A program that tells its version does nothing else.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `MAJOR.MINOR.PATCH`; what follows, such as `-rc1`, does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) [u32; 3]);

impl Version {
    /// The first word that begins like one: `podman version 5.4.2`, `crun version 1.21`, `runc version 1.1.15+ds1`.
    pub(crate) fn find(text: &str) -> Option<Version> {
        text.split_whitespace().find_map(|word| {
            let end =
                word.find(|letter: char| letter != '.' && !letter.is_ascii_digit()).unwrap_or(word.len());
            let mut parts = word.get(..end)?.split('.').map(|part| part.parse().ok());
            let (major, minor) = (parts.next()??, parts.next()??);
            Some(Version([major, minor, parts.next().flatten().unwrap_or(0)]))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(to, "{major}.{minor}.{patch}")
    }
}

/// Asks a program for its version. It gets this process's environment: a rootless podman needs a home directory.
pub(crate) fn ask(program: &Path) -> Option<String> {
    let output = child::read_output_with_environment(Command::new(program).arg("--version"), TIMEOUT).ok()?;
    Some(String::from_utf8_lossy(&output).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_really_asked() {
        assert!(ask(Path::new(env!("CARGO"))).unwrap().starts_with("cargo "));
        assert_eq!(ask(Path::new("/nonexistent")), None);
        assert_eq!(ask(Path::new("/bin/false")), None);
    }

    #[test]
    fn versions_are_found_and_compared() {
        for (text, expected) in [
            ("podman version 4.3.1", Some([4, 3, 1])),
            ("podman version 5.0.0-rc3", Some([5, 0, 0])),
            ("crun version 1.21\ncommit: 10269840aa", Some([1, 21, 0])),
            ("runc version 1.1.15+ds1", Some([1, 1, 15])),
            ("podman version unknown", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(Version::find(text), expected.map(Version), "{text}");
        }
        assert!(Version([1, 9, 9]) < Version([1, 27, 0]));
    }
}
