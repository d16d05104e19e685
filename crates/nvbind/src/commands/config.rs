//! `nvbind config`: what the configuration is, where it comes from, and whether it can be used.

use crate::args;
use crate::config::{self, Configuration, Layer};
use crate::failure::Failure;
use crate::output;
use nix::sys::stat::{Mode, umask};
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::message::printable;
use nvbind_core::settings::SYSTEM_FILE;
use nvbind_core::settings::keys::{KEYS, Key, PROFILES, template};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why no file is written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{} is there already, and stays as it is", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the user has no home directory")]
    NoHome,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Exists { .. } | Error::NoHome => Exit::Request,
            Error::Write { .. } => Exit::Permission,
        }
    }
}

/// Does what the subcommand says.
pub(crate) fn config(command: &args::Config) -> Result<(), Failure> {
    match command {
        args::Config::Show(files) => show(&layers(files)),
        args::Config::Check(files) => check(&layers(files)),
        args::Config::Path(files) => path(&layers(files)),
        args::Config::Init => init(),
    }
}

fn layers(files: &args::ConfigFiles) -> Vec<Layer> {
    config::layers(files.config.as_deref())
}

fn show(layers: &[Layer]) -> Result<(), Failure> {
    let configuration = Configuration::load(layers)?;
    configuration.lost.iter().for_each(|note| log::warn!("{note}"));
    Ok(output::print(text(&configuration).as_bytes())?)
}

/// The configuration as a file that says the same, with the origin of each value as a comment.
fn text(configuration: &Configuration) -> String {
    let mut text = String::new();
    let mut table = "";
    for key in KEYS {
        if key.table != table {
            table = key.table;
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{table}]");
        }
        let lines = lines(configuration, key);
        if lines.is_empty() {
            let _ = writeln!(text, "{} = {}  # default", key.name, key.default);
        }
        text.extend(lines);
    }
    let of_profile = |path: &[String]| path.first().is_some_and(|table| table == PROFILES);
    let profiles: Vec<String> =
        configuration.values.0.iter().filter(|(path, _)| of_profile(path)).map(line).collect();
    if !profiles.is_empty() {
        let _ = writeln!(text, "\n[{PROFILES}]");
    }
    text.extend(profiles);
    text
}

/// What files set of a key: one line, or one for each entry of a table.
fn lines(configuration: &Configuration, key: &Key) -> Vec<String> {
    let of_key =
        |path: &[String]| matches!(path, [table, name, ..] if table == key.table && name == key.name);
    let set = configuration.values.0.iter().filter(|(path, _)| of_key(path));
    set.map(line).collect()
}

/// A key below its table, with its value and where that stands.
pub(super) fn line((path, set): (&config::KeyPath, &config::Set)) -> String {
    let names: Vec<String> = path.iter().skip(1).map(|name| bare_or_quoted(name)).collect();
    let origin = printable(&set.origin.to_string());
    format!("{} = {}  # {origin}\n", names.join("."), set.value)
}

fn bare_or_quoted(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.to_owned();
    }
    toml::Value::from(name).to_string()
}

fn check(layers: &[Layer]) -> Result<(), Failure> {
    let mut failed: Option<Failure> = None;
    for layer in layers {
        match layer.read() {
            Ok(Some(_)) => output::print(format!("{}: ok\n", display(&layer.path)).as_bytes())?,
            Ok(None) => {}
            Err(error) => {
                if let Some(earlier) = failed.replace(error.into()) {
                    let _ = earlier.report();
                }
            }
        }
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    let configuration = Configuration::load(layers)?;
    configuration.lost.iter().for_each(|note| log::warn!("{note}"));
    Ok(())
}

fn path(layers: &[Layer]) -> Result<(), Failure> {
    let mut text = String::new();
    for layer in layers {
        let state = match fs::metadata(&layer.path) {
            Ok(_) => String::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "  (not there)".to_owned(),
            Err(error) => format!("  ({error})"),
        };
        let _ = writeln!(text, "{}{state}", display(&layer.path));
    }
    Ok(output::print(text.as_bytes())?)
}

/// A path as a terminal may have it.
fn display(path: &Path) -> String {
    printable(&path.display().to_string())
}

fn init() -> Result<(), Failure> {
    let path = if nix::unistd::geteuid().is_root() {
        // Every user's nvbind and hook read it, whatever the umask of who writes it.
        umask(Mode::from_bits_truncate(0o022));
        PathBuf::from(SYSTEM_FILE)
    } else {
        config::user_file().ok_or(Error::NoHome)?
    };
    write_new(&path)?;
    Ok(output::print(format!("wrote {}\n", display(&path)).as_bytes())?)
}

fn write_new(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::Exists { path: path.to_owned() });
        }
        opened => opened.map_err(failed)?,
    };
    file.write_all(template().as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Kind;
    use tempfile::TempDir;

    fn layer(dir: &TempDir, name: &str, kind: Kind, text: &str) -> Layer {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Layer { path, kind }
    }

    #[test]
    fn what_is_shown_says_the_same_as_the_files_and_where() {
        let dir = TempDir::new().unwrap();
        let layers = [
            layer(&dir, "a", Kind::System, "[runtime]\nenvironment = { A = \"1\", \"B c\" = \"2\" }\n"),
            layer(
                &dir,
                "b",
                Kind::Named,
                "[gpu]\n\ndefault_selection = '0,1'\n[runtime.environment]\nA = \"$A\"\n[profiles.\"my own\"]\nshm_size = '1g'\n",
            ),
        ];
        let configuration = Configuration::load(&layers).unwrap();
        let shown = text(&configuration);
        let at = |name: &str, line: u32| format!("# {}:{line}\n", dir.path().join(name).display());
        for line in [
            format!("environment.A = \"$A\"  {}", at("b", 5)),
            format!("environment.\"B c\" = \"2\"  {}", at("a", 2)),
            format!("\n[profiles]\n\"my own\".shm_size = \"1g\"  {}", at("b", 7)),
            format!("default_selection = \"0,1\"  {}", at("b", 3)),
            "default_args = []  # default\n".to_owned(),
        ] {
            assert!(shown.contains(&line), "{line} in\n{shown}");
        }
        let again = layer(&dir, "c", Kind::System, &shown);
        assert_eq!(Configuration::load(&[again]).unwrap().settings, configuration.settings);
    }

    #[test]
    fn a_file_that_is_there_is_not_written() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("nvbind/config.toml");
        write_new(&path).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, template());
        fs::write(&path, "mine").unwrap();
        let error = write_new(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is there already, and stays as it is", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
