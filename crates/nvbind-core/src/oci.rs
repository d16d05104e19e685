//! What the hook reads of the OCI runtime specification: the container's state and its bundle's config.json.
//!
//! Lean structs over the fields used, lenient about everything else: `oci_spec::runtime::{State, Spec}` refuse a
//! status or a capability name that they do not know, and a newer runtime must not stop every container.

use crate::exit::Exit;
use crate::failure::Explain;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount, Root};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The largest state that is read from stdin. Podman's is a few kilobytes; annotations may be long.
pub const STATE_LIMIT: u64 = 4 << 20;

/// The largest config.json that is read.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// Why the runtime's input cannot be used.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came on stdin.
    #[error("the container state on stdin is empty; nvbind-hook is started by an OCI runtime, not by hand")]
    EmptyState,
    /// The state is no JSON, or lacks a field.
    #[error("the container state on stdin is not usable")]
    State(#[source] serde_json::Error),
    /// The container id would not be one path component.
    #[error("the container state names the container {0:?}, which is no container id")]
    Id(String),
    /// config.json is no JSON, or has a field of the wrong type.
    #[error("{path} is not usable")]
    Config { path: String, source: serde_json::Error },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// The container's state, as a runtime writes it on a hook's stdin (OCI runtime-spec, runtime.md, "State").
#[derive(Clone, Debug, Deserialize)]
pub struct State {
    /// The container's id.
    pub id: String,
    /// The container's init process as the hook sees it; crun says 0 at stage createContainer.
    #[serde(default)]
    pub pid: i32,
    /// The bundle's directory; `/` under crun with a user namespace and `--privileged`.
    pub bundle: PathBuf,
    /// The root filesystem; only crun says it.
    pub root: Option<PathBuf>,
    /// The container's annotations.
    #[serde(default)]
    pub annotations: HashMap<String, String>,
}

impl State {
    /// Reads the state.
    ///
    /// # Errors
    /// When it is empty, no JSON, lacks `id` or `bundle`, or the id is not a plain name.
    pub fn parse(bytes: &[u8]) -> Result<State, Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::EmptyState);
        }
        let state: State = serde_json::from_slice(bytes).map_err(Error::State)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
        if state.id.is_empty()
            || state.id.len() > 1024
            || state.id.starts_with('.')
            || !state.id.bytes().all(plain)
        {
            return Err(Error::Id(state.id));
        }
        Ok(state)
    }
}

/// The name under which Docker looks for a hook that serves `--gpus` (`nvidiaHook` in daemon/nvidia_linux.go of moby).
pub const DOCKERS_NAME: &str = "nvidia-container-runtime-hook";

/// Whether a hook is NVIDIA's own (libnvidia-container's and nvidia-container-toolkit's packages).
#[must_use]
pub fn is_nvidias_hook(path: &Path) -> bool {
    has_nvidias_name(path) && !is_nvbinds(path)
}

/// Whether a hook is nvbind's under the name that Docker looks for: a link of that name.
#[must_use]
pub fn is_dockers_name_for_nvbind(path: &Path) -> bool {
    has_nvidias_name(path) && is_nvbinds(path)
}

fn has_nvidias_name(path: &Path) -> bool {
    [DOCKERS_NAME, "nvidia-container-toolkit"].iter().any(|known| path.file_name() == Some(OsStr::new(known)))
}

/// Where the links of a path end.
fn is_nvbinds(path: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|path| is_hook(&path))
}

/// The fields of config.json that matter here (OCI runtime-spec, config.md and config-linux.md).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The root filesystem.
    pub root: Option<Root>,
    /// The container's process.
    pub process: Process,
    /// The mounts that the runtime makes.
    pub mounts: Vec<Mount>,
    /// What is special to Linux.
    pub linux: Linux,
    hooks: Option<Hooks>,
}

/// `process` of config.json.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    env: Vec<String>,
    capabilities: Option<Sets>,
}

/// `process.capabilities` of config.json.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Sets {
    bounding: Option<Vec<String>>,
}

/// `hooks` of config.json.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hooks {
    prestart: Option<Vec<Hook>>,
    create_runtime: Option<Vec<Hook>>,
    create_container: Option<Vec<Hook>>,
    /// As it is: what others put there is theirs.
    poststop: Value,
}

#[derive(Clone, Debug, Deserialize)]
struct Hook {
    path: PathBuf,
}

/// The name in the arguments of a marker: `nvbind-hook gpu NAME`.
fn find_marked(hook: &Value) -> Option<&str> {
    let path = Path::new(hook.get("path")?.as_str()?);
    match hook.get("args")?.as_array()?.as_slice() {
        [_program, verb, name] if verb == MARKER && is_hook(path) => name.as_str(),
        _ => None,
    }
}

/// The hook's file name, wherever it is installed.
pub const HOOK: &str = "nvbind-hook";

/// Whether a program is nvbind's hook, by its file name.
#[must_use]
pub fn is_hook(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new(HOOK))
}

/// The argument that makes an entry of the hook a marker: it does nothing when it is run.
pub const MARKER: &str = "gpu";

/// `linux` of config.json.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    mount_label: Option<String>,
    masked_paths: Option<Vec<String>>,
    rootfs_propagation: Option<String>,
    resources: Resources,
    devices: Option<Vec<LinuxDevice>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    devices: Option<Vec<LinuxDeviceCgroup>>,
}

impl Config {
    /// Reads config.json; `path` is for the messages.
    ///
    /// # Errors
    /// When it is no JSON or a field has the wrong type.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Config, Error> {
        serde_json::from_slice(bytes)
            .map_err(|source| Error::Config { path: path.display().to_string(), source })
    }

    /// The value of a variable of the container's environment; the last one wins, as for a shell.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.process.env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    /// The container's environment, name and value, in its order.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.process.env.iter().filter_map(|entry| entry.split_once('='))
    }

    /// Whether the container's processes may have CAP_SYS_ADMIN. NVIDIA's own hook takes that for a container which
    /// whoever runs it trusts; no image can say it.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        let bounding = self.process.capabilities.iter().flat_map(|sets| &sets.bounding).flatten();
        bounding.into_iter().any(|name| name == "CAP_SYS_ADMIN")
    }

    /// The programs that run as hooks before the container starts.
    pub fn hook_programs(&self) -> impl Iterator<Item = &Path> {
        let stages = self.hooks.iter();
        let stages =
            stages.flat_map(|hooks| [&hooks.prestart, &hooks.create_runtime, &hooks.create_container]);
        stages.flatten().flatten().map(|hook| hook.path.as_path())
    }

    /// The names that devices of nvbind's CDI specification have left here, each as a hook that does nothing. Only who
    /// runs the engine can put a hook here: neither an image nor an environment can.
    pub fn marked_gpus(&self) -> impl Iterator<Item = &str> {
        let hooks = self.hooks.iter().filter_map(|hooks| hooks.poststop.as_array()).flatten();
        hooks.filter_map(find_marked)
    }

    /// Whether mounts made in the container may appear outside it: `linux.rootfsPropagation` is `shared` or `rshared`.
    #[must_use]
    pub fn shares_mounts(&self) -> bool {
        self.linux.rootfs_propagation.as_deref().is_some_and(|propagation| propagation.ends_with("shared"))
    }

    /// Whether the runtime hides something of the container's /proc. A container that is to see all of it may mount a
    /// /proc of its own as well, which the kernel refuses where something is mounted on the one it has
    /// (mount_too_revealing() of the kernel's `fs/namespace.c`).
    #[must_use]
    pub fn masks_proc(&self) -> bool {
        self.linux.masked_paths.as_ref().is_some_and(|paths| !paths.is_empty())
    }

    /// The SELinux context of the container's mounts, if it has one.
    #[must_use]
    pub fn mount_label(&self) -> Option<&str> {
        self.linux.mount_label.as_deref().filter(|label| !label.is_empty())
    }

    /// Whether the runtime makes this character device for the container, under whatever name.
    #[must_use]
    pub fn has_device(&self, major: u32, minor: u32) -> bool {
        let is_it = |device: &LinuxDevice| {
            (device.typ() == LinuxDeviceType::C || device.typ() == LinuxDeviceType::U)
                && (device.major(), device.minor()) == (i64::from(major), i64::from(minor))
        };
        self.linux.devices.iter().flatten().any(is_it)
    }

    /// Whether there are device rules, and they let the container use this character device.
    #[must_use]
    pub fn has_rule_for(&self, major: u32, minor: u32) -> bool {
        self.linux.resources.devices.is_some() && self.allows_device(major, minor)
    }

    /// Whether the device rules let the container read and write this character device; without rules, all are.
    #[must_use]
    pub fn allows_device(&self, major: u32, minor: u32) -> bool {
        let Some(rules) = &self.linux.resources.devices else { return true };
        let concerns =
            |number: Option<i64>, wanted: u32| number.is_none_or(|n| n == -1 || n == i64::from(wanted));
        let rule = rules.iter().rev().find(|rule| {
            let kind = rule.typ().unwrap_or(LinuxDeviceType::A);
            (kind == LinuxDeviceType::A || kind == LinuxDeviceType::C || kind == LinuxDeviceType::U)
                && concerns(rule.major(), major)
                && concerns(rule.minor(), minor)
                && rule.access().as_deref().is_none_or(|access| access.contains('r') && access.contains('w'))
        });
        rule.is_none_or(LinuxDeviceCgroup::allow)
    }
}

/// The host's file or directory that the runtime binds there, if it does.
#[must_use]
pub fn bound_source(mount: &Mount) -> Option<&Path> {
    let binds = mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind");
    if binds || mount.typ().as_deref() == Some("bind") { mount.source().as_deref() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{"ociVersion":"1.0","id":"ab12","pid":42,"root":"\/r","bundle":"/b","status":"starting",
        "annotations":{"io.nvbind.gpu":"all"},"new":[1]}"#;

    #[test]
    fn a_state_of_crun_with_a_status_of_its_own_is_read() {
        let state = State::parse(STATE.as_bytes()).unwrap();
        assert_eq!((state.id.as_str(), state.pid, state.bundle), ("ab12", 42, "/b".into()));
        assert_eq!(state.root, Some("/r".into()));
        assert_eq!(state.annotations["io.nvbind.gpu"], "all");
    }

    #[test]
    fn hostile_states_are_refused_by_name() {
        for (text, says) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("{", "not usable"),
            ("[]", "not usable"),
            (r#"{"id":"a"}"#, "not usable"),
            (r#"{"id":"../x","bundle":"/"}"#, "no container id"),
            (r#"{"id":"","bundle":"/"}"#, "no container id"),
            (r#"{"id":"a\u0000b","bundle":"/"}"#, "no container id"),
        ] {
            let error = State::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn config_is_read_past_what_is_unknown() {
        let config = Config::parse(
            br#"{"root":{"path":"/r","readonly":true},"process":{"env":["A=1","A=2","AB=3"],
                "capabilities":{"bounding":["CAP_FROM_THE_FUTURE"]}},
                "mounts":[{"destination":"/dev","type":"tmpfs","source":"tmpfs"},{"destination":"/etc","type":"bind"},
                {"destination":"/run","type":"tmpfs","source":"/r","options":["rbind"]}],
                "linux":{"mountLabel":"l","maskedPaths":["/proc/kcore"],"rootfsPropagation":"rshared","namespaces":[{"type":"future"}]}}"#,
            Path::new("c"),
        )
        .unwrap();
        assert_eq!((config.env("A"), config.env("AB"), config.env("B")), (Some("2"), Some("3"), None));
        let environment: Vec<_> = config.environment().collect();
        assert_eq!(environment, [("A", "1"), ("A", "2"), ("AB", "3")]);
        assert_eq!(config.root.as_ref().unwrap().path(), Path::new("/r"));
        assert_eq!((config.mount_label(), config.shares_mounts()), (Some("l"), true));
        assert!(config.masks_proc());
    }

    #[test]
    fn a_container_is_privileged_by_its_bounding_set() {
        for (capabilities, expected) in [
            ("null", false),
            ("{}", false),
            (r#"{"bounding":null}"#, false),
            (r#"{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"]}"#, true),
            (r#"{"bounding":["CAP_SYS_ADMIN_NOT"],"effective":["CAP_SYS_ADMIN"]}"#, false),
        ] {
            let text = format!(r#"{{"process":{{"capabilities":{capabilities}}}}}"#);
            let config = Config::parse(text.as_bytes(), Path::new("c")).unwrap();
            assert_eq!(config.is_privileged(), expected, "{capabilities}");
        }
        assert!(!Config::default().is_privileged());
    }

    #[test]
    fn the_last_device_rule_that_matches_decides() {
        let config = |rules: &str| {
            let text = format!(r#"{{"linux":{{"resources":{{"devices":{rules}}}}}}}"#);
            Config::parse(text.as_bytes(), Path::new("c")).unwrap()
        };
        let deny = r#"{"allow":false,"access":"rwm"}"#;
        for (rules, allowed) in [
            ("null", true),
            ("[]", true),
            (&format!("[{deny}]"), false),
            (&format!(r#"[{deny},{{"allow":true,"type":"c","major":195,"minor":0,"access":"rwm"}}]"#), true),
            (&format!(r#"[{deny},{{"allow":true,"type":"c","major":195,"minor":1,"access":"rwm"}}]"#), false),
            (&format!(r#"[{deny},{{"allow":true,"type":"c","major":195,"access":"rwm"}}]"#), true),
            (&format!(r#"[{deny},{{"allow":true,"type":"c","major":195,"access":"m"}}]"#), false),
            (&format!(r#"[{deny},{{"allow":true,"type":"b","major":195,"minor":0,"access":"rwm"}}]"#), false),
        ] {
            assert_eq!(config(rules).allows_device(195, 0), allowed, "{rules}");
        }
    }
}
