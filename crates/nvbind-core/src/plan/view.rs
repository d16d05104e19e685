//! The driver view: what stands at each path below it.

use crate::abi::Abi;
use crate::capability::Capabilities;
use crate::extras::Extra;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

/// A path below the view, without a leading `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewPath(String);

impl ViewPath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a container sees it whose view stands at `place`.
    #[must_use]
    pub fn at(&self, place: &str) -> String {
        format!("{place}/{self}")
    }
}

impl<T: Into<String>> From<T> for ViewPath {
    fn from(path: T) -> ViewPath {
        ViewPath(path.into())
    }
}

impl Borrow<str> for ViewPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ViewPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands at a path of the view. Host paths are inside the driver root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file of the host, bound read-only.
    File {
        /// Its path, without links.
        host: String,
        /// The asked-for capabilities that need it.
        capabilities: Capabilities,
    },
    /// The socket of one of the driver's daemons.
    Socket {
        /// Its path, which no link leads to.
        host: String,
        /// The asked-for capabilities that need it.
        capabilities: Capabilities,
    },
    /// A directory of the host in which the container can write.
    Shared {
        /// Its path, which no link leads to.
        host: &'static str,
        /// The extra that it belongs to.
        extra: Extra,
    },
    /// A file of our own.
    Text {
        /// What the file contains.
        text: String,
        /// The driver's file that it was made from, if there is one.
        from: Option<String>,
        /// The asked-for capabilities that need it.
        capabilities: Capabilities,
    },
    /// A symbolic link.
    Link {
        /// What it contains: a name beside it, a path of the view relative to it, or a path of the container.
        target: String,
    },
}

/// All entries, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View(BTreeMap<ViewPath, Entry>);

impl View {
    /// Puts an entry at a path where there is none yet: the first to claim a path has it.
    pub fn add(&mut self, path: impl Into<ViewPath>, entry: Entry) {
        self.0.entry(path.into()).or_insert(entry);
    }

    /// What stands at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.0.get(path)
    }

    /// The entries, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&ViewPath, &Entry)> {
        self.0.iter()
    }

    /// The entries in a directory and below it, by path.
    fn below(&self, directory: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let start = format!("{directory}/");
        let from = self.0.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        from.map_while(move |(path, entry)| Some((path.0.strip_prefix(&start)?, entry)))
    }

    /// Whether anything is below a directory.
    #[must_use]
    pub fn has_below(&self, directory: &str) -> bool {
        self.below(directory).next().is_some()
    }

    /// The names of one of the view's library directories that programs ask the loader for, sorted: sonames and file names.
    pub fn sonames(&self, abi: Abi) -> impl Iterator<Item = &str> {
        let is_ours = [Abi::NATIVE, Abi::COMPAT32].contains(&Some(abi));
        let directory = is_ours.then(|| self.below(library_directory(abi)));
        directory.into_iter().flatten().map(|(name, _)| name).filter(|name| !name.contains('/'))
    }

    /// Keeps the entries for which this holds.
    pub fn retain(&mut self, keep: impl Fn(&ViewPath, &Entry) -> bool) {
        self.0.retain(|path, entry| keep(path, entry));
    }

    /// The library directories that have something in them, as the container sees them whose view stands at `place`, a
    /// line each: the content of [`DROP_IN`](super::DROP_IN).
    #[must_use]
    pub fn drop_in(&self, place: &str) -> String {
        let abis = [Abi::NATIVE, Abi::COMPAT32].into_iter().flatten();
        let used = abis.filter(|abi| self.sonames(*abi).next().is_some());
        used.map(|abi| format!("{place}/{}\n", library_directory(abi))).collect()
    }
}

/// The directory below the view that has an architecture's libraries.
#[must_use]
pub const fn library_directory(abi: Abi) -> &'static str {
    match abi {
        Abi::X86_64 | Abi::Aarch64 => "lib64",
        Abi::I386 => "lib",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> Entry {
        Entry::Link { target: target.to_owned() }
    }

    #[test]
    fn the_first_to_claim_a_path_has_it() {
        let mut view = View::default();
        view.add("lib64/a", link("one"));
        view.add("lib64/a", link("other"));
        assert_eq!(view.get("lib64/a"), Some(&link("one")));
        assert_eq!(view.iter().count(), 1);
    }

    #[test]
    fn sonames_are_what_stands_in_the_library_directory_itself() {
        let mut view = View::default();
        for path in
            ["lib64-more/x.so", "lib64/b.so", "lib64/a.so", "lib64/nvidia/wine/c.dll", "lib/d.so", "lib640"]
        {
            view.add(path, link("x"));
        }
        let native = Abi::NATIVE.unwrap();
        assert_eq!(view.sonames(native).collect::<Vec<_>>(), ["a.so", "b.so"]);
        let foreign = if native == Abi::X86_64 { Abi::Aarch64 } else { Abi::X86_64 };
        assert_eq!(view.sonames(foreign).count(), 0);
        assert!(view.has_below("lib64/nvidia") && !view.has_below("lib64/nvidi"));
    }
}
