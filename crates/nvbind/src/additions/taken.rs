//! What a command line has already, of which podman takes only one: a place in the container, a limit.

use crate::podman::options::Options;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// podman takes the host's value of every limit.
const HOSTS_LIMITS: &str = "host";

/// The places and limits of some options.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    places: BTreeSet<PathBuf>,
    limits: BTreeSet<String>,
}

impl Taken {
    /// Adds those of these options.
    pub(super) fn extend(&mut self, options: &Options) {
        for given in options.iter() {
            if let Some(value) = given.value.as_deref() {
                self.add(&given.name, value);
            }
        }
    }

    /// Adds those of an option with this value.
    pub(super) fn add(&mut self, option: &str, value: &OsStr) {
        let value = value.to_string_lossy();
        match option {
            "volume" | "device" => {
                let mut parts = value.split(':');
                let source = parts.next();
                // A device's place may be left out, and is the host's then: `/dev/x`, `/dev/x:rw`.
                let place = parts.next().filter(|place| place.starts_with('/')).or(source);
                self.places.extend(place.map(clean));
            }
            "tmpfs" => self.places.extend(value.split(':').next().map(clean)),
            "mount" => {
                let keys = ["target", "destination", "dst"];
                let fields = value.split(',').filter_map(|field| field.split_once('='));
                self.places
                    .extend(fields.filter(|(key, _)| keys.contains(key)).map(|(_, place)| clean(place)));
            }
            "ulimit" => {
                self.limits.extend(value.split('=').next().map(str::to_owned));
            }
            _ => {}
        }
    }

    /// Whether something is at this place.
    pub(super) fn has_place(&self, place: &Path) -> bool {
        self.places.contains(&place.components().collect::<PathBuf>())
    }

    /// Whether this limit is set.
    pub(super) fn has_limit(&self, name: &str) -> bool {
        self.limits.contains(name) || self.limits.contains(HOSTS_LIMITS)
    }
}

/// A place without a slash at its end, or two in a row.
fn clean(place: &str) -> PathBuf {
    Path::new(place).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podman::command_line::CommandLine;
    use std::ffi::OsString;

    fn taken(line: &str) -> Taken {
        let mut taken = Taken::default();
        taken.extend(&CommandLine::parse(line.split(' ').map(OsString::from)).unwrap().options);
        taken
    }

    #[test]
    fn places_are_seen_however_they_are_typed() {
        for line in [
            "-v /a:/place I",
            "-itv/a:/place/:ro,z I",
            "--volume=name:/place I",
            "-v /place I",
            "--device /dev/x:/place:rw I",
            "--device /place:rw I",
            "--tmpfs /place:size=1m I",
            "--mount type=bind,src=/a,target=/place I",
            "--mount type=tmpfs,dst=/place I",
            "--mount=type=volume,source=a,destination=//place,ro I",
        ] {
            assert!(taken(line).has_place(Path::new("/place")), "{line}");
        }
        for line in ["-v /place:/b I", "I -v /a:/place", "-e /place I"] {
            assert!(!taken(line).has_place(Path::new("/place")), "{line}");
        }
    }

    #[test]
    fn the_hosts_limits_are_all_limits() {
        for (line, expected) in [
            ("--ulimit memlock=1:2 I", [true, false]),
            ("--ulimit=stack=5 I", [false, true]),
            ("--ulimit host I", [true, true]),
            ("I --ulimit host", [false, false]),
        ] {
            let taken = taken(line);
            assert_eq!(["memlock", "stack"].map(|name| taken.has_limit(name)), expected, "{line}");
        }
    }
}
