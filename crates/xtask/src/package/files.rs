//! What a package consists of: the one table of files for all formats, and the tree that is made of it.
use super::{Release, fixture, notices, sbom};
use crate::release;
use nvbind_fixtures::error::{Doing, Result};
use nvbind_fixtures::process;
use nvbind_fixtures::tree::Packaged;
use nvbind_fixtures::tree::Tree;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Where a file's content comes from.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// A program of the release build.
    Built(&'static str),
    /// A file of the repository.
    Repository(&'static str),
    /// The files of a folder of the repository, of which the table has the folder.
    Folder(&'static str),
    /// A file of the repository with the release's values filled in.
    Template(&'static str),
    /// What the built command line prints for these words.
    Printed(&'static [&'static str]),
    /// The licences of the crates that are linked into the programs.
    Notices,
    /// What the programs are made of.
    Sbom,
    /// The built command line's manual pages: many files, of which the table has the folder.
    ManPages,
}
use Content::{Built, Folder, ManPages, Notices, Printed, Repository, Sbom, Template};

/// Which packages have a file: places of licences and completions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    All,
    /// Those of Debian.
    Debian,
    Others,
}

/// A row: content, place below the root, permissions, packages. A name that ends in `.gz` is compressed.
type Row = (Content, &'static str, u32, For);

/// The files. Package managers install them in the order of their names and remove them in the reverse order: the JSON
/// that podman reads is never there without the hook. The other JSON lies where podman looks only when it is told to.
const FILES: &[Row] = &[
    (Built("nvbind"), "usr/bin/nvbind", 0o755, For::All),
    (Built("nvbind-hook"), "usr/libexec/nvbind/nvbind-hook", 0o755, For::All),
    (Repository("hooks.d/nvbind.json"), "usr/share/containers/oci/hooks.d/nvbind.json", 0o644, For::All),
    (
        Repository("hooks.d/nvbind-visible-devices.json"),
        "usr/share/nvbind/hooks.d/nvbind-visible-devices.json",
        0o644,
        For::All,
    ),
    (
        Repository("packaging/systemd/nvbind-devices.service"),
        "usr/lib/systemd/system/nvbind-devices.service",
        0o644,
        For::All,
    ),
    (
        Repository("packaging/systemd/nvbind@.service"),
        "usr/lib/systemd/system/nvbind@.service",
        0o644,
        For::All,
    ),
    (
        Repository("packaging/systemd/nvbind@.service"),
        "usr/lib/systemd/user/nvbind@.service",
        0o644,
        For::All,
    ),
    (Repository("packaging/udev/71-nvbind.rules"), "usr/lib/udev/rules.d/71-nvbind.rules", 0o644, For::All),
    (Repository("packaging/selinux/nvbind.cil"), "usr/share/selinux/packages/nvbind.cil", 0o644, For::All),
    (ManPages, "usr/share/man/man1", 0o644, For::All),
    (Printed(&["completions", "bash"]), "usr/share/bash-completion/completions/nvbind", 0o644, For::All),
    (Printed(&["completions", "fish"]), "usr/share/fish/vendor_completions.d/nvbind.fish", 0o644, For::All),
    (Printed(&["completions", "zsh"]), "usr/share/zsh/vendor-completions/_nvbind", 0o644, For::Debian),
    (Printed(&["completions", "zsh"]), "usr/share/zsh/site-functions/_nvbind", 0o644, For::Others),
    (Repository("README.md"), "usr/share/doc/nvbind/README.md", 0o644, For::All),
    (Folder("docs/guide"), "usr/share/doc/nvbind/docs/guide", 0o644, For::All),
    (Repository("docs/migration.md"), "usr/share/doc/nvbind/docs/migration.md", 0o644, For::All),
    (Repository("docs/reference.md"), "usr/share/doc/nvbind/docs/reference.md", 0o644, For::All),
    (Repository("docs/threat-model.md"), "usr/share/doc/nvbind/docs/threat-model.md", 0o644, For::All),
    (
        Repository("packaging/quadlet/gpu.container"),
        "usr/share/doc/nvbind/examples/gpu.container",
        0o644,
        For::All,
    ),
    (Sbom, "usr/share/doc/nvbind/nvbind.cdx.json", 0o644, For::All),
    (Repository("CHANGELOG.md"), "usr/share/doc/nvbind/changelog.gz", 0o644, For::Debian),
    (Template("packaging/deb/changelog"), "usr/share/doc/nvbind/changelog.Debian.gz", 0o644, For::Debian),
    (Repository("packaging/deb/copyright"), "usr/share/doc/nvbind/copyright", 0o644, For::Debian),
    (Notices, "usr/share/doc/nvbind/third-party-notices.gz", 0o644, For::Debian),
    (Repository("packaging/deb/lintian-overrides"), "usr/share/lintian/overrides/nvbind", 0o644, For::Debian),
    (Repository("CHANGELOG.md"), "usr/share/doc/nvbind/CHANGELOG.md", 0o644, For::Others),
    (Repository("LICENSE-APACHE"), "usr/share/licenses/nvbind/LICENSE-APACHE", 0o644, For::Others),
    (Repository("LICENSE-MIT"), "usr/share/licenses/nvbind/LICENSE-MIT", 0o644, For::Others),
    (Notices, "usr/share/licenses/nvbind/third-party-notices", 0o644, For::Others),
];

/// Fills `root` of a tree with the files for these packages, all of the release's time, and tells them in their order.
pub(super) fn stage(release: &Release, tree: &Tree, root: &str, of: For) -> Result<Vec<Packaged>> {
    let mut staged = Vec::new();
    for (from, to, mode, _) in FILES.iter().filter(|(.., packages)| [For::All, of].contains(packages)) {
        for (path, content) in contents(release, tree, *from, to)? {
            let place = Path::new(root).join(&path);
            match path.strip_suffix(".gz") {
                None => tree.file(&place, content, *mode).map_err(fixture)?,
                Some(plain) => {
                    let plain = Path::new(root).join(plain);
                    tree.file(&plain, content, *mode).map_err(fixture)?;
                    // -n: neither the name nor the time.
                    process::read(Command::new("gzip").args(["--best", "-n"]).arg(tree.at(&plain)))?;
                }
            }
            staged.push(Packaged { path: Path::new("/").join(path), mode: *mode });
        }
    }
    set_times(&tree.at(root), release.time())?;
    staged.sort();
    Ok(staged)
}

/// The files of one row: place and content.
fn contents(release: &Release, tree: &Tree, from: Content, to: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let nvbind = release::folder(&release.project).join("nvbind");
    let content = match from {
        Built(name) => read(&release::folder(&release.project).join(name))?,
        Repository(path) => read(&release.project.join(path))?,
        Folder(path) => return files_of(&release.project.join(path), to, ""),
        Template(path) => release.template(path)?.into_bytes(),
        Printed(words) => process::read(Command::new(nvbind).args(words))?.into_bytes(),
        Notices => notices::of(&release.project)?.into_bytes(),
        Sbom => sbom::of(&release.project, release.version())?.into_bytes(),
        ManPages => return man_pages(&nvbind, tree, to),
    };
    Ok(vec![(to.to_owned(), content)])
}

fn man_pages(nvbind: &Path, tree: &Tree, to: &str) -> Result<Vec<(String, Vec<u8>)>> {
    tree.dir("man").map_err(fixture)?;
    let folder = tree.at("man");
    process::read(Command::new(nvbind).arg("man").arg(&folder))?;
    files_of(&folder, to, ".gz")
}

/// The files of a folder, with `ending` behind their names.
fn files_of(folder: &Path, to: &str, ending: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).on("list", folder)? {
        let entry = entry.on("list", folder)?;
        files.push((format!("{to}/{}{ending}", entry.file_name().to_string_lossy()), read(&entry.path())?));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).on("read", path)
}

/// Gives a folder, and all that is in it, one time of change.
pub(super) fn set_times(path: &Path, time: SystemTime) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).on("list", path)? {
            set_times(&entry.on("list", path)?.path(), time)?;
        }
    }
    let times = FileTimes::new().set_modified(time);
    File::open(path).and_then(|file| file.set_times(times)).on("set the time of", path)
}

/// A time in seconds since 1970.
pub(super) fn time(epoch: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn places(of: For) -> Vec<&'static str> {
        let rows = FILES.iter().filter(|(.., packages)| [For::All, of].contains(packages));
        rows.map(|(_, place, ..)| *place).collect()
    }

    #[test]
    fn every_place_is_given_once() {
        for of in [For::Debian, For::Others] {
            let places = places(of);
            assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{of:?}");
        }
    }

    #[test]
    fn the_hook_comes_before_the_json_that_names_it() {
        let place = |name: &str| places(For::All).into_iter().find(|place| place.ends_with(name)).unwrap();
        let (hook, json) = (place("/nvbind-hook"), place("/nvbind.json"));
        assert!(hook < json, "{hook} {json}");
        let text = include_str!("../../../../hooks.d/nvbind.json");
        assert!(text.contains(&format!("\"/{hook}\"")), "{text}");
    }

    fn project() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
    }

    /// The documents by their places in the repository, which are those below the packages' folder of documents.
    fn documents() -> BTreeSet<PathBuf> {
        let mut documents = BTreeSet::new();
        for (content, place, ..) in FILES {
            if let Repository(path) | Folder(path) = *content
                && let Some(above) = place.strip_suffix(path)
                && above == "usr/share/doc/nvbind/"
            {
                let path = project().join(path);
                match fs::read_dir(&path) {
                    Ok(entries) => documents.extend(entries.map(|entry| entry.unwrap().path())),
                    Err(_) => drop(documents.insert(path)),
                }
            }
        }
        documents
    }

    /// README's links to documents for developers lead nowhere in a package.
    #[test]
    fn a_users_document_links_to_packaged_ones_alone() {
        let documents = documents();
        assert!(documents.len() > 10, "{documents:?}");
        for path in documents.iter().filter(|path| **path != project().join("README.md")) {
            let text = fs::read_to_string(path).unwrap();
            let links =
                text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
            let files = links.filter(|link| !link.contains("://")).filter_map(|link| link.split('#').next());
            for file in files.filter(|file| !file.is_empty()) {
                // Whether it is there at all is claimed where the guide is run.
                let Ok(target) = path.parent().unwrap().join(file).canonicalize() else { continue };
                assert!(documents.contains(&target), "{}: {file}", path.display());
            }
        }
    }
}
