//! What an installation or a removal changes: decided for each file by what is there, then printed or done.

use super::content;
use super::staged::{self, Staged};
use super::{Error, say};
use crate::cdi;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How an installation knows the files that it wrote where others put files, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// By their first line.
    FirstLine(String),
    /// By having no edit but nvbind's hook: JSON has no room for a remark. With a path, by this hook.
    Specification(Option<PathBuf>),
}

impl Mark {
    /// Whether it is such a file. A link, such as a masked unit, is a person's own, and to open a FIFO would wait for
    /// whoever writes to it.
    #[must_use]
    pub(super) fn is_on(&self, path: &Path) -> bool {
        if !fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
            return false;
        }
        match self {
            Mark::FirstLine(line) => {
                fs::read_to_string(path).is_ok_and(|text| content::begins_with(&text, line))
            }
            Mark::Specification(wanted) => {
                let hook = cdi::File::read(path).ok().and_then(|file| file.hook);
                hook.is_some_and(|hook| wanted.as_ref().is_none_or(|wanted| *wanted == hook))
            }
        }
    }

    /// Why a file without it stays as it is.
    fn explain(&self) -> &'static str {
        match self {
            Mark::FirstLine(_) => ": it is no file whose first line says that this installation wrote it",
            Mark::Specification(_) => ": it is no specification with this installation's hook alone",
        }
    }
}

/// What a file is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A copy of this program.
    Executable(PathBuf),
    /// What a person may want to read before it is installed.
    Setting(String),
    /// What is too long for that.
    Document(Vec<u8>),
}

impl Content {
    fn mode(&self) -> u32 {
        match self {
            Content::Executable(_) => 0o755,
            Content::Setting(_) | Content::Document(_) => 0o644,
        }
    }
}

/// A file to be installed.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    /// What it is to hold.
    pub(super) content: Content,
    /// What all has that is written to this place, where others put files, too: what has it not is theirs.
    pub(super) mark: Option<Mark>,
}

/// What has to be done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is not there.
    New,
    /// It is there and differs.
    Differs,
    /// It is as it is to be, and is not touched.
    Same,
    /// It is a person's own.
    Theirs,
}

/// A file to be installed, and what has to be done for it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) wanted: Wanted,
    /// What has to be done.
    pub(super) state: State,
}

impl Step {
    /// Looks at what is there.
    pub(super) fn new(wanted: Wanted) -> Result<Step, Error> {
        let state = state(&wanted)?;
        Ok(Step { wanted, state })
    }

    /// Whether it changes the machine.
    #[must_use]
    pub(super) fn is_change(&self) -> bool {
        match self.state {
            State::New | State::Differs => true,
            State::Same | State::Theirs => false,
        }
    }

    fn stage(&self) -> Result<Option<Staged>, Error> {
        if !self.is_change() {
            return Ok(None);
        }
        let path = &self.wanted.path;
        let staged = |content: &mut dyn io::Read| {
            let staged = Staged::write(path, self.wanted.content.mode(), content);
            staged.map_err(|source| Error::Write { path: path.clone(), source })
        };
        match &self.wanted.content {
            Content::Executable(source) => {
                staged(&mut File::open(source).map_err(unreadable(source))?).map(Some)
            }
            Content::Setting(text) => staged(&mut text.as_bytes()).map(Some),
            Content::Document(bytes) => staged(&mut bytes.as_slice()).map(Some),
        }
    }

    fn describe(&self, is_done: bool) -> String {
        let word = match (self.state, is_done) {
            (State::New, true) => "installed",
            (State::New, false) => "would install",
            (State::Differs, true) => "replaced",
            (State::Differs, false) => "would replace",
            (State::Same, _) => "unchanged",
            (State::Theirs, _) => "left",
        };
        let mut text = format!("{word} {}", self.wanted.path.display());
        if let (State::Theirs, Some(mark)) = (self.state, &self.wanted.mark) {
            text.push_str(mark.explain());
        }
        if let (Content::Setting(setting), true, false) = (&self.wanted.content, self.is_change(), is_done) {
            text.push(':');
            text.extend(setting.lines().map(|line| format!("\n    {line}")));
        }
        text
    }
}

/// Prints the steps, or takes them. All files are written before the first is moved to its place.
pub(super) fn install(steps: &[Step], dry_run: bool) -> Result<(), Error> {
    if dry_run {
        steps.iter().for_each(|step| say(&step.describe(false)));
        return Ok(());
    }
    let staged: Vec<Option<Staged>> = steps.iter().map(Step::stage).collect::<Result<_, _>>()?;
    for (step, staged) in steps.iter().zip(staged) {
        if let Some(file) = staged {
            let failed = |source| Error::Write { path: step.wanted.path.clone(), source };
            file.commit().map_err(failed)?;
        }
        say(&step.describe(true));
    }
    Ok(())
}

fn state(wanted: &Wanted) -> Result<State, Error> {
    let path = &wanted.path;
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::New),
        // A file in the place of a directory is told when that cannot be made.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(State::New),
        Err(error) => return Err(unreadable(path)(error)),
    };
    if wanted.mark.as_ref().is_some_and(|mark| !mark.is_on(path)) {
        return Ok(State::Theirs);
    }
    // Told before the first file is moved to its place; a link is replaced like a file.
    if !there.is_file() && !there.is_symlink() {
        return Err(Error::InTheWay { path: path.clone() });
    }
    let content = match &wanted.content {
        Content::Executable(source) => {
            let mut file = File::open(source).map_err(unreadable(source))?;
            if staged::is_same(&file, path).map_err(unreadable(path))? {
                return Ok(State::Same);
            }
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut file, &mut bytes).map_err(unreadable(source))?;
            bytes
        }
        Content::Setting(text) => text.clone().into_bytes(),
        Content::Document(bytes) => bytes.clone(),
    };
    let is_right = there.is_file()
        && there.mode() & 0o7777 == wanted.content.mode()
        && there.uid() == nix::unistd::geteuid().as_raw()
        && fs::read(path).map_err(unreadable(path))? == content;
    Ok(if is_right { State::Same } else { State::Differs })
}

/// A file or a directory to be removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removal {
    File(PathBuf),
    /// A file that is a person's own, and stays, and why.
    Theirs(PathBuf, &'static str),
    /// A directory with nvbind's name in which nothing is left.
    Directory(PathBuf),
}

/// Looks at what is there of these files, in this order: their paths, and the marks of those among others' files.
pub(super) fn removals<'a>(files: impl Iterator<Item = (&'a Path, Option<&'a Mark>)>) -> Vec<Removal> {
    let mut removals = Vec::new();
    let mut gone = BTreeSet::new();
    for (path, mark) in files.filter(|(path, _)| fs::symlink_metadata(path).is_ok()) {
        if let Some(mark) = mark.filter(|mark| !mark.is_on(path)) {
            removals.push(Removal::Theirs(path.to_owned(), mark.explain()));
        } else {
            removals.push(Removal::File(path.to_owned()));
            gone.insert(path.to_owned());
        }
    }
    // Others' directories stay, even when they are empty: who made them is not known.
    let directories: BTreeSet<&Path> = gone.iter().filter_map(|path| path.parent()).collect();
    for directory in directories.into_iter().filter(|path| path.ends_with("libexec/nvbind")) {
        let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
        if entries.all(|entry| gone.contains(&entry.path())) {
            removals.push(Removal::Directory(directory.to_owned()));
        }
    }
    removals
}

/// Prints them, or removes them.
pub(super) fn remove(removals: &[Removal], dry_run: bool) -> Result<(), Error> {
    let word = if dry_run { "would remove" } else { "removed" };
    for removal in removals {
        let (path, removed) = match removal {
            Removal::Theirs(path, why) => {
                say(&format!("left {}{why}", path.display()));
                continue;
            }
            Removal::File(path) if !dry_run => (path, fs::remove_file(path)),
            Removal::Directory(path) if !dry_run => (path, fs::remove_dir(path)),
            Removal::File(path) | Removal::Directory(path) => (path, Ok(())),
        };
        removed.map_err(|source| Error::Remove { path: path.clone(), source })?;
        say(&format!("{word} {}", path.display()));
    }
    Ok(())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Read { path, source }
}
