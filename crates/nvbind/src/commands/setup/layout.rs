//! Where the files of an installation are: one table.

use crate::args;
use crate::cdi;
use crate::podman::containers_conf::DEFAULT_HOOKS_DIR;
use crate::podman::shell;
use clap_complete::Shell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What an installation consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Hook,
    /// The command line.
    Cli,
    /// Completions for a shell.
    Completions(Shell),
    /// The directory of the man pages.
    ManPages,
    /// The SELinux policy module, which only root can load.
    Policy,
    /// The parameters of the driver's module that say who may use its nodes, where that is asked for.
    DeviceFiles,
    /// What makes the nodes.
    Unit,
    /// What starts that.
    Rule,
    /// The template of services for containers, for the system's manager.
    Template,
    /// The same for each user's own.
    UserTemplate,
    /// What makes podman look for the hook, where it does not by itself.
    DropIn,
    /// What makes podman run the hook.
    Json,
    /// What makes it do so for NVIDIA_VISIBLE_DEVICES as well, where that is asked for.
    VisibleDevicesJson,
    /// What makes engines do so for devices of this kind, where that is asked for.
    Specification(cdi::Kind),
}

/// A directory, for the prefix that the installation has.
#[derive(Clone, Copy, Debug)]
enum Directory {
    Prefix(&'static str),
    /// Below the user's data directory, `$XDG_DATA_HOME` or `~/.local/share`.
    Data(&'static str),
    /// Below the user's directory for podman, `$XDG_CONFIG_HOME/containers` or `~/.config/containers`.
    Containers(&'static str),
    /// Below `/etc`.
    Etc(&'static str),
    /// `lib` of a prefix that systemd and udev look below, else `/etc`. Both look below `/usr/local/lib` as well:
    /// `CONF_PATHS` in `src/basic/constants.h` of systemd, and systemd.unit(5).
    Lib(&'static str),
    /// Below `/etc`, for a prefix that podman does not look below.
    Elsewhere(&'static str),
    /// Where podman looks for hooks without being told to, or the same below a prefix of one's own.
    Hooks,
}

use Directory::{Containers, Data, Elsewhere, Etc, Hooks, Lib, Prefix};

/// One file: its directory in an installation for every user, in one for a single user, and its name.
type Row = (Item, Option<Directory>, Option<Directory>, &'static str);

/// In the order of installation, so that nothing names what is not there yet. They are removed in the opposite order.
#[rustfmt::skip]
const TABLE: [Row; 17] = [
    (Item::Hook, Some(Prefix("libexec/nvbind")), Some(Prefix("libexec/nvbind")), "nvbind-hook"),
    (Item::Cli, Some(Prefix("bin")), Some(Prefix("bin")), "nvbind"),
    (Item::Completions(Shell::Bash), Some(Prefix("share/bash-completion/completions")), Some(Data("bash-completion/completions")), "nvbind"),
    // zsh has no directory of a user's own.
    (Item::Completions(Shell::Zsh), Some(Prefix("share/zsh/site-functions")), None, "_nvbind"),
    (Item::Completions(Shell::Fish), Some(Prefix("share/fish/vendor_completions.d")), Some(Data("fish/vendor_completions.d")), "nvbind.fish"),
    (Item::ManPages, Some(Prefix("share/man")), Some(Prefix("share/man")), "man1"),
    (Item::Policy, Some(Prefix("share/selinux/packages")), Some(Prefix("share/selinux/packages")), "nvbind.cil"),
    (Item::DeviceFiles, Some(Etc("modprobe.d")), None, "nvbind.conf"),
    (Item::Unit, Some(Lib("systemd/system")), None, "nvbind-devices.service"),
    (Item::Rule, Some(Lib("udev/rules.d")), None, "71-nvbind.rules"),
    (Item::Template, Some(Lib("systemd/system")), None, "nvbind@.service"),
    // systemd looks below the data directory for what is installed, and below ~/.config for what people write.
    (Item::UserTemplate, Some(Lib("systemd/user")), Some(Data("systemd/user")), "nvbind@.service"),
    (Item::DropIn, Some(Elsewhere("containers/containers.conf.d")), Some(Containers("containers.conf.d")), "nvbind.conf"),
    (Item::Json, Some(Hooks), Some(Hooks), "nvbind.json"),
    (Item::VisibleDevicesJson, Some(Hooks), Some(Hooks), "nvbind-visible-devices.json"),
    // No engine of a user's looks elsewhere than root's does.
    (Item::Specification(cdi::Kind::Nvidia), Some(Etc("cdi")), None, cdi::Kind::Nvidia.file()),
    (Item::Specification(cdi::Kind::Own), Some(Etc("cdi")), None, cdi::Kind::Own.file()),
];

/// The directories that do not depend on the prefix.
#[derive(Clone, Debug)]
pub(super) struct Bases {
    pub(super) home: PathBuf,
    /// `$XDG_CONFIG_HOME/containers` or `~/.config/containers`.
    pub(super) containers: PathBuf,
    /// `$XDG_DATA_HOME` or `~/.local/share`.
    pub(super) data: PathBuf,
    /// `/etc`.
    pub(super) etc: PathBuf,
}

/// A file, or the directory of the man pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) item: Item,
    pub(super) path: PathBuf,
    /// Whether that is among settings, which people edit, outside of the prefix.
    pub(super) is_setting: bool,
}

/// The targets of an installation.
#[derive(Debug)]
pub(super) struct Layout {
    targets: Vec<Target>,
    scope: Scope,
    command: String,
    root: PathBuf,
}

/// Whose directories a prefix belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    User,
    /// `/usr` or `/usr/local`.
    System,
    Elsewhere,
}

impl Layout {
    /// The layout for these options.
    #[must_use]
    pub(super) fn new(options: &args::Setup, bases: &Bases) -> Layout {
        let local = Path::new("/usr/local");
        let usual = if options.user { bases.home.join(".local") } else { local.to_owned() };
        let prefix = options.prefix.clone().unwrap_or_else(|| usual.clone());
        let scope = if options.user {
            Scope::User
        } else if prefix == local || prefix == Path::new("/usr") {
            Scope::System
        } else {
            Scope::Elsewhere
        };
        let targets = TABLE.iter().filter_map(|(item, every_user, one_user, name)| {
            let directory = if options.user { *one_user } else { *every_user }?;
            let (directory, is_setting) = match (directory, scope) {
                (Prefix(below), _) => (prefix.join(below), false),
                (Data(below), _) => (bases.data.join(below), false),
                (Containers(below), _) => (bases.containers.join(below), true),
                (Etc(below), _) | (Lib(below) | Elsewhere(below), Scope::Elsewhere | Scope::User) => {
                    (bases.etc.join(below), true)
                }
                (Lib(below), Scope::System) => (prefix.join("lib").join(below), false),
                (Elsewhere(_), Scope::System) => return None,
                // /usr/local/share is no place where podman looks.
                (Hooks, Scope::System) => (PathBuf::from(DEFAULT_HOOKS_DIR), false),
                (Hooks, Scope::Elsewhere | Scope::User) => {
                    (prefix.join("share/containers/oci/hooks.d"), false)
                }
            };
            Some(Target { item: *item, path: directory.join(name), is_setting })
        });
        let targets = targets.collect();
        let mut command = vec![OsStr::new("nvbind"), OsStr::new("setup")];
        command.extend(options.user.then_some(OsStr::new("--user")));
        if prefix != usual {
            command.extend([OsStr::new("--prefix"), prefix.as_os_str()]);
        }
        let command = String::from_utf8_lossy(&shell::quote(command)).into_owned();
        let root = bases.etc.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        Layout { targets, scope, command, root }
    }

    /// The machine's `/`, which `/etc` is below.
    #[must_use]
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// All of them, in the order of installation.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The path of an item, where this installation has one.
    #[must_use]
    pub(super) fn path(&self, item: Item) -> Option<&Path> {
        self.targets.iter().find(|target| target.item == item).map(|target| target.path.as_path())
    }

    /// The directory that podman has to read.
    #[must_use]
    pub(super) fn hooks_dir(&self) -> &Path {
        self.path(Item::Json).and_then(Path::parent).unwrap_or_else(|| Path::new("/"))
    }

    /// Whether nothing looks below the prefix by itself.
    #[must_use]
    pub(super) fn is_elsewhere(&self) -> bool {
        self.scope == Scope::Elsewhere
    }

    /// The command line that makes this installation.
    #[must_use]
    pub(super) fn command(&self) -> &str {
        &self.command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(options: args::Setup) -> Vec<String> {
        let bases = Bases {
            home: "/home/u".into(),
            containers: "/home/u/.config/containers".into(),
            data: "/home/u/data".into(),
            etc: "/etc".into(),
        };
        let layout = Layout::new(&options, &bases);
        layout.targets().iter().map(|target| target.path.display().to_string()).collect()
    }

    #[test]
    fn the_command_line_is_one_for_a_shell() {
        let bases =
            Bases { home: "/h".into(), containers: "/c".into(), data: "/d".into(), etc: "/etc".into() };
        let command = |options| Layout::new(&options, &bases).command().to_owned();
        assert_eq!(command(args::Setup::default()), "nvbind setup");
        assert_eq!(command(below("/usr/local")), "nvbind setup");
        assert_eq!(command(below("/opt/a b")), "nvbind setup --prefix '/opt/a b'");
        assert_eq!(command(args::Setup { user: true, ..below("/x") }), "nvbind setup --user --prefix /x");
    }

    fn below(prefix: &str) -> args::Setup {
        args::Setup { prefix: Some(prefix.into()), ..args::Setup::default() }
    }

    #[test]
    fn for_every_user_all_is_where_the_system_looks() {
        let at = |prefix: &str| {
            [
                "libexec/nvbind/nvbind-hook",
                "bin/nvbind",
                "share/bash-completion/completions/nvbind",
                "share/zsh/site-functions/_nvbind",
                "share/fish/vendor_completions.d/nvbind.fish",
                "share/man/man1",
                "share/selinux/packages/nvbind.cil",
                "/etc/modprobe.d/nvbind.conf",
                "lib/systemd/system/nvbind-devices.service",
                "lib/udev/rules.d/71-nvbind.rules",
                "lib/systemd/system/nvbind@.service",
                "lib/systemd/user/nvbind@.service",
                "/usr/share/containers/oci/hooks.d/nvbind.json",
                "/usr/share/containers/oci/hooks.d/nvbind-visible-devices.json",
                "/etc/cdi/nvbind.json",
                "/etc/cdi/nvbind.io.json",
            ]
            .map(|path| Path::new(prefix).join(path).display().to_string())
        };
        assert_eq!(paths(args::Setup::default()), at("/usr/local"));
        assert_eq!(paths(below("/usr/local")), at("/usr/local"));
        assert_eq!(paths(below("/usr")), at("/usr"));
    }

    #[test]
    fn what_has_to_be_outside_of_a_prefix_of_ones_own_is_in_etc() {
        let expected = [
            "/opt/n/libexec/nvbind/nvbind-hook",
            "/opt/n/bin/nvbind",
            "/opt/n/share/bash-completion/completions/nvbind",
            "/opt/n/share/zsh/site-functions/_nvbind",
            "/opt/n/share/fish/vendor_completions.d/nvbind.fish",
            "/opt/n/share/man/man1",
            "/opt/n/share/selinux/packages/nvbind.cil",
            "/etc/modprobe.d/nvbind.conf",
            "/etc/systemd/system/nvbind-devices.service",
            "/etc/udev/rules.d/71-nvbind.rules",
            "/etc/systemd/system/nvbind@.service",
            "/etc/systemd/user/nvbind@.service",
            "/etc/containers/containers.conf.d/nvbind.conf",
            "/opt/n/share/containers/oci/hooks.d/nvbind.json",
            "/opt/n/share/containers/oci/hooks.d/nvbind-visible-devices.json",
            "/etc/cdi/nvbind.json",
            "/etc/cdi/nvbind.io.json",
        ];
        assert_eq!(paths(below("/opt/n")), expected);
    }

    #[test]
    fn a_users_files_are_the_users() {
        let expected = [
            "/home/u/.local/libexec/nvbind/nvbind-hook",
            "/home/u/.local/bin/nvbind",
            "/home/u/data/bash-completion/completions/nvbind",
            "/home/u/data/fish/vendor_completions.d/nvbind.fish",
            "/home/u/.local/share/man/man1",
            "/home/u/.local/share/selinux/packages/nvbind.cil",
            "/home/u/data/systemd/user/nvbind@.service",
            "/home/u/.config/containers/containers.conf.d/nvbind.conf",
            "/home/u/.local/share/containers/oci/hooks.d/nvbind.json",
            "/home/u/.local/share/containers/oci/hooks.d/nvbind-visible-devices.json",
        ];
        assert_eq!(paths(args::Setup { user: true, ..args::Setup::default() }), expected);
    }
}
