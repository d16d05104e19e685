//! The version, as each package format writes it: `0.2.0-dev` is before `0.2.0`, and `-` ends a version there.

/// For dpkg and rpm, to which what follows `~` is older than nothing.
pub(super) fn with_tilde(version: &str) -> String {
    before_release(version, "~")
}

/// For pacman, to which letters directly after a number are older than nothing (vercmp(8)).
pub(super) fn joined(version: &str) -> String {
    before_release(version, "")
}

/// The version with this before the part that says what it is before the release.
fn before_release(version: &str, separator: &str) -> String {
    match version.split_once('-') {
        Some((release, before)) => format!("{release}{separator}{}", before.replace('-', ".")),
        None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_a_release_has_no_hyphen() {
        for (version, tilde, pacman) in [
            ("0.1.0", "0.1.0", "0.1.0"),
            ("0.2.0-dev", "0.2.0~dev", "0.2.0dev"),
            ("1.0.0-rc.1", "1.0.0~rc.1", "1.0.0rc.1"),
            ("1.0.0-rc-2+b-1", "1.0.0~rc.2+b.1", "1.0.0rc.2+b.1"),
        ] {
            assert_eq!((with_tilde(version), joined(version)), (tilde.to_owned(), pacman.to_owned()));
        }
    }

    /// dpkg itself is asked, where it is installed: rpm and pacman compare by the same rules, but are not where tests run.
    #[test]
    fn dpkg_takes_it_for_older_than_the_release() {
        let compare = |older: &str, newer: &str| {
            let words = ["--compare-versions", older, "lt", newer];
            std::process::Command::new("dpkg").args(words).status().map(|status| status.success())
        };
        let dev = with_tilde("0.2.0-dev");
        for (older, newer) in [("0.1.0", dev.as_str()), (&dev, "0.2.0"), (&dev, &with_tilde("0.2.0-rc.1"))] {
            match compare(&format!("{older}-0nvbind1"), &format!("{newer}-0nvbind1")) {
                Ok(is_older) => assert!(is_older, "{older} {newer}"),
                Err(error) => println!("SKIPPED: there is no dpkg: {error}"),
            }
        }
    }
}
