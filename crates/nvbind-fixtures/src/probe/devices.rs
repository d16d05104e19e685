//! Which device nodes there are, and what opening each gives.
use super::{Expected, names};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use serde::Serialize;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Directories with nodes of the driver, and how the nodes' names begin.
const PLACES: &[(&str, &str)] =
    &[("/dev", "nvidia"), ("/dev/nvidia-caps", ""), ("/dev/nvidia-caps-imex-channels", ""), ("/dev/dri", "")];

#[derive(Debug, Serialize)]
pub struct Device {
    pub path: String,
    /// Its device number, `MAJOR:MINOR`, if it is there.
    pub number: Option<String>,
    /// `ok`, or the error's name.
    pub open: String,
}

pub(super) fn look(expected: &[Expected], unexpected: &mut Vec<String>) -> Vec<Device> {
    let found: Vec<Expected>;
    let wanted = if expected.is_empty() {
        found = find().into_iter().map(Expected::any).collect();
        &found
    } else {
        expected
    };
    wanted
        .iter()
        .map(|one| {
            let device = open(&one.name);
            if !is_expected(one.result.as_deref(), &device.open) {
                unexpected.push(format!(
                    "{}: open gives {}, expected {}",
                    device.path,
                    device.open,
                    one.result.as_deref().unwrap_or("ok or ENXIO")
                ));
            }
            device
        })
        .collect()
}

fn find() -> Vec<String> {
    let mut found = Vec::new();
    for (directory, start) in PLACES {
        for name in names(Path::new(directory)) {
            let path = format!("{directory}/{name}");
            if name.starts_with(start) && !Path::new(&path).is_dir() {
                found.push(path);
            }
        }
    }
    found
}

fn open(path: &str) -> Device {
    let number =
        std::fs::metadata(path).ok().map(|meta| format!("{}:{}", major(meta.rdev()), minor(meta.rdev())));
    let opened = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    Device { path: path.into(), number, open: name_of(opened.map(drop)) }
}

/// `ok`, or the name of the error (`EPERM`).
pub(super) fn name_of(result: std::io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(error) => error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number))),
    }
}

/// ENXIO comes from the kernel after every access check has passed: there is just no driver.
fn is_expected(expected: Option<&str>, result: &str) -> bool {
    match expected {
        Some(expected) => expected == result,
        None => matches!(result, "ok" | "ENXIO"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_be_without_driver_but_not_forbidden() {
        assert!(is_expected(None, "ENXIO"));
        assert!(!is_expected(None, "EPERM"));
        assert!(!is_expected(Some("EPERM"), "ok"));
    }

    #[test]
    fn a_node_that_is_not_there_is_reported_by_the_errors_name() {
        let mut unexpected = Vec::new();
        let expected = [Expected::parse("/dev/nvidia-not-there=ENOENT")];
        let devices = look(&expected, &mut unexpected);
        assert_eq!(devices[0].open, "ENOENT");
        assert_eq!(unexpected, Vec::<String>::new());
    }
}
