//! The machine or tree that an image's programs come from.
use super::ImageError;
use crate::elf;
use crate::tree::Tree;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where programs are.
const PROGRAM_DIRECTORIES: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// Where the loader of each distribution finds libraries without any configuration.
const LIBRARY_DIRECTORIES: &[&str] = &["/lib", "/usr/lib", "/lib64", "/usr/lib64"];
/// The links that a merged `/usr` has at the top.
const TOP: &[&str] = &["bin", "sbin", "lib", "lib64", "lib32", "usr/lib64", "usr/sbin"];
/// A path with more links than this in it is a loop, as for the kernel.
const MOST_LINKS: usize = 40;

/// A tree, and what has been taken from it.
#[derive(Debug)]
pub struct Source {
    root: PathBuf,
    taken: RefCell<BTreeSet<PathBuf>>,
}

impl Source {
    /// The tree at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), taken: RefCell::new(BTreeSet::new()) }
    }

    /// The links of a merged `/usr`, so that what comes later lies where it lies in the source.
    pub(super) fn system_links(&self, tree: &Tree) -> Result<(), ImageError> {
        tree.dir("usr")?;
        for name in TOP {
            if let Ok(target) = fs::read_link(self.root.join(name)) {
                // The target first: a link into nothing cannot be filled.
                let base = Path::new("/").join(name);
                let parent = base.parent().unwrap_or(&base);
                tree.dir(normal(&parent.join(&target)))?;
                tree.link(name, target)?;
            }
        }
        Ok(())
    }

    /// The configuration of a container that nobody has touched: the multiarch directories where the source is a
    /// multiarch system, else only the drop-in directory.
    pub(super) fn linker_configuration(&self, tree: &Tree) -> Result<(), ImageError> {
        tree.file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n", 0o644)?;
        tree.dir("etc/ld.so.conf.d")?;
        if let Some(triplet) = self.triplet() {
            tree.file("etc/ld.so.conf.d/libc.conf", "/usr/local/lib\n", 0o644)?;
            let directories = format!("/usr/local/lib/{triplet}\n/lib/{triplet}\n/usr/lib/{triplet}\n");
            tree.file(format!("etc/ld.so.conf.d/{triplet}.conf"), directories, 0o644)?;
        }
        Ok(())
    }

    fn triplet(&self) -> Option<&'static str> {
        let triplet = crate::driver_sim::TRIPLET;
        self.root.join("usr/lib").join(triplet).is_dir().then_some(triplet)
    }

    pub(super) fn has_program(&self, name: &str) -> bool {
        self.find_program(name).is_some()
    }

    /// Takes a program and what it needs.
    pub(super) fn program(&self, tree: &Tree, name: &str) -> Result<(), ImageError> {
        let path = self.find_program(name).ok_or_else(|| self.missing(name))?;
        self.take(tree, &path)
    }

    /// Takes a library and what it needs.
    pub(super) fn library(&self, tree: &Tree, name: &str) -> Result<(), ImageError> {
        let path = self.find_library(name).ok_or_else(|| self.missing(name))?;
        self.take(tree, &path)
    }

    /// Where the file behind `path` is on this machine.
    pub fn real(&self, path: &Path) -> PathBuf {
        self.resolve(path).map(|(_, file)| self.at(&file)).unwrap_or_default()
    }

    /// Takes what a program from elsewhere needs.
    pub(super) fn libraries_of(&self, tree: &Tree, program: &Path) -> Result<(), ImageError> {
        let Some(dynamic) = elf::read(program)? else {
            return Ok(());
        };
        if let Some(loader) = dynamic.interpreter {
            self.take(tree, Path::new(&loader))?;
        }
        for name in dynamic.needed {
            let path = self.find_library(&name).ok_or_else(|| self.missing(&name))?;
            self.take(tree, &path)?;
        }
        Ok(())
    }

    /// Copies a file with the links on the way to it, and then everything that it needs.
    fn take(&self, tree: &Tree, path: &Path) -> Result<(), ImageError> {
        if !self.taken.borrow_mut().insert(path.into()) {
            return Ok(());
        }
        let (links, file) = self.resolve(path).ok_or_else(|| self.missing(&path.display().to_string()))?;
        for (link, target) in links {
            tree.link(link, target)?;
        }
        if self.taken.borrow_mut().insert(file.clone()) || file == path {
            tree.copy(&self.at(&file), &file)?;
        }
        self.libraries_of(tree, &self.at(&file))
    }

    fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.find(PROGRAM_DIRECTORIES.iter().map(|dir| Path::new(dir).join(name)))
    }

    /// The path of a library of the loader's folders.
    pub fn find_library(&self, name: &str) -> Option<PathBuf> {
        let multiarch = self
            .triplet()
            .into_iter()
            .flat_map(|triplet| ["/lib", "/usr/lib"].map(|dir| Path::new(dir).join(triplet).join(name)));
        let flat = LIBRARY_DIRECTORIES.iter().map(|dir| Path::new(dir).join(name));
        self.find(multiarch.chain(flat))
    }

    fn find(&self, candidates: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
        candidates
            .into_iter()
            .find(|path| self.resolve(path).is_some_and(|(_, file)| self.at(&file).is_file()))
    }

    /// The links on the way to `path`, and the file at the end, all inside the tree.
    fn resolve(&self, path: &Path) -> Option<(Vec<(PathBuf, PathBuf)>, PathBuf)> {
        let mut links = Vec::new();
        let mut wanted = normal(path);
        'again: loop {
            let mut so_far = PathBuf::from("/");
            let parts: Vec<_> = wanted.components().skip(1).map(|part| part.as_os_str().to_owned()).collect();
            for (index, part) in parts.iter().enumerate() {
                let here = so_far.join(part);
                if let Ok(target) = fs::read_link(self.at(&here)) {
                    let rest: PathBuf = parts.iter().skip(index + 1).collect();
                    wanted = normal(&so_far.join(&target).join(rest));
                    links.push((here, target));
                    if links.len() > MOST_LINKS {
                        return None;
                    }
                    continue 'again;
                }
                so_far = here;
            }
            return self.at(&so_far).exists().then_some((links, so_far));
        }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The error for a program or library that is not there.
    pub fn missing(&self, name: &str) -> ImageError {
        ImageError::Missing { name: name.into(), root: self.root.clone() }
    }
}

/// Without `.` and `..`, which is right for paths whose links are already resolved.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::Normal(name) => normal.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: &str, b: &str) -> (PathBuf, PathBuf) {
        (a.into(), b.into())
    }

    #[test]
    fn absolute_links_are_followed_inside_the_tree_and_all_of_them_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::create(&dir.path().join("root")).unwrap();
        tree.link("lib64", "usr/lib64").unwrap();
        tree.link("usr/lib64/loader", "/usr/lib/real").unwrap();
        tree.file("usr/lib/real", "x", 0o755).unwrap();
        assert_eq!(
            Source::new(tree.root()).resolve(Path::new("/lib64/loader")),
            Some((
                vec![pair("/lib64", "usr/lib64"), pair("/usr/lib64/loader", "/usr/lib/real")],
                "/usr/lib/real".into()
            ))
        );
    }

    #[test]
    fn a_loop_of_links_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::create(&dir.path().join("root")).unwrap();
        tree.link("a", "b").unwrap();
        tree.link("b", "a").unwrap();
        assert_eq!(Source::new(tree.root()).resolve(Path::new("/a")), None);
    }

    #[test]
    fn parents_above_the_root_are_the_root() {
        assert_eq!(normal(Path::new("/usr/../../etc/./x")), Path::new("/etc/x"));
    }
}
