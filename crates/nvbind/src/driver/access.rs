//! Whether a user may use the device nodes of a plan.

use nix::unistd::{Gid, Group};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::host::{self, Host, Stat};
use nvbind_core::node_access::{Access, Needed, other_remedy};
use nvbind_core::plan::{Device, Plan};

/// Why a node cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be looked at.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The driver would have it, and nobody has made it.
    #[error("the device node {path} is not there")]
    NoNode { path: String, remedy: &'static str },
    /// It is for others.
    #[error("you may not use {path}: it is for its owner and {group} alone ({mode:04o})")]
    GroupOnly { path: String, group: String, mode: u32 },
    /// Its group cannot use it either.
    #[error("you may not use {path}: nobody but its owner can {} it ({mode:04o})", needed.words())]
    OwnerOnly { path: String, mode: u32, needed: Needed },
    /// It is for a group that this user has and the container loses.
    #[error("{path} is for {group} alone ({mode:04o}), which a container does not keep by itself")]
    GroupLost { path: String, group: String, mode: u32 },
}

impl Error {
    /// Whether it is there, and not for this user.
    fn is_access(&self) -> bool {
        matches!(self, Error::GroupOnly { .. } | Error::GroupLost { .. } | Error::OwnerOnly { .. })
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Host(error) => error.exit(),
            Error::NoNode { .. } => Exit::Driver,
            Error::GroupOnly { .. } | Error::OwnerOnly { .. } | Error::GroupLost { .. } => Exit::Permission,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Host(_) => None,
            Error::NoNode { remedy, .. } => Some((*remedy).to_owned()),
            Error::GroupOnly { group, path, .. } => Some(format!(
                "join {group} and add `--group-add keep-groups` (crun only), or {}",
                other_remedy(path)
            )),
            Error::OwnerOnly { path, .. } => Some(other_remedy(path).into()),
            Error::GroupLost { .. } => Some("add `--group-add keep-groups` (crun only)".into()),
        }
    }
}

/// Whose containers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
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

    /// What the user may do with a node of this machine, and what it is.
    pub(crate) fn access(&self, host: &Host, node: &str) -> Result<(Access, Stat), host::Error> {
        let fd = host.dev.locate(node)?;
        let stat = host.dev.stat(node)?;
        let needed = Needed::of(node);
        let is_named = || needed.names(&fd, self.uid);
        let is_in_group = || self.groups.contains(&stat.st_gid);
        let access = needed.access(stat.st_mode, stat.st_uid == self.uid, is_named, is_in_group);
        Ok((if self.is_root() { Access::Granted } else { access }, stat))
    }
}

/// Fails if a node of the plan is not there or not for this user, as the hook would. What it will leave out, it tells.
pub(super) fn require_nodes(host: &Host, plan: &Plan, user: &User, keeps_groups: bool) -> Result<(), Error> {
    for device in &plan.devices {
        match require(host, device, user, keeps_groups) {
            Err(error) if error.is_access() && !device.is_required => {
                log::warn!("the container goes without a node of DRM: {error}");
            }
            required => required?,
        }
    }
    Ok(())
}

fn require(host: &Host, device: &Device, user: &User, keeps_groups: bool) -> Result<(), Error> {
    let Device { node, remedy, made_as, .. } = device;
    let path = host.dev.display(&node.path);
    let (access, stat) = match user.access(host, &node.path) {
        Ok(found) => found,
        // Made by the hook.
        Err(error)
            if error.is_not_found() && user.is_root() && made_as.is_some_and(|nodes| nodes.may_be_made) =>
        {
            return Ok(());
        }
        Err(error) if error.is_not_found() => return Err(Error::NoNode { path, remedy }),
        Err(error) => return Err(error.into()),
    };
    let mode = stat.st_mode & 0o777;
    match access {
        Access::Granted => Ok(()),
        Access::ByGroup if keeps_groups => Ok(()),
        Access::ByGroup => Err(Error::GroupLost { path, group: group(stat.st_gid), mode }),
        Access::OthersGroup => Err(Error::GroupOnly { path, group: group(stat.st_gid), mode }),
        Access::OwnersAlone => Err(Error::OwnerOnly { path, mode, needed: Needed::of(&node.path) }),
    }
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
    use nvbind_core::host::Roots;
    use nvbind_core::inventory::Inventory;
    use nvbind_core::plan;
    use nvbind_core::request::Request;
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
        let host = Host::open(&Roots::below(&machine.path("/"))).unwrap();
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

    #[test]
    fn drms_nodes_are_left_out_unless_they_were_asked_for() {
        let machine = fixture::Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-1", &["card0"]);
        for (name, mode) in
            [("nvidia0", 0o666), ("nvidiactl", 0o666), ("nvidia-uvm", 0o666), ("dri/card0", 0o660)]
        {
            machine.write(&format!("dev/{name}"), "");
            fs::set_permissions(machine.path("dev").join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for name in ["nvidia-uvm-tools", "nvidia-modeset"] {
            machine.write(&format!("dev/{name}"), "");
            fs::set_permissions(machine.path("dev").join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        let host = Host::open(&Roots::below(&machine.path("/"))).unwrap();
        let other = User { uid: 4242, groups: vec![4242] };
        for (capabilities, is_refused) in
            [(None, false), (Some("all"), false), (Some("compute,graphics"), true)]
        {
            let request = Request::parse("all", capabilities, None).unwrap();
            let inventory = Inventory::read(&host, request.capabilities, &Extras::default()).unwrap();
            let plan = plan::plan(&request, &inventory).unwrap();
            assert!(
                plan.devices.iter().any(|device| device.node.path == "/dev/dri/card0"),
                "{capabilities:?}"
            );
            let refused = require_nodes(&host, &plan, &other, false).is_err();
            assert_eq!(refused, is_refused, "{capabilities:?}");
        }
    }
}
