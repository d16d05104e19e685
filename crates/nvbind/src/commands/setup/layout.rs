//! Where the files of an installation are.

use crate::args;
use crate::podman::containers_conf::DEFAULT_HOOKS_DIR;
use std::path::{Path, PathBuf};

/// The files of an installation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The command line.
    pub(super) cli: PathBuf,
    /// The hook.
    pub(super) hook: PathBuf,
    /// What makes podman run the hook.
    pub(super) json: PathBuf,
    /// What makes it do so for NVIDIA_VISIBLE_DEVICES as well, where that is asked for.
    pub(super) visible_devices_json: PathBuf,
    /// What makes a user's podman look for that.
    pub(super) drop_in: Option<PathBuf>,
}

impl Layout {
    /// The layout for these options; `home` and `user_config` (`~/.config/containers`) are the user's.
    #[must_use]
    pub(super) fn new(options: &args::Setup, home: &Path, user_config: &Path) -> Layout {
        let prefix = match &options.prefix {
            Some(prefix) => prefix.clone(),
            None if options.user => home.join(".local"),
            None => PathBuf::from("/usr/local"),
        };
        // /usr/local/share is no place where podman looks.
        let hooks_dir = if options.prefix.is_none() && !options.user {
            PathBuf::from(DEFAULT_HOOKS_DIR)
        } else {
            prefix.join("share/containers/oci/hooks.d")
        };
        Layout {
            cli: prefix.join("bin/nvbind"),
            hook: prefix.join("libexec/nvbind/nvbind-hook"),
            json: hooks_dir.join("nvbind.json"),
            visible_devices_json: hooks_dir.join("nvbind-visible-devices.json"),
            drop_in: options.user.then(|| user_config.join("containers.conf.d/nvbind.conf")),
        }
    }

    /// The directory that podman has to read.
    #[must_use]
    pub(super) fn hooks_dir(&self) -> &Path {
        self.json.parent().unwrap_or_else(|| Path::new("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_choose_the_places() {
        let layout =
            |options| Layout::new(&options, Path::new("/home/u"), Path::new("/home/u/.config/containers"));
        let system = Layout {
            cli: "/usr/local/bin/nvbind".into(),
            hook: "/usr/local/libexec/nvbind/nvbind-hook".into(),
            json: "/usr/share/containers/oci/hooks.d/nvbind.json".into(),
            visible_devices_json: "/usr/share/containers/oci/hooks.d/nvbind-visible-devices.json".into(),
            drop_in: None,
        };
        let prefix = Layout {
            cli: "/opt/n/bin/nvbind".into(),
            hook: "/opt/n/libexec/nvbind/nvbind-hook".into(),
            json: "/opt/n/share/containers/oci/hooks.d/nvbind.json".into(),
            visible_devices_json: "/opt/n/share/containers/oci/hooks.d/nvbind-visible-devices.json".into(),
            drop_in: None,
        };
        let user = Layout {
            cli: "/home/u/.local/bin/nvbind".into(),
            hook: "/home/u/.local/libexec/nvbind/nvbind-hook".into(),
            json: "/home/u/.local/share/containers/oci/hooks.d/nvbind.json".into(),
            visible_devices_json: "/home/u/.local/share/containers/oci/hooks.d/nvbind-visible-devices.json"
                .into(),
            drop_in: Some("/home/u/.config/containers/containers.conf.d/nvbind.conf".into()),
        };
        assert_eq!(layout(args::Setup::default()), system);
        assert_eq!(layout(args::Setup { prefix: Some("/opt/n".into()), ..args::Setup::default() }), prefix);
        assert_eq!(layout(args::Setup { user: true, ..args::Setup::default() }), user);
    }
}
