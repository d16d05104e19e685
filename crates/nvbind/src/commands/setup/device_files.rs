//! Who may use the driver's device nodes. Everything that makes them goes by the parameters of the driver's module: the driver's
//! libraries and its nvidia-modprobe, which also puts right what is there, and this program's hook.

use super::Error;
use nix::unistd::{Gid, Group};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A mode for all nodes, and the group that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeviceFiles {
    mode: u32,
    group: Option<Gid>,
}

/// What a device node can be: for root, for a group as well, for everybody. Programs need to read and write them.
const MODES: [u32; 3] = [0o600, GROUP_MODE, 0o666];
const GROUP_MODE: u32 = 0o660;

/// The module, and what Debian calls it, which has no alias of the other name where options are looked up.
const MODULES: [&str; 2] = ["nvidia", "nvidia-current"];

const MODE: &str = "NVreg_DeviceFileMode";
const GID: &str = "NVreg_DeviceFileGID";

/// Where modprobe looks after `/etc/modprobe.d` (modprobe.d(5)).
pub(super) const FURTHER_DIRECTORIES: [&str; 4] =
    ["/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

impl DeviceFiles {
    /// What the command line asks for; a group alone means mode 0660.
    pub(super) fn parse(mode: Option<&str>, group: Option<&str>) -> Result<Option<DeviceFiles>, Error> {
        let mode = match (mode, group) {
            (None, None) => return Ok(None),
            (None, Some(_)) => GROUP_MODE,
            (Some(text), _) => parse_mode(text)?,
        };
        let group = match group {
            Some(_) if mode != GROUP_MODE => return Err(Error::GroupUnused { mode }),
            None if mode == GROUP_MODE => return Err(Error::NoGroup),
            group => group.map(find).transpose()?,
        };
        Ok(Some(DeviceFiles { mode, group }))
    }

    /// The lines of modprobe.d(5).
    #[must_use]
    pub(super) fn lines(self) -> String {
        let mut options = String::new();
        if let Some(group) = self.group {
            let _ = write!(options, " {GID}={group}");
        }
        let _ = write!(options, " {MODE}={:04o}", self.mode);
        MODULES.map(|module| format!("options {module}{options}\n")).concat()
    }

    /// What that means for containers of ordinary users.
    #[must_use]
    pub(super) fn meaning(self) -> Option<&'static str> {
        match self.mode {
            0o600 => Some("rootless containers cannot use the GPUs"),
            GROUP_MODE => Some(
                "rootless containers can use the GPUs if their user is in the group, with crun and `--group-add keep-groups`",
            ),
            _ => None,
        }
    }
}

fn parse_mode(text: &str) -> Result<u32, Error> {
    let digits = Some(text).filter(|text| text.bytes().all(|letter| letter.is_ascii_digit()));
    let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    mode.filter(|mode| MODES.contains(mode)).ok_or_else(|| Error::DeviceMode { value: text.to_owned() })
}

fn find(name: &str) -> Result<Gid, Error> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Error::UnknownGroup { name: name.to_owned() }),
        Err(source) => Err(Error::Group { name: name.to_owned(), source }),
    }
}

/// Another file of modprobe.d that sets one of the parameters that `own` sets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) path: PathBuf,
    /// Whether it is read after `own`, so that what it says counts: files are read in the order of their names.
    pub(super) wins: bool,
}

/// The rivals of `own`, whose text this is, in its directory and these further ones.
pub(super) fn rivals(further: &[&Path], own: &Path, text: &str) -> Vec<Rival> {
    let ours = parameters(text);
    let directories = own.parent().into_iter().chain(further.iter().copied());
    let mut seen = vec![own.file_name().unwrap_or_default().to_owned()];
    let mut rivals = Vec::new();
    for entry in directories.filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // A file hides those of its name in the directories further on.
        if path.extension().is_none_or(|extension| extension != "conf") || seen.contains(&name) {
            continue;
        }
        let theirs = fs::read_to_string(&path).unwrap_or_default();
        if parameters(&theirs).iter().any(|parameter| ours.contains(parameter)) {
            rivals.push(Rival { path, wins: own.file_name() < Some(name.as_os_str()) });
        }
        seen.push(name);
    }
    rivals
}

/// The parameters of the driver's module that a file of modprobe.d sets, of those that are set here.
fn parameters(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let is_options = words.next() == Some("options");
        let module = words.next().unwrap_or_default().replace('_', "-");
        if is_options && MODULES.contains(&module.as_str()) {
            let names = words.filter_map(|word| word.split_once('=')).map(|(name, _)| name);
            found.extend(names.filter(|name| [MODE, GID].contains(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn a_mode_and_a_group_become_parameters_of_the_module() {
        let lines = |mode, group| DeviceFiles::parse(mode, group).unwrap().unwrap().lines();
        let group = "options nvidia NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660\n\
                     options nvidia-current NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660\n";
        assert_eq!(lines(Some("0660"), Some("44")), group);
        assert_eq!(lines(Some("660"), Some("44")), group);
        assert_eq!(lines(None, Some("44")), group);
        let everybody =
            "options nvidia NVreg_DeviceFileMode=0666\noptions nvidia-current NVreg_DeviceFileMode=0666\n";
        assert_eq!(lines(Some("0666"), None), everybody);
        let root = "options nvidia NVreg_DeviceFileGID=0 NVreg_DeviceFileMode=0660\n";
        assert!(lines(None, Some("root")).starts_with(root));
        assert_eq!(DeviceFiles::parse(None, None).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        let told = |mode, group| DeviceFiles::parse(mode, group).unwrap_err().to_string();
        for mode in ["", "0", "438", "0777", "0606", "640", "rw", "+660", "0o660"] {
            let expected = format!(
                "--device-mode {mode} is none of 0600 (root alone), 0660 (a group) and 0666 (everybody)"
            );
            assert_eq!(told(Some(mode), None), expected);
        }
        assert!(told(Some("0660"), None).ends_with("name it with --device-group"));
        assert_eq!(
            told(Some("0666"), Some("video")),
            "--device-group goes with --device-mode 0660, not with 0666"
        );
        assert_eq!(told(None, Some("no-such-group-here")), "there is no group no-such-group-here");
    }

    #[test]
    fn files_that_set_the_same_parameter_are_found_with_the_one_that_counts() {
        let dir = TempDir::new().unwrap();
        let (etc, lib) = (dir.path().join("etc"), dir.path().join("lib"));
        for (path, text) in [
            ("etc/nvbind.conf", "options nvidia NVreg_DeviceFileMode=0600\n"),
            ("etc/a.conf", "options nvidia NVreg_Other=1 NVreg_DeviceFileMode=0640\n"),
            (
                "etc/b.conf",
                "# options nvidia NVreg_DeviceFileMode=0640\noptions nvidia NVreg_DeviceFileUID=1\n",
            ),
            ("etc/nvidia.conf", "options nvidia_current NVreg_DeviceFileGID=27\n"),
            ("etc/z.conf.bak", "options nvidia NVreg_DeviceFileMode=0640\n"),
            ("etc/y.conf", "options nvidia-drm NVreg_DeviceFileMode=0640\n"),
            ("etc/x.conf", ""),
            ("lib/x.conf", "options nvidia NVreg_DeviceFileMode=0640\n"),
            ("lib/nvbind.conf", "options nvidia NVreg_DeviceFileMode=0640\n"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let group = DeviceFiles { mode: 0o660, group: Some(Gid::from_raw(44)) };
        let mut found = rivals(&[&lib], &etc.join("nvbind.conf"), &group.lines());
        found.sort_by_key(|rival| rival.path.clone());
        let expected = [
            Rival { path: etc.join("a.conf"), wins: false },
            Rival { path: etc.join("nvidia.conf"), wins: true },
        ];
        assert_eq!(found, expected);
        let everybody = DeviceFiles { mode: 0o666, group: None };
        let found = rivals(&[&lib], &etc.join("nvbind.conf"), &everybody.lines());
        assert_eq!(found, [Rival { path: etc.join("a.conf"), wins: false }]);
    }
}
