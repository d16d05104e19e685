//! Device numbers: the majors of `/proc/devices`, and the nodes that follow from them.

use super::Error;
use crate::catalogue::{CONTROL_NODES, ControlNode, GPU_DRIVERS};
use crate::host::Tree;

const PATH: &str = "/proc/devices";

/// A character device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNode {
    /// Path on the host (below the dev root) and in the container.
    pub path: String,
    /// The major number, which stands for the driver.
    pub major: u32,
    /// The minor number, which the driver gave it.
    pub minor: u32,
}

/// The character devices' majors by driver name.
#[derive(Clone, Debug)]
pub struct Majors {
    by_name: Vec<(String, u32)>,
    /// The major number of `/dev/nvidiaN`.
    pub gpu: u32,
}

impl Majors {
    pub(super) fn read(proc: &Tree) -> Result<Majors, Error> {
        let text = proc.text(PATH)?;
        Majors::parse(&text).ok_or_else(|| Error::NoMajor { path: proc.display(PATH) })
    }

    /// Lines of `Character devices:` are a number and a name; the block devices follow after an empty line.
    pub(super) fn parse(text: &str) -> Option<Majors> {
        let lines = text.lines().skip_while(|line| *line != "Character devices:").skip(1);
        let by_name: Vec<(String, u32)> = lines
            .take_while(|line| !line.trim().is_empty())
            .filter_map(|line| {
                let (major, name) = line.trim().split_once(' ')?;
                Some((name.trim().to_owned(), major.parse().ok()?))
            })
            .collect();
        let gpu = major(&by_name, GPU_DRIVERS)?;
        Some(Majors { by_name, gpu })
    }

    pub(super) fn control_nodes(&self) -> Vec<(&'static ControlNode, Option<DeviceNode>)> {
        let node = |row: &'static ControlNode| {
            let major = major(&self.by_name, row.drivers)?;
            Some(DeviceNode { path: row.path.to_owned(), major, minor: row.minor })
        };
        CONTROL_NODES.iter().map(|row| (row, node(row))).collect()
    }

    /// The major numbers of a driver.
    pub(super) fn of(&self, driver: &'static str) -> impl Iterator<Item = u32> {
        self.by_name.iter().filter(move |(name, _)| name == driver).map(|(_, major)| *major)
    }
}

fn major(by_name: &[(String, u32)], drivers: &[&str]) -> Option<u32> {
    drivers.iter().find_map(|driver| by_name.iter().find(|(name, _)| name == driver).map(|(_, major)| *major))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbers = Option<(u32, u32)>;

    fn paths_and_numbers(text: &str) -> Option<Vec<(String, Numbers)>> {
        let nodes = Majors::parse(text)?.control_nodes();
        Some(
            nodes
                .into_iter()
                .map(|(row, node)| (row.path.to_owned(), node.map(|n| (n.major, n.minor))))
                .collect(),
        )
    }

    #[test]
    fn majors_come_from_the_character_devices_alone() {
        let text = "Character devices:\n  1 mem\n195 nvidia\n195 nvidia-modeset\n511 nvidia-uvm\n\nBlock devices:\n195 x\n";
        let expected = [
            ("/dev/nvidiactl", Some((195, 255))),
            ("/dev/nvidia-uvm", Some((511, 0))),
            ("/dev/nvidia-uvm-tools", Some((511, 1))),
            ("/dev/nvidia-modeset", Some((195, 254))),
        ];
        let expected = expected.map(|(path, numbers)| (path.to_owned(), numbers));
        assert_eq!(paths_and_numbers(text).unwrap(), expected);
    }

    #[test]
    fn older_drivers_and_missing_modules_are_told_apart() {
        let text = "Character devices:\n195 nvidia-frontend\n\nBlock devices:\n511 nvidia-uvm\n";
        assert_eq!(Majors::parse(text).unwrap().gpu, 195);
        let expected = [
            ("/dev/nvidiactl", Some((195, 255))),
            ("/dev/nvidia-uvm", None),
            ("/dev/nvidia-uvm-tools", None),
            ("/dev/nvidia-modeset", Some((195, 254))),
        ];
        let expected = expected.map(|(path, numbers)| (path.to_owned(), numbers));
        assert_eq!(paths_and_numbers(text).unwrap(), expected);
        assert_eq!(paths_and_numbers("Character devices:\n  1 mem\n"), None);
        assert_eq!(paths_and_numbers("195 nvidia\n"), None);
    }
}
