//! Finds the hook that podman will run for nvbind's annotation, as its own reader of hooks.d would.
//!
//! Podman silently skips a hook whose binary is missing, and the container starts without a GPU: so this is
//! checked before podman is started.

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::oci::is_nvidias_hook;
use nvbind_core::request::{GPU_ANNOTATION, PREFIX};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A hook JSON that asks for nvbind's annotation, and whose binary can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) json: PathBuf,
    pub(crate) binary: PathBuf,
    /// `--driver-root` of its command line.
    pub(crate) driver_root: Option<PathBuf>,
    /// `--config` of its command line.
    pub(crate) config: Option<PathBuf>,
}

/// Why the hook would not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("podman has no nvbind hook in {}", list(directories))]
    NotInstalled { directories: Vec<PathBuf> },
    /// The binary that the JSON names is not there.
    #[error("{} names the hook {}, which cannot be executed", hook.json.display(), hook.binary.display())]
    NoBinary {
        /// What the JSON would have podman run.
        hook: Box<Installed>,
        #[source]
        source: io::Error,
    },
    /// A directory or a file that podman can't read either.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file that makes podman refuse every container.
    #[error("cannot parse {}, so podman starts no container", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A file that is JSON and still makes podman refuse every container.
    #[error("{}: podman knows no hook {what} {name:?}, and starts no container", path.display())]
    Unknown {
        path: PathBuf,
        /// What it would be.
        what: &'static str,
        name: String,
    },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Driver
    }

    fn hint(&self) -> Option<String> {
        let setup = if nix::unistd::geteuid().is_root() {
            "nvbind setup"
        } else {
            "nvbind setup --user` or, as root, `nvbind setup"
        };
        match self {
            Error::NotInstalled { .. } | Error::NoBinary { .. } => Some(format!("run `{setup}`")),
            Error::Read { .. } | Error::Parse { .. } | Error::Unknown { .. } => None,
        }
    }
}

/// The versions of hook JSONs that podman knows (pkg/hooks/read.go of containers/common); without one it takes the old.
const CURRENT: &str = "1.0.0";
const OLD: &str = "0.1.0";

/// The stages that podman knows (oci-hooks(5), and `precreate` of podman's own).
const STAGES: &[&str] =
    &["precreate", "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The parts of a hook JSON (hooks 1.0.0, oci-hooks(5)) that matter here.
#[derive(Debug, Deserialize)]
struct Document {
    hook: Command,
}

#[derive(Debug, Deserialize)]
struct Command {
    path: PathBuf,
    args: Option<Vec<String>>,
}

/// The directories of `--hooks-dir`. Podman before 5.0 splits each value at commas.
#[must_use]
pub(crate) fn from_command_line<'a>(values: impl IntoIterator<Item = &'a OsStr>) -> Vec<PathBuf> {
    let split =
        |value: &OsStr| value.to_str().map(|text| text.split(',').map(PathBuf::from).collect::<Vec<_>>());
    values.into_iter().flat_map(|value| split(value).unwrap_or_else(|| vec![PathBuf::from(value)])).collect()
}

/// The hook that podman finds in these directories.
pub(crate) fn find(directories: &[PathBuf]) -> Result<Installed, Error> {
    find_below(Path::new("/"), directories)
}

/// The hook that podman finds in these directories of a machine whose `/` is that directory.
pub(crate) fn find_below(root: &Path, directories: &[PathBuf]) -> Result<Installed, Error> {
    let mut found = None;
    for path in files(root, directories)? {
        // All of them: one that is broken keeps podman from starting anything.
        let value = read(&path)?;
        if found.is_none() && is_nvbinds(&value) {
            found = Some((path, value));
        }
    }
    let (path, value) = found.ok_or_else(|| Error::NotInstalled { directories: directories.to_vec() })?;
    installed(root, &path, command(&path, value)?)
}

/// What this JSON of nvbind's has podman run, whatever else podman reads.
pub(crate) fn read_installed(json: &Path) -> Result<Installed, Error> {
    let value = read(json)?;
    installed(Path::new("/"), json, command(json, value)?)
}

/// Whether podman finds NVIDIA's own hook in these directories. What cannot be read is told by [`find`].
#[must_use]
pub(crate) fn has_nvidias(directories: &[PathBuf]) -> bool {
    nvidias_below(Path::new("/"), directories).is_some()
}

/// The JSON of NVIDIA's own hook, of a machine whose `/` is that directory.
#[must_use]
pub(crate) fn nvidias_below(root: &Path, directories: &[PathBuf]) -> Option<PathBuf> {
    let is_nvidias = |path: &PathBuf| {
        let command = read(path).and_then(|value| command(path, value));
        command.is_ok_and(|command| is_nvidias_hook(&command.path))
    };
    files(root, directories).ok()?.into_iter().find(is_nvidias)
}

/// Reads every hook JSON, anybody's, since podman starts no container where one of them is broken; returns how many
/// there are.
pub(crate) fn check_below(root: &Path, directories: &[PathBuf]) -> Result<usize, Error> {
    let files = files(root, directories)?;
    for path in &files {
        let unknown = |what, name: &str| Error::Unknown { path: path.clone(), what, name: name.to_owned() };
        let value = read(path)?;
        match value.get("version").and_then(Value::as_str).unwrap_or_default() {
            CURRENT => {}
            OLD | "" => continue,
            version => return Err(unknown("version", version)),
        }
        let stages = value.get("stages").and_then(Value::as_array).cloned().unwrap_or_default();
        let command = command(path, value)?;
        let mut stages = stages.iter().filter_map(Value::as_str);
        // It skips a hook whose binary is missing before it looks at the stages.
        if let Some(stage) = stages.find(|stage| !STAGES.contains(stage))
            && below(root, &command.path).exists()
        {
            return Err(unknown("stage", stage));
        }
    }
    Ok(files.len())
}

/// A path of a machine whose `/` is that directory.
#[must_use]
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix("/").map_or_else(|_relative| path.to_owned(), |inside| root.join(inside))
}

/// The hook JSONs, as podman keys them by file name: the same name in a later directory replaces the earlier one.
fn files(root: &Path, directories: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = BTreeMap::new();
    for directory in directories {
        for path in json_files(&below(root, directory))? {
            if let Some(name) = path.file_name() {
                files.insert(name.to_owned(), path);
            }
        }
    }
    Ok(files.into_values().collect())
}

fn json_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension() == Some(OsStr::new("json")) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn read(path: &Path) -> Result<Value, Error> {
    let text = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })
}

/// Whether it is a hook for nvbind's annotation.
fn is_nvbinds(value: &Value) -> bool {
    let annotations = value.get("when").and_then(|when| when.get("annotations")).and_then(Value::as_object);
    annotations.is_some_and(|annotations| annotations.keys().any(|pattern| is_for_nvbind(pattern)))
}

fn command(path: &Path, value: Value) -> Result<Command, Error> {
    let document = serde_json::from_value(value).map(|document: Document| document.hook);
    document.map_err(|source| Error::Parse { path: path.to_owned(), source })
}

/// The keys of `when.annotations` are regular expressions; this knows the ones that people write for a plain key, and
/// that for all of nvbind's.
fn is_for_nvbind(pattern: &str) -> bool {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    [GPU_ANNOTATION, PREFIX].contains(&pattern.replace("\\.", ".").as_str())
}

fn installed(root: &Path, json: &Path, command: Command) -> Result<Installed, Error> {
    let args = command.args.unwrap_or_default();
    let value_of = |option| value_of(&args, option);
    let hook = Installed {
        json: json.to_owned(),
        driver_root: value_of("--driver-root"),
        config: value_of("--config"),
        binary: command.path,
    };
    match nix::unistd::access(&below(root, &hook.binary), nix::unistd::AccessFlags::X_OK) {
        Ok(()) => Ok(hook),
        Err(errno) => Err(Error::NoBinary { hook: Box::new(hook), source: errno.into() }),
    }
}

fn value_of(args: &[String], option: &str) -> Option<PathBuf> {
    let at = args.iter().position(|argument| argument == option)?;
    args.get(at + 1).map(PathBuf::from)
}

fn list(directories: &[PathBuf]) -> String {
    directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const OURS: &str = r#"{"version": "1.0.0", "hook": {"path": "/bin/sh", "args": ["nvbind-hook", "prestart", "--driver-root", "/d"]},
        "when": {"annotations": {"^io\\.nvbind\\.gpu$": ".*"}}, "stages": ["prestart"]}"#;
    const OTHERS: &str = r#"{"version": "1.0.0", "hook": {"path": "/none"}, "when": {"always": true}, "stages": ["prestart"]}"#;

    fn directory(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let path = dir.path().to_owned();
        (dir, path)
    }

    #[test]
    fn the_hook_is_found_among_others_with_its_arguments() {
        let (_dir, path) =
            directory(&[("10-other.json", OTHERS), ("nvbind.json", OURS), ("nvbind.json.bak", "x")]);
        let expected = Installed {
            json: path.join("nvbind.json"),
            binary: PathBuf::from("/bin/sh"),
            driver_root: Some(PathBuf::from("/d")),
            config: None,
        };
        assert_eq!(find(&[PathBuf::from("/nonexistent"), path]).unwrap(), expected);
    }

    #[test]
    fn a_later_directory_replaces_a_file_of_the_same_name() {
        let (_first, first) = directory(&[("nvbind.json", OURS)]);
        let (_second, second) = directory(&[("nvbind.json", OTHERS)]);
        assert!(matches!(find(&[first.clone(), second.clone()]), Err(Error::NotInstalled { .. })));
        assert_eq!(find(&[second, first.clone()]).unwrap().json, first.join("nvbind.json"));
    }

    #[test]
    fn a_missing_or_unexecutable_binary_is_an_error() {
        for (binary, reason) in
            [("/none/nvbind-hook", io::ErrorKind::NotFound), ("/etc/passwd", io::ErrorKind::PermissionDenied)]
        {
            let (_dir, path) = directory(&[("nvbind.json", &OURS.replace("/bin/sh", binary))]);
            match find(&[path]) {
                Err(Error::NoBinary { source, .. }) => assert_eq!(source.kind(), reason),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_broken_file_of_anybody_is_reported() {
        let (_dir, path) = directory(&[("a.json", "{"), ("nvbind.json", OURS)]);
        assert!(matches!(find(&[path]), Err(Error::Parse { .. })));
    }

    #[test]
    fn nvidia_s_own_hook_is_known_by_its_program() {
        let theirs = OTHERS.replace("/none", "/usr/bin/nvidia-container-runtime-hook");
        let (_dir, path) = directory(&[("a.json", OTHERS), ("b.json", "[]"), ("nvbind.json", OURS)]);
        assert!(!has_nvidias(&[path.clone(), PathBuf::from("/nonexistent")]));
        fs::write(path.join("c.json"), theirs).unwrap();
        assert!(has_nvidias(&[path]));
    }

    #[test]
    fn patterns_of_the_annotation() {
        for (pattern, expected) in [
            ("^io\\.nvbind\\.", true),
            ("^io\\.nvbind\\.gpu$", true),
            ("io.nvbind.gpu", true),
            ("^io.nvbind.gpu$", true),
            ("^io\\.nvbind\\.gpu\\.x$", false),
            ("^io\\.nvbind\\.capabilities$", false),
        ] {
            assert_eq!(is_for_nvbind(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn hooks_dir_options_are_lists_for_an_older_podman() {
        let values = ["/a,/b", "/c"].map(OsStr::new);
        assert_eq!(from_command_line(values), ["/a", "/b", "/c"].map(PathBuf::from));
    }
}
