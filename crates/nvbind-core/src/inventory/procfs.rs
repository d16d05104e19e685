//! What the kernel module says of the driver as a whole, in files that a container gets copies of.

use crate::host::{self, Found as _, Tree};

/// The driver's directory.
pub const DIRECTORY: &str = "/proc/driver/nvidia";

/// Files that say nothing of a single GPU.
const FILES: [&str; 3] = ["version", "params", "registry"];

/// The parameter by which the driver's libraries make device nodes, through `nvidia-modprobe` or themselves. In a
/// container they would make those of GPUs that it was not given.
const MODIFY: &str = "ModifyDeviceFiles";

/// Names of files, with what a container reads in each.
type Files = Vec<(&'static str, String)>;

/// Owner and permissions of the nodes that the driver's own tools make (`nvidia-modprobe-utils.c` of NVIDIA's
/// nvidia-modprobe, which takes the defaults where the module says nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// The user id of their owner.
    pub uid: u32,
    /// The id of their group.
    pub gid: u32,
    /// Their permission bits.
    pub mode: u32,
    /// Whether nodes may be made at all: an administrator can keep that to udev.
    pub may_be_made: bool,
}

impl Nodes {
    /// As the file says, or by the defaults where it says nothing.
    pub(super) fn parse(params: &str) -> Nodes {
        let number = |name: &str| {
            params.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                if key == name { value.trim().parse::<u32>().ok() } else { None }
            })
        };
        Nodes {
            uid: number("DeviceFileUID").unwrap_or(0),
            gid: number("DeviceFileGID").unwrap_or(0),
            mode: number("DeviceFileMode").unwrap_or(0o666) & 0o777,
            may_be_made: number(MODIFY) != Some(0),
        }
    }
}

/// The files that are there, by name, as a container sees them; and how nodes are made. One that is there and cannot
/// be read is a failure: its defaults would be somebody else's.
pub(super) fn read(proc: &Tree) -> Result<(Files, Nodes), host::Error> {
    let mut files = Files::new();
    for name in FILES {
        let text = proc.text(&format!("{DIRECTORY}/{name}")).found()?;
        files.extend(text.map(|text| (name, text)));
    }
    let params = files.iter_mut().find(|(name, _)| *name == "params").map(|(_, text)| text);
    let nodes = Nodes::parse(params.as_deref().map_or("", |text| text));
    if let Some(text) = params {
        *text = without_modification(text);
    }
    Ok((files, nodes))
}

pub(super) fn without_modification(params: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((MODIFY, _)) => format!("{MODIFY}: 0\n"),
        _ => format!("{line}\n"),
    };
    params.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use std::fs;

    #[test]
    fn nodes_are_made_as_the_module_says_or_by_the_defaults() {
        let defaults = Nodes { uid: 0, gid: 0, mode: 0o666, may_be_made: true };
        for (params, nodes) in [
            ("", defaults),
            ("DeviceFileMode: x\nDeviceFileUID: -1\n", defaults),
            (
                "ModifyDeviceFiles: 0\nDeviceFileUID: 1\nDeviceFileGID: 44\nDeviceFileMode: 432\n",
                Nodes { uid: 1, gid: 44, mode: 0o660, may_be_made: false },
            ),
        ] {
            assert_eq!(Nodes::parse(params), nodes, "{params}");
        }
    }

    #[test]
    fn a_file_that_is_there_and_cannot_be_read_is_a_failure_and_a_missing_one_is_not() {
        let machine = Machine::new();
        let (files, _) = read(&machine.host().proc).unwrap();
        assert!(!files.iter().any(|(name, _)| *name == "params"), "{files:?}");
        fs::create_dir_all(machine.path("proc/driver/nvidia/params")).unwrap();
        let error = read(&machine.host().proc).unwrap_err();
        assert!(error.to_string().ends_with("/proc/driver/nvidia/params"), "{error}");
    }

    #[test]
    fn only_the_right_to_make_nodes_is_taken() {
        let params =
            "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileMode: 438\nRegistryDwords: \"\"\n";
        let expected =
            "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 0\nDeviceFileMode: 438\nRegistryDwords: \"\"\n";
        assert_eq!(without_modification(params), expected);
    }
}
