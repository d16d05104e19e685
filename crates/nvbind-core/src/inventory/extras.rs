//! The sockets of the driver's daemons, and what this host has of the extras.

use super::{DeviceNode, Majors};
use crate::capability::Capabilities;
use crate::catalogue::{EXTRA_NODES, ExtraNode, Number, SHARED, SOCKETS, Shared, Socket};
use crate::extras::Extras;
use crate::host::{self, Found as _, Host, Tree};
use rustix::fs::{FileType, major, minor};

const MISC: &str = "/proc/misc";

/// The major number of miscellaneous devices (Linux, `include/uapi/linux/major.h`, `MISC_MAJOR`).
pub(super) const MISC_MAJOR: u32 = 10;

/// A socket that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Its row in the catalogue.
    pub socket: &'static Socket,
    /// Path inside the driver root.
    pub host: &'static str,
}

/// The daemons' sockets. Not reached by links: those would have to be trusted, too.
pub(super) fn read_sockets(files: &Tree, wanted: Capabilities) -> Result<Vec<SocketFile>, host::Error> {
    let mut sockets = Vec::new();
    for socket in SOCKETS.iter().filter(|socket| socket.capabilities.intersects(wanted)) {
        for host in socket.host {
            if is_socket(files, host)? {
                sockets.push(SocketFile { socket, host });
                break;
            }
        }
    }
    Ok(sockets)
}

fn is_socket(files: &Tree, path: &str) -> Result<bool, host::Error> {
    let stat = match files.unlinked_stat(path) {
        // A part of the path is a link.
        Err(error) if error.is_link() => None,
        stat => stat.found()?,
    };
    Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket))
}

/// The shared directories of the wanted extras: whatever has their names, which is checked when it is used.
pub(super) fn read_shared(files: &Tree, wanted: &Extras) -> Vec<&'static Shared> {
    let is_there = |row: &&Shared| match files.unlinked_stat(row.host) {
        Ok(_) => true,
        Err(error) => !error.is_not_found(),
    };
    SHARED.iter().filter(|row| wanted.has(row.extra)).filter(is_there).collect()
}

/// The nodes of the wanted extras whose kernel modules are loaded, with the numbers that they have to have.
pub(super) fn read_nodes(
    host: &Host,
    majors: &Majors,
    wanted: &Extras,
) -> Result<Vec<(&'static ExtraNode, DeviceNode)>, host::Error> {
    let mut nodes = Vec::new();
    for row in EXTRA_NODES.iter().filter(|row| wanted.has(row.extra)) {
        nodes.extend(nodes_of(host, majors, row)?.into_iter().map(|node| (row, node)));
    }
    Ok(nodes)
}

fn nodes_of(host: &Host, majors: &Majors, row: &ExtraNode) -> Result<Vec<DeviceNode>, host::Error> {
    let mut found: Vec<(Option<u32>, String)> = match row.name.strip_suffix('*') {
        Some(prefix) => {
            let names = host.dev.names(row.directory).found()?.unwrap_or_default();
            let number = |name: &String| name.strip_prefix(prefix).and_then(canonical);
            names.into_iter().filter_map(|name| Some((Some(number(&name)?), name))).collect()
        }
        None => vec![(None, row.name.to_owned())],
    };
    found.sort();
    let mut nodes = Vec::new();
    for (number, name) in found {
        let path = format!("{}/{name}", row.directory);
        // What stands there is compared with this when it is used.
        let stat = || host.dev.stat(&path).found();
        let driver_major = |driver| majors.of(driver).next();
        let numbers = match row.number {
            Number::Fixed(driver, minor) => driver_major(driver).map(|major| (major, minor)),
            Number::Named(driver) => driver_major(driver).zip(number),
            Number::Any(driver) => match (driver_major(driver), stat()?) {
                (Some(first), Some(stat)) => {
                    let is_its = |number: &u32| *number == major(stat.st_rdev);
                    Some((majors.of(driver).find(is_its).unwrap_or(first), minor(stat.st_rdev)))
                }
                _ => None,
            },
            Number::Misc(name) => misc(&host.proc, name)?.map(|minor| (MISC_MAJOR, minor)),
        };
        let Some((major, minor)) = numbers else { continue };
        let is_there = matches!(row.number, Number::Named(_)) || stat()?.is_some();
        if is_there {
            nodes.push(DeviceNode { path, major, minor });
        }
    }
    Ok(nodes)
}

/// A number as the kernel writes it: without a sign, and without zeros in front.
fn canonical(digits: &str) -> Option<u32> {
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The minor number of a miscellaneous device. Lines of `/proc/misc` are a number and a name.
pub(super) fn misc(proc: &Tree, wanted: &str) -> Result<Option<u32>, host::Error> {
    Ok(find_misc(&proc.text(MISC).found()?.unwrap_or_default(), wanted))
}

pub(super) fn find_misc(text: &str, wanted: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let (minor, name) = line.trim().split_once(' ')?;
        (name.trim() == wanted).then(|| minor.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    const DEVICES: &str = "Character devices:\n195 nvidia\n231 infiniband_verbs\n240 nvidia-caps-imex-channels\n\
                           241 nvidia-nvswitch\n242 nvidia-fs\n243 gdrdrv\n244 infiniband_verbs\n\nBlock devices:\n";

    fn machine(nodes: &[&str]) -> Machine {
        let machine = Machine::new();
        machine.write("proc/devices", DEVICES);
        machine.write("proc/misc", " 58 rdma_cm\n125 dxg\n");
        for node in nodes {
            machine.write(node, "");
        }
        machine
    }

    fn found(machine: &Machine, list: &str) -> Vec<(String, u32, u32)> {
        let host = machine.host();
        let majors = Majors::read(&host.proc).unwrap();
        let nodes = read_nodes(&host, &majors, &Extras::parse(list).0).unwrap();
        nodes.into_iter().map(|(_, node)| (node.path, node.major, node.minor)).collect()
    }

    #[test]
    fn numbers_follow_from_the_row_and_not_from_what_stands_there() {
        let machine = machine(&[
            "dev/nvidia-nvswitchctl",
            "dev/nvidia-nvswitch0",
            "dev/nvidia-nvswitch10",
            "dev/nvidia-nvswitch2",
            "dev/gdrdrv",
            "dev/infiniband/rdma_cm",
            "dev/nvidia-fs3",
        ]);
        let node = |path: &str, major, minor| (path.to_owned(), major, minor);
        assert_eq!(
            found(&machine, "nvswitch"),
            [
                node("/dev/nvidia-nvswitchctl", 241, 255),
                node("/dev/nvidia-nvswitch0", 241, 0),
                node("/dev/nvidia-nvswitch2", 241, 2),
                node("/dev/nvidia-nvswitch10", 241, 10),
            ]
        );
        assert_eq!(found(&machine, "gdrcopy"), [node("/dev/gdrdrv", 243, 0)]);
        assert_eq!(found(&machine, "infiniband"), [node("/dev/infiniband/rdma_cm", 10, 58)]);
        assert_eq!(found(&machine, "gds"), [node("/dev/nvidia-fs3", 242, 0)]);
        assert_eq!(found(&machine, "mps"), []);
    }

    #[test]
    fn only_names_that_the_kernel_writes_are_nodes() {
        let channels = "dev/nvidia-caps-imex-channels/channel";
        let names = ["0", "07", "+1", "x", "", "99999999999", "4"].map(|name| format!("{channels}{name}"));
        let machine = machine(&names.each_ref().map(String::as_str));
        let numbers: Vec<u32> = found(&machine, "imex:4").into_iter().map(|(_, _, minor)| minor).collect();
        assert_eq!(numbers, [0, 4]);
    }

    #[test]
    fn without_its_module_a_node_is_none() {
        let machine = machine(&["dev/gdrdrv", "dev/nvidia-fs0", "dev/infiniband/rdma_cm"]);
        machine.write("proc/devices", "Character devices:\n195 nvidia\n\n");
        machine.write("proc/misc", "");
        assert_eq!(found(&machine, "gdrcopy,gds,infiniband"), []);
    }

    #[test]
    fn a_socket_is_one_and_not_reached_by_a_link() {
        let machine = Machine::new();
        let files = || machine.host().files;
        let hosts = || -> Vec<&str> {
            read_sockets(&files(), Capabilities::ALL).unwrap().into_iter().map(|socket| socket.host).collect()
        };
        machine.write("run/nvidia-persistenced/socket", "a file");
        assert_eq!(hosts(), Vec::<&str>::new());
        std::fs::create_dir_all(machine.path("var/run/nvidia-persistenced")).unwrap();
        let path = machine.path("var/run/nvidia-persistenced/socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        machine.link("/run/nvidia-fabricmanager", "/var/run/nvidia-persistenced");
        machine.link("/var/run/nvidia-fabricmanager/socket", "/var/run/nvidia-persistenced/socket");
        assert_eq!(hosts(), ["/var/run/nvidia-persistenced/socket"]);
        assert_eq!(read_sockets(&files(), Capabilities::parse("compute").0).unwrap(), []);
    }

    #[test]
    fn a_shared_directory_is_looked_for_only_when_it_is_asked_for() {
        let machine = Machine::new();
        let names = |list: &str| {
            let rows = read_shared(&machine.host().files, &Extras::parse(list).0);
            rows.into_iter().map(|row| row.host).collect::<Vec<_>>()
        };
        assert_eq!(names("mps"), Vec::<&str>::new());
        // A link, too, is found: it is refused when it is used.
        machine.link("/tmp/nvidia-mps", "/etc");
        assert_eq!(names("mps"), ["/tmp/nvidia-mps"]);
        assert_eq!(names("gds"), Vec::<&str>::new());
    }
}
