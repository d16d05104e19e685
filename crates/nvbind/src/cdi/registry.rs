//! The specifications that a machine has: which file has a device's name, and which of several files an engine takes.

use super::{DIRECTORIES, Kind};
use crate::podman::hooks::below;
use crate::yaml::{self, Node};
use nvbind_core::input;
use nvbind_core::message::line;
use nvbind_core::oci::is_hook;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// No specification is as large: NVIDIA's for sixteen GPUs is a twentieth of it.
const SIZE_LIMIT: u64 = 4 << 20;

/// A specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// The position of its directory: of two files with one name, an engine takes that of the later directory.
    level: usize,
    /// As a device's name begins: `VENDOR/CLASS`.
    pub(crate) kind: String,
    /// The names of its devices.
    pub(crate) names: Vec<String>,
    /// nvbind's hook, where the file has no other edits: then it is one of nvbind's.
    pub(crate) hook: Option<PathBuf>,
    /// The host's files that it names: those that it binds, its device nodes and its hooks.
    pub(crate) host_paths: Vec<PathBuf>,
}

/// Which files an engine finds a name in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Serves<'a> {
    /// None has it.
    Nobody,
    /// This one, whatever earlier directories have.
    File(&'a File),
    /// Several of one directory, so that an engine takes none of them.
    Several(Vec<&'a File>),
}

/// All specifications of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registry {
    pub(crate) files: Vec<File>,
    /// Files and directories that cannot be read, and why. An engine passes over them.
    pub(crate) unusable: Vec<(PathBuf, String)>,
}

impl Registry {
    /// Reads those of a machine whose `/` is that directory.
    #[must_use]
    pub(crate) fn read(root: &Path) -> Registry {
        let mut registry = Registry::default();
        for (level, directory) in DIRECTORIES.iter().enumerate() {
            let shown = Path::new(directory);
            for path in registry.list(&below(root, shown)) {
                match File::read_at(&path, level) {
                    Ok(file) => registry.files.push(file),
                    Err(why) => registry.unusable.push((path, why)),
                }
            }
        }
        registry
    }

    fn list(&mut self, directory: &Path) -> Vec<PathBuf> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.unusable.push((directory.to_owned(), error.to_string()));
                return Vec::new();
            }
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let is_read = |path: &PathBuf| {
            let extension = path.extension().and_then(OsStr::to_str);
            matches!(extension, Some("json" | "yaml"))
        };
        let mut paths: Vec<PathBuf> = paths.filter(is_read).collect();
        paths.sort();
        paths
    }

    /// The files with this kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.kind == kind.name())
    }

    /// Where an engine finds a device: in the latest directory that has the name, if one file alone has it there.
    #[must_use]
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Serves<'_> {
        let has_it = |file: &&File| file.names.iter().any(|known| known == name);
        let Some(level) = self.of(kind).filter(has_it).map(|file| file.level).max() else {
            return Serves::Nobody;
        };
        let found: Vec<&File> = self.of(kind).filter(has_it).filter(|file| file.level == level).collect();
        match found.as_slice() {
            [file] => Serves::File(file),
            _ => Serves::Several(found),
        }
    }

    /// Others' files that stand in the way of nvbind's in the first directory: with a device of the same name in the
    /// same directory or a later one.
    #[must_use]
    pub(crate) fn rivals(&self, kind: Kind) -> Vec<&File> {
        self.of(kind).filter(|file| file.hook.is_none() && !file.names.is_empty()).collect()
    }
}

impl File {
    /// Reads one file, wherever it is.
    pub(crate) fn read(path: &Path) -> Result<File, String> {
        File::read_at(path, 0)
    }

    /// The first of the host's files that it names and that is not there.
    #[must_use]
    pub(crate) fn missing(&self, root: &Path) -> Option<&Path> {
        self.host_paths.iter().find(|path| !below(root, path).exists()).map(PathBuf::as_path)
    }

    fn read_at(path: &Path, level: usize) -> Result<File, String> {
        let (bytes, _) = input::read(path, SIZE_LIMIT).map_err(|error| line(&error))?;
        let text = String::from_utf8(bytes).map_err(|error| line(&error))?;
        let documents = yaml::read(&text).map_err(|error| line(&error))?;
        let document = documents.first().ok_or("it is empty")?;
        let kind = document.get("kind").and_then(Node::as_text).ok_or("it has no kind")?;
        let devices = document.get("devices").map(Node::items).unwrap_or_default();
        let names = devices.iter().filter_map(|device| device.get("name")?.as_text().map(str::to_owned));
        let edits: Vec<&Node> =
            std::iter::once(document).chain(devices).filter_map(|it| it.get("containerEdits")).collect();
        let programs: Vec<PathBuf> =
            edits.iter().flat_map(|edits| paths(edits, "hooks", &["path"])).collect();
        let is_nvbinds = !programs.is_empty()
            && programs.iter().all(|program| is_hook(program))
            && edits.iter().flat_map(|edits| edits.pairs()).all(|(key, _)| is_nvbinds_edit(key));
        let hook = programs.first().filter(|_| is_nvbinds).cloned();
        let bound = edits.iter().flat_map(|edits| paths(edits, "mounts", &["hostPath"]));
        let nodes = edits.iter().flat_map(|edits| paths(edits, "deviceNodes", &["hostPath", "path"]));
        let host_paths = bound.chain(nodes).chain(programs).collect();
        Ok(File {
            path: path.to_owned(),
            level,
            kind: kind.to_owned(),
            names: names.collect(),
            hook,
            host_paths,
        })
    }
}

fn is_nvbinds_edit(key: &Node) -> bool {
    matches!(key.as_text(), Some("env" | "hooks"))
}

/// The paths in a list of edits, each under the first of these keys that it has.
fn paths(edits: &Node, list: &str, keys: &[&str]) -> Vec<PathBuf> {
    let items = edits.get(list).map(Node::items).unwrap_or_default();
    let path = |item: &Node| {
        let node = keys.iter().find_map(|key| item.get(key).filter(|node| !node.is_null()))?;
        node.as_text().map(PathBuf::from)
    };
    items.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdi::Specification;
    use std::fs;
    use tempfile::TempDir;

    /// What NVIDIA's generator writes, in short.
    const NVIDIAS: &str = "\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
  - name: \"0\"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
  - name: all
    containerEdits:
      deviceNodes:
        - path: /dev/dri/card1
          hostPath: /driver/dev/dri/card1
containerEdits:
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, update-ldcache]
  mounts:
    - hostPath: /usr/lib/libcuda.so.570
      containerPath: /usr/lib/libcuda.so.570
";

    fn nvbinds(kind: Kind) -> String {
        let hook = "/usr/libexec/nvbind/nvbind-hook";
        Specification { kind, hook, options: &[], names: &[] }.document().to_string()
    }

    fn machine(files: &[(&str, &str)]) -> (TempDir, Registry) {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let registry = Registry::read(root.path());
        (root, registry)
    }

    fn found(registry: &Registry, name: &str) -> Vec<String> {
        let name_of = |file: &File| file.path.file_name().unwrap().to_str().unwrap().to_owned();
        match registry.find(Kind::Nvidia, name) {
            Serves::Nobody => Vec::new(),
            Serves::File(file) => vec![name_of(file)],
            Serves::Several(files) => files.into_iter().map(name_of).collect(),
        }
    }

    #[test]
    fn what_a_file_names_is_read_in_either_format() {
        let (root, registry) = machine(&[("etc/cdi/nvidia.yaml", NVIDIAS), ("etc/cdi/notes.txt", "x")]);
        let [file] = registry.files.as_slice() else { panic!("{registry:?}") };
        assert_eq!((file.kind.as_str(), file.hook.as_ref()), ("nvidia.com/gpu", None));
        assert_eq!(file.names, ["0", "all"]);
        let paths =
            ["/usr/lib/libcuda.so.570", "/dev/nvidia0", "/driver/dev/dri/card1", "/usr/bin/nvidia-cdi-hook"];
        assert_eq!(file.host_paths, paths.map(PathBuf::from));
        assert_eq!(file.missing(root.path()), Some(Path::new("/usr/lib/libcuda.so.570")));

        let (_root, registry) = machine(&[("etc/cdi/nvbind.json", &nvbinds(Kind::Nvidia))]);
        let [file] = registry.files.as_slice() else { panic!("{registry:?}") };
        assert_eq!(file.hook.as_deref(), Some(Path::new("/usr/libexec/nvbind/nvbind-hook")));
        assert_eq!(file.names.len(), 18);
    }

    #[test]
    fn of_several_files_the_later_directory_wins_and_within_one_nobody_does() {
        let ours = nvbinds(Kind::Nvidia);
        let (_root, registry) =
            machine(&[("etc/cdi/nvbind.json", &ours), ("var/run/cdi/nvidia.yaml", NVIDIAS)]);
        assert_eq!(found(&registry, "0"), ["nvidia.yaml"]);
        assert_eq!(found(&registry, "1"), ["nvbind.json"]);
        assert_eq!(found(&registry, "16"), Vec::<String>::new());
        let (_root, registry) = machine(&[("etc/cdi/nvbind.json", &ours), ("etc/cdi/nvidia.yaml", NVIDIAS)]);
        assert_eq!(found(&registry, "all"), ["nvbind.json", "nvidia.yaml"]);
        assert_eq!(found(&registry, "1"), ["nvbind.json"]);
        assert_eq!(registry.rivals(Kind::Nvidia).len(), 1);
        assert!(registry.rivals(Kind::Own).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_kept_with_the_reason() {
        let (_root, registry) = machine(&[
            ("etc/cdi/a.json", "{"),
            ("etc/cdi/b.json", ""),
            ("etc/cdi/c.yaml", "devices: []"),
            ("etc/cdi/d.json", &nvbinds(Kind::Own)),
            ("var/run/cdi", "no directory"),
        ]);
        assert_eq!(registry.files.len(), 1);
        let names: Vec<_> = registry.unusable.iter().map(|(path, _)| path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.json", "b.json", "c.yaml", "cdi"]);
    }

    #[test]
    fn a_file_with_any_other_edit_is_not_nvbinds() {
        for (from, to) in [("\"env\"", "\"mounts\""), ("/nvbind-hook\"", "/nvidia-cdi-hook\"")] {
            let text = nvbinds(Kind::Nvidia).replacen(from, to, 1);
            let (_root, registry) = machine(&[("etc/cdi/x.json", &text)]);
            assert_eq!(registry.files[0].hook, None, "{to}");
        }
    }
}
