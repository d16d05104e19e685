//! What a machine's specifications mean for who asks for a GPU.

use super::{File, Kind, Registry, Serves};
use crate::podman::hooks::below;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Fine,
    /// Something to know.
    Warning,
    /// Who asks for a device gets an error.
    Broken,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
    /// The command that mends it, for root.
    pub(crate) remedy: Vec<String>,
}

fn finding(verdict: Verdict, text: String, remedy: &[&str]) -> Finding {
    Finding { verdict, text, remedy: remedy.iter().map(|word| (*word).to_owned()).collect() }
}

const INSTALL: &[&str] = &["nvbind", "setup", "--cdi"];

const REPLACE: &[&str] = &["nvbind", "setup", "--cdi", "--replace"];

/// Judges the specifications of GPUs on a machine whose `/` is that directory, the files one by one and then together.
#[must_use]
pub(crate) fn judge(registry: &Registry, root: &Path) -> Vec<Finding> {
    let unusable = registry.unusable.iter();
    let unusable = unusable.map(|(path, why)| {
        finding(Verdict::Warning, format!("{} is passed over: {why}", path.display()), &[])
    });
    let files = Kind::ALL.into_iter().flat_map(|kind| registry.of(kind)).map(|file| of_file(file, root));
    let together = Kind::ALL.into_iter().flat_map(|kind| together(registry, kind));
    let closed = super::DIRECTORIES.iter().filter_map(|directory| closed(root, Path::new(directory)));
    unusable.chain(closed).chain(files).chain(together).collect()
}

/// Rootless engines find nothing in a directory that only root can read, and say nothing of it.
fn closed(root: &Path, directory: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(below(root, directory)).ok()?.permissions().mode();
    (mode & 0o5 != 0o5).then(|| {
        let shown = directory.display().to_string();
        let text = format!(
            "not everybody can read {shown}: a rootless engine finds no device there, and does not say why"
        );
        finding(Verdict::Warning, text, &["chmod", "a+rx", &shown])
    })
}

fn of_file(file: &File, root: &Path) -> Finding {
    let (path, kind) = (file.path.display().to_string(), &file.kind);
    match (file.missing(root), &file.hook) {
        (None, Some(hook)) => finding(Verdict::Fine, format!("{path}: {kind} runs {}", hook.display()), &[]),
        (None, None) => {
            finding(Verdict::Fine, format!("{path}: {kind} is not nvbind's, and does not run its hook"), &[])
        }
        (Some(gone), Some(_)) => {
            let gone = gone.display();
            let text =
                format!("{path} runs {gone}, which is not there: no container with such a device starts");
            finding(Verdict::Broken, text, INSTALL)
        }
        (Some(gone), None) => {
            let gone = gone.display();
            let text = format!("{path} names {gone}, which is not there: it is of another driver");
            finding(Verdict::Warning, text, &["nvidia-ctk", "cdi", "generate", &format!("--output={path}")])
        }
    }
}

/// What several files of one kind do to each other.
fn together(registry: &Registry, kind: Kind) -> Vec<Finding> {
    let (mut clashes, mut hidden) = (BTreeSet::new(), BTreeSet::new());
    for ours in registry.of(kind).filter(|file| file.hook.is_some()) {
        for name in &ours.names {
            match registry.find(kind, name) {
                Serves::File(other) if other != ours => {
                    hidden.insert((&ours.path, &other.path));
                }
                Serves::Several(files) => {
                    clashes.extend(
                        files.into_iter().filter(|file| *file != ours).map(|file| (&ours.path, &file.path)),
                    );
                }
                Serves::File(_) | Serves::Nobody => {}
            }
        }
    }
    let clashes = clashes.into_iter().map(|(ours, other)| {
        let text = format!(
            "{} and {} have the same devices in one directory, so that engines take neither's",
            ours.display(),
            other.display()
        );
        finding(Verdict::Broken, text, REPLACE)
    });
    let hidden = hidden.into_iter().map(|(ours, other)| {
        let text = format!("{} hides devices of {}", other.display(), ours.display());
        finding(Verdict::Warning, text, REPLACE)
    });
    clashes.chain(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdi::Specification;
    use std::fs;
    use tempfile::TempDir;

    const HOOK: &str = "/usr/libexec/nvbind/nvbind-hook";

    /// What is found on a machine with these files, the worst alone.
    fn worst(files: &[(&str, &str)]) -> (Verdict, String, String) {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let findings = judge(&Registry::read(root.path()), root.path());
        let worst = findings.into_iter().rev().max_by_key(|finding| finding.verdict).unwrap();
        let shown = |text: &str| text.replace(root.path().to_str().unwrap(), "");
        (worst.verdict, shown(&worst.text), shown(&worst.remedy.join(" ")))
    }

    #[test]
    fn each_fault_is_told_with_what_mends_it() {
        let ours = Specification { kind: Kind::Nvidia, hook: HOOK, options: &[], names: &[] };
        let ours = ours.document().to_string();
        let theirs = |library: &str| {
            format!(
                "kind: nvidia.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    mounts:\n    - hostPath: {library}\n"
            )
        };
        let (fresh, stale) = (theirs("/lib/there"), theirs("/lib/gone"));
        let hook = (HOOK.trim_start_matches('/'), "");
        let there = ("lib/there", "");
        for (files, verdict, says, remedy) in [
            (vec![hook, ("etc/cdi/nvbind.json", &*ours)], Verdict::Fine, "runs /usr/libexec", ""),
            (
                vec![("etc/cdi/nvbind.json", &*ours)],
                Verdict::Broken,
                "which is not there",
                "nvbind setup --cdi",
            ),
            (vec![there, ("etc/cdi/n.yaml", &*fresh)], Verdict::Fine, "is not nvbind's", ""),
            (
                vec![("etc/cdi/n.yaml", &*stale)],
                Verdict::Warning,
                "names /lib/gone",
                "nvidia-ctk cdi generate --output=/etc/cdi/n.yaml",
            ),
            (
                vec![hook, there, ("etc/cdi/nvbind.json", &*ours), ("etc/cdi/n.yaml", &*fresh)],
                Verdict::Broken,
                "engines take neither's",
                "nvbind setup --cdi --replace",
            ),
            (
                vec![hook, there, ("etc/cdi/nvbind.json", &*ours), ("var/run/cdi/n.yaml", &*fresh)],
                Verdict::Warning,
                "/var/run/cdi/n.yaml hides devices of /etc/cdi/nvbind.json",
                "nvbind setup --cdi --replace",
            ),
            (vec![("etc/cdi/n.yaml", "[")], Verdict::Warning, "is passed over", ""),
        ] {
            let found = worst(&files);
            assert_eq!(found.0, verdict, "{found:?}");
            assert!(found.1.contains(says), "{found:?}");
            assert_eq!(found.2, remedy, "{found:?}");
        }
    }

    #[test]
    fn a_directory_for_root_alone_is_told() {
        let root = TempDir::new().unwrap();
        let directory = root.path().join("etc/cdi");
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let findings = judge(&Registry::read(root.path()), root.path());
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(finding.remedy, ["chmod", "a+rx", "/etc/cdi"]);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(judge(&Registry::read(root.path()), root.path()), []);
    }
}
