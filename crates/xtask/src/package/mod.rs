//! `cargo xtask package`: packages of the release build, the same bytes for the same source, wherever they are made.
//!
//! What they hold is one table (`files.rs`); each format is what its own tools make of the tree with these files.
mod arch;
mod deb;
pub(crate) mod files;
mod linked;
mod notices;
mod rpm;
mod sbom;
mod tarball;
mod version;

use crate::release;
use files::For;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::process;
use nvbind_fixtures::tree::Packaged;
use nvbind_fixtures::tree::Tree;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A format: its name on the command line, and what makes it.
type Format = (&'static str, fn(&Release) -> Result<PathBuf>);

/// The formats. All but the last are made when none is named; that one is for package builders with tools of their own,
/// as Arch's: `cp --archive` puts it into whatever becomes a package.
const FORMATS: [Format; 5] = [
    ("deb", deb::make),
    ("rpm", rpm::make),
    ("tarball", tarball::make),
    ("arch", arch::make),
    ("tree", |release| Ok(release.tree(For::Others)?.0)),
];

/// What is packaged, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// The repository, or a source archive of it.
    project: PathBuf,
    /// Where packages go.
    out: PathBuf,
    /// The packages' own number, for changes in them alone.
    pub(crate) revision: u32,
    /// The time of every file, in seconds since 1970.
    epoch: u64,
}

/// `cargo xtask package [FORMAT…]`: makes them in `target/package` and says where they are.
pub fn package(project: &Path, words: &[&str]) -> Result<()> {
    let named = |name: &&str| {
        let found = FORMATS.into_iter().find(|(format, _)| format == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = FORMATS.iter().map(|(format, _)| *format).collect();
            Error::failed(format!("package: {name}: there are {}", known.join(", ")))
        })
    };
    let formats: Vec<Format> = match words {
        [] => FORMATS.into_iter().filter(|(format, _)| *format != "tree").collect(),
        names => names.iter().map(named).collect::<Result<_>>()?,
    };
    release::build(project)?;
    let release = Release::of(project, project.join("target/package"))?;
    for (_, make) in formats {
        println!("{}", make(&release)?.display());
    }
    Ok(())
}

impl Release {
    /// The release that the source is, with its programs built, for packages in `out`.
    pub(crate) fn of(project: &Path, out: PathBuf) -> Result<Self> {
        Ok(Self { project: project.to_owned(), out, revision: 1, epoch: epoch(project)? })
    }

    /// The Debian package.
    pub(crate) fn deb(&self) -> Result<PathBuf> {
        deb::make(self)
    }

    /// The RPM package.
    pub(crate) fn rpm(&self) -> Result<PathBuf> {
        rpm::make(self)
    }

    /// The archive for any distribution, with its checksum beside it.
    pub(crate) fn tarball(&self) -> Result<PathBuf> {
        tarball::make(self)
    }

    /// The archive of the source, and the PKGBUILD beside it.
    pub(crate) fn arch(&self) -> Result<PathBuf> {
        arch::make(self)
    }

    /// The files alone, as a folder and as a list.
    pub(crate) fn tree(&self, of: For) -> Result<(PathBuf, Vec<Packaged>)> {
        let (tree, files) = self.stage(if of == For::Debian { "tree-debian" } else { "tree" }, of)?;
        Ok((tree.at("root"), files))
    }

    /// The version, of the whole workspace.
    pub(crate) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn time(&self) -> SystemTime {
        files::time(self.epoch)
    }

    /// A tree with the files in its folder `root`, beside which there is room for what a format needs.
    fn stage(&self, name: &str, of: For) -> Result<(Tree, Vec<Packaged>)> {
        let tree = Tree::create(&self.out.join(name)).map_err(fixture)?;
        let files = files::stage(self, &tree, "root", of)?;
        Ok((tree, files))
    }

    /// A file of the repository with its values filled in.
    fn template(&self, path: &str) -> Result<String> {
        let path = self.project.join(path);
        let text = fs::read_to_string(&path).on("read", &path)?;
        let date =
            process::read(self.command("date").args(["--utc", "-R", "-d", &format!("@{}", self.epoch)]))?;
        Ok(text
            .replace("@VERSION@", self.version())
            .replace("@TILDE_VERSION@", &version::with_tilde(self.version()))
            .replace("@PKGVER@", &version::joined(self.version()))
            .replace("@REVISION@", &self.revision.to_string())
            .replace("@DATE@", date.trim()))
    }

    /// A command that makes the same of the same.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOURCE_DATE_EPOCH", self.epoch.to_string()).env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// The command that packs what else its words name, in one order and as root's.
    fn tar(&self, archive: &Path) -> Command {
        let mut tar = self.command("tar");
        tar.args(["--create", "--use-compress-program=gzip --best -n", "--format=gnu", "--sort=name"]);
        tar.args(["--numeric-owner", "--owner=0", "--group=0", "--mode=u+rw,go+r-w,a+X"]);
        tar.arg(format!("--mtime=@{}", self.epoch)).arg("--file").arg(archive);
        tar
    }
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org), else the time of the commit, which is that of all files in a source
/// archive.
fn epoch(project: &Path) -> Result<u64> {
    if let Ok(text) = env::var("SOURCE_DATE_EPOCH") {
        return seconds(&text);
    }
    if project.join(".git").exists() {
        let words = ["log", "-1", "--format=%ct"];
        return seconds(&process::read(Command::new("git").arg("-C").arg(project).args(words))?);
    }
    let lock = project.join("Cargo.lock");
    let time = fs::metadata(&lock).and_then(|metadata| metadata.modified()).on("look at", &lock)?;
    Ok(time.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default())
}

fn seconds(text: &str) -> Result<u64> {
    let text = text.trim();
    text.parse().map_err(|error| Error::failed(format!("`{text}` is no time in seconds since 1970: {error}")))
}

/// The checksum that `sha256sum` finds, and a line of it for `sha256sum --check` in the file's folder.
fn sha256(path: &Path) -> Result<(String, String)> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let line = process::read(Command::new("sha256sum").arg(name).current_dir(folder))?;
    let sum = line.split_whitespace().next().unwrap_or_default().to_owned();
    Ok((sum, line))
}

fn fixture(error: impl std::error::Error + 'static) -> Error {
    Error::Fixture(Box::new(error))
}
