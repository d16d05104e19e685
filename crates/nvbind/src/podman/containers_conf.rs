//! The settings of containers.conf(5) that decide whether the hook runs, `[engine] hooks_dir` and `remote`, and the `runtime`
//! that runs it.
//!
//! The order of files is that of `pkg/config/new.go` in containers/common (Podman 5; Podman 4.3 lacks modules and
//! `CONTAINERS_CONF_OVERRIDE`, and reads no user's files as root).

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The only directory that every podman reads without being told to.
pub(crate) const DEFAULT_HOOKS_DIR: &str = "/usr/share/containers/oci/hooks.d";

/// Where podman's configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// The distribution's, `/usr/share/containers`.
    pub(crate) vendor: PathBuf,
    /// The administrator's, `/etc/containers`.
    pub(crate) admin: PathBuf,
    /// The user's, `$XDG_CONFIG_HOME/containers` or `~/.config/containers`.
    pub(crate) user: Option<PathBuf>,
    /// `CONTAINERS_CONF`: instead of all of those.
    pub(crate) instead: Option<PathBuf>,
    /// `CONTAINERS_CONF_OVERRIDE`: read last.
    pub(crate) on_top: Option<PathBuf>,
    /// Modules are looked for in the user's directory too.
    pub(crate) rootless: bool,
}

/// What they say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// `hooks_dir`, or the default.
    pub(crate) hooks_dirs: Vec<PathBuf>,
    /// The files that set it, in the order in which podman reads them.
    pub(crate) hooks_dirs_from: Vec<PathBuf>,
    /// `remote`: podman is a client of another podman.
    pub(crate) remote: bool,
    /// `runtime`: a name or a path; podman's choice where it is not set.
    pub(crate) runtime: Option<String>,
    /// Whether a list has such a mark, which Podman before 4.8 cannot read.
    pub(crate) has_attributes: bool,
    /// A list marked `{append = true}` makes the following lists append too.
    append: bool,
}

/// Why podman's configuration can't be told. Podman refuses to start on each of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or a directory of the chain.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file that is not TOML.
    #[error("cannot parse {}", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A module in none of the directories for modules.
    #[error("podman's --module {} is in none of its directories", name.display())]
    NoModule { name: PathBuf },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Driver
    }
}

impl Sources {
    /// The sources of a podman that this process starts.
    #[must_use]
    pub(crate) fn of_this_process() -> Sources {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config_home =
            path("XDG_CONFIG_HOME").or_else(|| env::home_dir().map(|home| home.join(".config")));
        Sources {
            vendor: PathBuf::from("/usr/share/containers"),
            admin: PathBuf::from("/etc/containers"),
            user: config_home.map(|home| home.join("containers")),
            instead: path("CONTAINERS_CONF"),
            on_top: path("CONTAINERS_CONF_OVERRIDE"),
            rootless: !nix::unistd::geteuid().is_root(),
        }
    }

    /// Reads them all, with the modules of the command line.
    pub(crate) fn read(&self, modules: &[PathBuf]) -> Result<Engine, Error> {
        self.read_with(modules, None)
    }

    /// The same, as if this drop-in were there with this text already.
    pub(crate) fn read_with(
        &self,
        modules: &[PathBuf],
        planned: Option<(&Path, &str)>,
    ) -> Result<Engine, Error> {
        let mut engine = Engine::default();
        if let Some(path) = &self.instead {
            engine.merge(path, &read(path)?)?;
        } else {
            engine.merge_if_there(&self.vendor.join("containers.conf"))?;
            for directory in [Some(&self.admin), self.user.as_ref()].into_iter().flatten() {
                engine.merge_if_there(&directory.join("containers.conf"))?;
                let directory = directory.join("containers.conf.d");
                let mut paths = drop_ins(&directory)?;
                let planned = planned.filter(|(path, _)| path.parent() == Some(directory.as_path()));
                if let Some((path, _)) = planned {
                    paths.retain(|there| there != path);
                    paths.push(path.to_owned());
                    paths.sort();
                }
                for path in paths {
                    match planned.filter(|(planned, _)| *planned == path) {
                        Some((_, text)) => engine.merge(&path, text)?,
                        None => engine.merge(&path, &read(&path)?)?,
                    }
                }
            }
        }
        for name in modules {
            let path = self.module(name)?;
            engine.merge(&path, &read(&path)?)?;
        }
        if let Some(path) = &self.on_top {
            engine.merge(path, &read(path)?)?;
        }
        Ok(engine)
    }

    fn module(&self, name: &Path) -> Result<PathBuf, Error> {
        let user = self.user.as_ref().filter(|_user| self.rootless);
        [user, Some(&self.admin), Some(&self.vendor)]
            .into_iter()
            .flatten()
            .map(|directory| directory.join("containers.conf.modules").join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| Error::NoModule { name: name.to_owned() })
    }
}

impl Default for Engine {
    fn default() -> Engine {
        Engine {
            hooks_dirs: vec![PathBuf::from(DEFAULT_HOOKS_DIR)],
            hooks_dirs_from: Vec::new(),
            remote: false,
            runtime: None,
            has_attributes: false,
            append: false,
        }
    }
}

impl Engine {
    fn merge_if_there(&mut self, path: &Path) -> Result<(), Error> {
        match read(path) {
            Ok(text) => self.merge(path, &text),
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn merge(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        if !mentions_a_key(text) {
            return Ok(());
        }
        let table: Table = text
            .parse()
            .map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let Some(engine) = table.get("engine").and_then(Value::as_table) else {
            return Ok(());
        };
        if let Some(remote) = engine.get("remote").and_then(Value::as_bool) {
            self.remote = remote;
        }
        if let Some(runtime) = engine.get("runtime").and_then(Value::as_str) {
            self.runtime = Some(runtime.to_owned());
        }
        if let Some(list) = engine.get("hooks_dir").and_then(Value::as_array) {
            self.set_hooks_dirs(list);
            self.hooks_dirs_from.push(path.to_owned());
        }
        Ok(())
    }

    fn set_hooks_dirs(&mut self, list: &[Value]) {
        if let Some(append) = list.iter().find_map(|item| item.get("append").and_then(Value::as_bool)) {
            self.append = append;
            self.has_attributes = true;
        }
        if !self.append {
            self.hooks_dirs.clear();
        }
        self.hooks_dirs.extend(list.iter().filter_map(Value::as_str).map(PathBuf::from));
    }
}

/// The distribution's containers.conf is long and all comments: parsing it would be most of the pre-flight's time.
fn mentions_a_key(text: &str) -> bool {
    const KEYS: [&str; 3] = ["hooks_dir", "remote", "runtime"];
    text.lines()
        .map(str::trim_start)
        .any(|line| !line.starts_with('#') && KEYS.iter().any(|key| line.contains(key)))
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if path.extension() == Some(OsStr::new("conf")) && entry.file_type().is_ok_and(|kind| !kind.is_dir())
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// Sources in a directory of their own, with these files.
    fn machine(files: &[(&str, &str)]) -> (TempDir, Sources) {
        let dir = TempDir::new().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sources = Sources {
            vendor: dir.path().join("usr"),
            admin: dir.path().join("etc"),
            user: Some(dir.path().join("home")),
            instead: None,
            on_top: None,
            rootless: true,
        };
        (dir, sources)
    }

    fn hooks_dirs(sources: &Sources) -> Vec<String> {
        sources.read(&[]).unwrap().hooks_dirs.iter().map(|dir| dir.display().to_string()).collect()
    }

    #[test]
    fn without_a_setting_podman_reads_its_default_directory() {
        let (_dir, sources) =
            machine(&[("usr/containers.conf", "[engine]\n# hooks_dir = [\"/no\"]\n[machine]\n")]);
        assert_eq!(sources.read(&[]).unwrap(), Engine::default());
    }

    #[test]
    fn a_later_file_replaces_an_earlier_one() {
        let chain = [
            "usr/containers.conf",
            "etc/containers.conf",
            "etc/containers.conf.d/10.conf",
            "etc/containers.conf.d/20.conf",
            "home/containers.conf",
            "home/containers.conf.d/nvbind.conf",
        ];
        for last in 0..chain.len() {
            let texts: Vec<_> =
                chain.iter().map(|path| format!("[engine]\nhooks_dir = [\"/from/{path}\"]\n")).collect();
            let files: Vec<_> =
                chain.iter().copied().zip(texts.iter().map(String::as_str)).take(last + 1).collect();
            let (_dir, sources) = machine(&files);
            assert_eq!(hooks_dirs(&sources), [format!("/from/{}", chain[last])]);
        }
    }

    #[test]
    fn append_holds_until_a_file_says_otherwise() {
        let (_dir, sources) = machine(&[
            ("etc/containers.conf", "[engine]\nhooks_dir = [\"/a\", {append = true}]\n"),
            ("home/containers.conf", "[engine]\nhooks_dir = [\"/b\"]\n"),
        ]);
        assert_eq!(hooks_dirs(&sources), [DEFAULT_HOOKS_DIR, "/a", "/b"]);
        let (_dir, sources) = machine(&[
            ("etc/containers.conf", "[engine]\nhooks_dir = [\"/a\", {append = true}]\n"),
            ("home/containers.conf", "[engine]\nhooks_dir = [\"/b\", {append = false}]\n"),
        ]);
        assert_eq!(hooks_dirs(&sources), ["/b"]);
    }

    #[test]
    fn only_files_that_end_in_conf_are_drop_ins() {
        let set = "[engine]\nhooks_dir = [\"/x\"]\n";
        let (_dir, sources) = machine(&[
            ("home/containers.conf.d/a.conf.bak", set),
            ("home/containers.conf.d/sub.conf/b.conf", set),
            ("home/containers.conf.d/readme", set),
        ]);
        assert_eq!(hooks_dirs(&sources), [DEFAULT_HOOKS_DIR]);
    }

    #[test]
    fn a_planned_drop_in_counts_at_its_place_and_replaces_the_one_that_is_there() {
        let (dir, mut sources) = machine(&[
            ("home/containers.conf.d/a.conf", "[engine]\nhooks_dir = [\"/a\"]\n"),
            ("home/containers.conf.d/m.conf", "[engine\nbroken"),
        ]);
        let path = dir.path().join("home/containers.conf.d/m.conf");
        let planned = Some((path.as_path(), "[engine]\nhooks_dir = [\"/m\"]\n"));
        let read = |sources: &Sources| sources.read_with(&[], planned).unwrap();
        assert_eq!(read(&sources).hooks_dirs, [Path::new("/m")]);
        assert_eq!(read(&sources).hooks_dirs_from.last(), Some(&path));
        fs::write(dir.path().join("home/containers.conf.d/z.conf"), "[engine]\nhooks_dir = [\"/z\"]\n")
            .unwrap();
        assert_eq!(read(&sources).hooks_dirs, [Path::new("/z")]);
        // Where podman reads one file alone, no drop-in counts.
        sources.instead = Some(dir.path().join("home/containers.conf.d/a.conf"));
        assert_eq!(read(&sources).hooks_dirs, [Path::new("/a")]);
    }

    #[test]
    fn the_environment_replaces_the_chain_or_tops_it() {
        let (dir, mut sources) = machine(&[
            ("home/containers.conf", "[engine]\nhooks_dir = [\"/home\"]\n"),
            ("instead", "[engine]\nremote = true\n"),
            ("top", "[engine]\nhooks_dir = [\"/top\"]\n"),
        ]);
        sources.instead = Some(dir.path().join("instead"));
        assert_eq!(sources.read(&[]).unwrap(), Engine { remote: true, ..Engine::default() });
        sources.on_top = Some(dir.path().join("top"));
        assert_eq!(hooks_dirs(&sources), ["/top"]);
    }

    #[test]
    fn a_module_is_read_after_the_chain_from_the_nearest_directory() {
        let (dir, sources) = machine(&[
            ("home/containers.conf", "[engine]\nhooks_dir = [\"/home\"]\n"),
            ("home/containers.conf.modules/m", "[engine]\nhooks_dir = [\"/user-module\"]\n"),
            ("etc/containers.conf.modules/m", "[engine]\nhooks_dir = [\"/admin-module\"]\n"),
        ]);
        let read =
            |sources: &Sources, name: &Path| sources.read(&[name.to_owned()]).map(|engine| engine.hooks_dirs);
        assert_eq!(read(&sources, Path::new("m")).unwrap(), [Path::new("/user-module")]);
        let as_root = Sources { rootless: false, ..sources.clone() };
        assert_eq!(read(&as_root, Path::new("m")).unwrap(), [Path::new("/admin-module")]);
        let absolute = dir.path().join("etc/containers.conf.modules/m");
        assert_eq!(read(&sources, &absolute).unwrap(), [Path::new("/admin-module")]);
        assert!(matches!(read(&sources, Path::new("none")), Err(Error::NoModule { .. })));
    }

    #[test]
    fn what_podman_would_refuse_is_an_error() {
        let (_dir, sources) = machine(&[("home/containers.conf", "[engine\nhooks_dir = 1\n")]);
        assert!(matches!(sources.read(&[]), Err(Error::Parse { .. })));
        let missing = Sources { instead: Some(PathBuf::from("/nonexistent/containers.conf")), ..sources };
        assert!(matches!(missing.read(&[]), Err(Error::Read { .. })));
    }
}
