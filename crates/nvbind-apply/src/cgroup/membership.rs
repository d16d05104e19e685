//! Which cgroups of a container filter its devices, found from `/proc/PID/cgroup` (cgroups(7)) and the mounts.

use crate::mountinfo::{self, Mount};
use std::path::{Path, PathBuf};

/// The generation of the hierarchy that filters devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A process's place in the hierarchy that filters its devices.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) version: Version,
    /// Path of the cgroup as the reader's cgroup namespace shows it.
    pub(super) cgroup: String,
    /// Where that cgroup may be found as a directory: one for each fitting mount, the newest mount first.
    pub(super) places: Vec<Place>,
}

/// A cgroup as a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The directory.
    pub(super) directory: PathBuf,
    /// That of the topmost cgroup which the mount shows.
    pub(super) top: PathBuf,
}

impl Place {
    /// The cgroups that this one is in, without the `depth` innermost.
    pub(super) fn around(&self, depth: usize) -> impl Iterator<Item = &Path> {
        self.directory.ancestors().skip(depth).take_while(|directory| directory.starts_with(&self.top))
    }
}

/// Finds the hierarchy: v1 where a `devices` controller is mounted, as the runtimes do, or else v2.
/// `None` if neither is mounted.
pub(super) fn find(cgroups: &str, mounts: &str) -> Option<Membership> {
    [Version::V1, Version::V2].into_iter().find_map(|version| {
        let cgroup = cgroups.lines().find_map(|line| cgroup_of(line, version))?;
        let mounts = mountinfo::mounts(mounts).rev();
        let places: Vec<_> = mounts.filter_map(|mount| place_of(&mount, version, cgroup)).collect();
        (!places.is_empty()).then(|| Membership { version, cgroup: cgroup.to_owned(), places })
    })
}

impl Membership {
    /// How many cgroups, from the process's own upwards, are the container's alone: for
    /// `/machine.slice/libpod-ID.scope/container` two. None if the process shares another's.
    pub(super) fn depth(&self, id: &str) -> usize {
        let names = self.cgroup.split('/').filter(|name| !name.is_empty());
        names.skip_while(|name| !is_of(name, id)).count()
    }

    /// The systemd unit whose cgroup is the container's topmost, if it looks like one.
    pub(super) fn scope(&self, id: &str) -> Option<&str> {
        self.cgroup.split('/').find(|name| is_of(name, id)).filter(|name| name.ends_with(".scope"))
    }
}

/// Whether a cgroup of this name is the container's: `ID`, `libpod-ID`, `libpod-ID.scope`, `crio-ID.scope`.
fn is_of(name: &str, id: &str) -> bool {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    !id.is_empty() && name.strip_suffix(id).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-'))
}

/// The path in a line of `/proc/PID/cgroup`, if it is the line of this hierarchy.
fn cgroup_of(line: &str, version: Version) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let fits = match version {
        Version::V1 => controllers.split(',').any(|name| name == "devices"),
        Version::V2 => hierarchy == "0" && controllers.is_empty(),
    };
    fits.then_some(path)
}

/// The directory of `cgroup` under the mount, if it is of this hierarchy and shows that part of it.
fn place_of(mount: &Mount<'_>, version: Version, cgroup: &str) -> Option<Place> {
    let fits = match version {
        Version::V1 => mount.kind == "cgroup" && mount.options.split(',').any(|name| name == "devices"),
        Version::V2 => mount.kind == "cgroup2",
    };
    // Names that start with ".." lie outside the reader's cgroup namespace.
    let below = Path::new(cgroup).strip_prefix(&*mount.root).ok().filter(|below| !below.starts_with(".."))?;
    let top = PathBuf::from(&*mount.point);
    fits.then(|| Place { directory: top.join(below), top })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f0c6c1d";
    const PURE_V2: &str = "24 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
32 24 0:28 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
";
    const CGROUPS: &str =
        "12:pids:/p\n7:name=systemd:/s\n5:cpu,devices:/d/libpod-4f0c6c1d\n0::/u/libpod-4f0c6c1d\n";

    fn found(version: Version, cgroup: &str, directories: &[&str]) -> Option<Membership> {
        let tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/devices", "/sys/fs/cgroup", "/with space"];
        let top_of = |directory: &Path| tops.iter().find(|top| directory.starts_with(top)).unwrap().into();
        let place = |path: &&str| {
            let directory = PathBuf::from(path);
            Place { top: top_of(&directory), directory }
        };
        let places = directories.iter().map(place).collect();
        Some(Membership { version, cgroup: cgroup.to_owned(), places })
    }

    #[test]
    fn v1_is_used_only_where_its_devices_controller_is_mounted() {
        let v1 = "/sys/fs/cgroup/devices/d/libpod-4f0c6c1d";
        let v2 = "/sys/fs/cgroup/u/libpod-4f0c6c1d";
        assert_eq!(find(CGROUPS, HYBRID), found(Version::V1, "/d/libpod-4f0c6c1d", &[v1]));
        assert_eq!(find(CGROUPS, PURE_V2), found(Version::V2, "/u/libpod-4f0c6c1d", &[v2]));
        assert_eq!(
            find("0::/u/libpod-4f0c6c1d\n", HYBRID),
            found(Version::V2, "/u/libpod-4f0c6c1d", &["/sys/fs/cgroup/unified/u/libpod-4f0c6c1d"])
        );
    }

    #[test]
    fn no_mounted_hierarchy_is_no_membership() {
        assert_eq!(find(CGROUPS, "24 1 0:22 / / rw - ext4 /dev/vda rw\n"), None);
        assert_eq!(find("", HYBRID), None);
    }

    #[test]
    fn only_mounts_that_show_the_cgroup_count_and_the_newest_comes_first() {
        let mounts = "\
24 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
25 1 0:22 /other /elsewhere rw - cgroup2 cgroup2 rw
26 1 0:22 /u /with\\040space rw - cgroup2 cgroup2 rw
";
        let directories = ["/with space/libpod-4f0c6c1d", "/sys/fs/cgroup/u/libpod-4f0c6c1d"];
        assert_eq!(find(CGROUPS, mounts), found(Version::V2, "/u/libpod-4f0c6c1d", &directories));
    }

    #[test]
    fn a_cgroup_outside_the_readers_namespace_is_not_found() {
        assert_eq!(find("0::/../libpod-4f0c6c1d\n", PURE_V2), None);
    }

    #[test]
    fn a_cgroup_is_the_containers_by_its_name_and_everything_below_it_too() {
        let table = [
            ("/machine.slice/libpod-4f0c6c1d.scope/container", 2, Some("libpod-4f0c6c1d.scope")),
            ("/machine.slice/libpod-4f0c6c1d.scope", 1, Some("libpod-4f0c6c1d.scope")),
            ("/libpod_parent/libpod-4f0c6c1d", 1, None),
            ("/system.slice/web.service/libpod-payload-4f0c6c1d", 1, None),
            ("/4f0c6c1d/a/b", 3, None),
            ("/user.slice/session-1.scope", 0, None),
            ("/libpod-4f0c6c1d0.scope", 0, None),
            ("/libpod-4f0c6c1d.service", 0, None),
            ("/odd-", 0, None),
            ("/", 0, None),
        ];
        for (cgroup, depth, scope) in table {
            let membership = found(Version::V2, cgroup, &[]).unwrap();
            assert_eq!((membership.depth(ID), membership.scope(ID)), (depth, scope), "{cgroup}");
            assert_eq!((membership.depth(""), membership.scope("")), (0, None), "{cgroup} and no id");
        }
    }
}
