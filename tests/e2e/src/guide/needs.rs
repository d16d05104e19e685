//! What a block of the guide takes, and which lanes, users and podmans have.

use crate::lane::Lane;
use crate::podman::{Podman, Runtime, User};
use crate::services::quadlet::GENERATOR;
use nvbind_lanes::spec::Init;
use std::path::Path;

/// What not every lane, or not every user, has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The runtime crun.
    Crun,
    /// A systemd that runs services, with podman's generator of them.
    Systemd,
    /// A reader who is not root: what is in the home directory for systemd is nothing to root.
    User,
    Podman5,
    PodmanCompose,
    DockerCompose,
    /// A kernel with SELinux.
    Selinux,
}

const NAMES: &[(&str, Need)] = &[
    ("crun", Need::Crun),
    ("systemd", Need::Systemd),
    ("user", Need::User),
    ("podman 5", Need::Podman5),
    ("podman-compose", Need::PodmanCompose),
    ("docker-compose", Need::DockerCompose),
    ("selinux", Need::Selinux),
];

/// What is an ordinary user's, and named in the block.
const OF_USER: &[&str] =
    &["systemctl --user", "journalctl --user", "~/.config/systemd/", "~/.config/containers/systemd/"];

/// Where programs of a lane are.
const PROGRAMS: &[&str] = &["/usr/local/bin", "/usr/bin", "/usr/libexec/docker/cli-plugins"];

impl Need {
    /// By its name in a comment.
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, need)| *need)
    }

    /// Whether a block's text has it without a comment's saying so.
    pub(super) fn is_of_user(text: &str) -> bool {
        OF_USER.iter().any(|part| text.contains(part))
    }

    /// Whether the reader has it.
    pub(super) fn is_met(self, lane: &Lane, podman: Podman) -> bool {
        let has = |name: &str| PROGRAMS.iter().any(|folder| Path::new(folder).join(name).exists());
        match self {
            Self::Crun => podman.runtime == Runtime::Crun,
            Self::Systemd => lane.spec.init == Init::Systemd && Path::new(GENERATOR).exists(),
            Self::User => podman.user == User::Rootless,
            // No lane has a podman that is older and has Quadlet.
            Self::Podman5 => Path::new(GENERATOR).exists(),
            Self::PodmanCompose => has("podman-compose"),
            Self::DockerCompose => has("docker-compose"),
            Self::Selinux => Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_home_directory_for_systemd_is_a_users() {
        assert!(Need::is_of_user("systemctl --user start ollama"));
        assert!(Need::is_of_user("cp a ~/.config/containers/systemd/"));
        assert!(!Need::is_of_user("systemctl start ollama; nvbind setup --user"));
    }
}
