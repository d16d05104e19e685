//! Whether a user may use the device nodes of a plan.

use super::Error;
use nix::unistd::{Gid, Group};
use nvbind_core::host::{Host, Stat};
use nvbind_core::node_access::{Access, Needed};
use nvbind_core::plan::{Device, Plan};

/// Whose containers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Their number.
    pub(crate) uid: u32,
    /// Their groups.
    pub(crate) groups: Vec<u32>,
}

impl User {
    /// The one of this process.
    #[must_use]
    pub(crate) fn this() -> User {
        let mut groups = nix::unistd::getgroups().unwrap_or_default();
        groups.push(nix::unistd::getegid());
        User { uid: nix::unistd::geteuid().as_raw(), groups: groups.into_iter().map(Gid::as_raw).collect() }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// What the user may do with a node.
    pub(crate) fn access(&self, node: &str, stat: &Stat) -> Access {
        let is_in_group = || self.groups.contains(&stat.st_gid);
        let access = Needed::of(node).access(stat.st_mode, stat.st_uid == self.uid, is_in_group);
        if self.is_root() { Access::Granted } else { access }
    }
}

/// Fails if a node of the plan is not there or not for this user, as the hook would.
pub(super) fn require_nodes(host: &Host, plan: &Plan, user: &User, keeps_groups: bool) -> Result<(), Error> {
    for Device { node, remedy, made_as, .. } in &plan.devices {
        let path = host.dev.display(&node.path);
        let stat = match host.dev.stat(&node.path) {
            Ok(stat) => stat,
            // Made by the hook.
            Err(error)
                if error.is_not_found()
                    && user.is_root()
                    && made_as.is_some_and(|nodes| nodes.may_be_made) =>
            {
                continue;
            }
            Err(error) if error.is_not_found() => return Err(Error::NoNode { path, remedy }),
            Err(error) => return Err(error.into()),
        };
        let mode = stat.st_mode & 0o777;
        match user.access(&node.path, &stat) {
            Access::Granted => {}
            Access::ByGroup if keeps_groups => {}
            Access::ByGroup => return Err(Error::GroupLost { path, group: group(stat.st_gid), mode }),
            Access::OthersGroup => return Err(Error::GroupOnly { path, group: group(stat.st_gid), mode }),
            Access::OwnersAlone => {
                return Err(Error::OwnerOnly { path, mode, needed: Needed::of(&node.path) });
            }
        }
    }
    Ok(())
}

/// A group by its name, else by its number.
fn group(gid: u32) -> String {
    let named = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    named.map_or_else(|| format!("group {gid}"), |group| format!("group {}", group.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use nvbind_core::capability::Capabilities;
    use nvbind_core::exit::Exit;
    use nvbind_core::extras::Extras;
    use nvbind_core::inventory::Inventory;
    use nvbind_core::plan;
    use nvbind_core::request::Request;
    use nvbind_core::settings::Driver;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn a_node_has_to_let_its_user_read_and_write() {
        let machine = fixture::Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-1", &[]);
        let open = |name: &str, mode: u32| {
            let path = format!("dev/{name}");
            machine.write(&path, "");
            fs::set_permissions(machine.path(&path), fs::Permissions::from_mode(mode)).unwrap();
        };
        for name in ["nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"] {
            open(name, 0o666);
        }
        let host = Host::open(&Driver::below(&machine.path("/"))).unwrap();
        let inventory = Inventory::read(&host, Capabilities::ALL, &Extras::default()).unwrap();
        let plan = plan::plan(&Request::parse("all", None, None).unwrap(), &inventory).unwrap();
        let gid = fs::metadata(machine.path("dev/nvidia0")).unwrap().gid();
        let (other, member) = (User { uid: 4242, groups: vec![4242] }, User { uid: 4242, groups: vec![gid] });
        let says = |mode: u32, user: &User, keeps_groups: bool| {
            open("nvidia0", mode);
            let error = require_nodes(&host, &plan, user, keeps_groups).err()?;
            assert_eq!(error.exit(), Exit::Permission);
            let path = machine.path("dev/nvidia0").display().to_string();
            Some(error.to_string().replace(&path, "NODE").replace(&group(gid), "GROUP"))
        };
        assert_eq!(says(0o666, &other, false), None);
        let owners = "you may not use NODE: nobody but its owner can read and write it (0644)";
        for user in [&other, &member] {
            assert_eq!(says(0o644, user, true).as_deref(), Some(owners));
        }
        let others = "you may not use NODE: it is for its owner and GROUP alone (0660)";
        assert_eq!(says(0o660, &other, true).as_deref(), Some(others));
        let lost = "NODE is for GROUP alone (0660), which a container does not keep by itself";
        assert_eq!(says(0o660, &member, false).as_deref(), Some(lost));
        assert_eq!(says(0o660, &member, true), None);
        assert_eq!(says(0o600, &User { uid: 0, groups: Vec::new() }, false), None);
    }
}
