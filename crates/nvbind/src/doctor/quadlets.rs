//! Quadlets that ask for a GPU in words that reach nobody.

use super::subject::{Machine, text};
use super::{Facts, Finding};
use crate::choice::Choice;
use crate::generate::unit::line as line_of;
use crate::podman::mistakes;
use crate::podman::nested;
use nvbind_core::failure::Explain;
use nvbind_core::message::line;
use nvbind_core::request::GPU_ANNOTATION;
use std::path::{Path, PathBuf};

/// Where Quadlet looks for units of the system's manager (podman-systemd.unit(5)).
const SYSTEM: &[&str] = &["/etc/containers/systemd", "/usr/share/containers/systemd"];

/// And for those of every user, and of the user with the number that follows.
const OF_USERS: &str = "/etc/containers/systemd/users";

/// And for a user's own, below the home directory.
const OWN: &str = ".config/containers/systemd";

/// What matters of a unit: keys of `[Container]`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    image: String,
    exec: Vec<String>,
    annotations: Vec<String>,
    labels: Vec<String>,
}

pub(super) fn quadlets(facts: &Facts<'_>) -> Finding {
    let files: Vec<PathBuf> = directories(facts.machine)
        .iter()
        .flat_map(|path| super::subject::files(path, &["container"]))
        .collect();
    for path in &files {
        let unit = Unit::read(&text(path).unwrap_or_default());
        if let Some(wrong) = unit.find_mistake() {
            return Finding::warn(format!("{}: {wrong}", path.display()), None);
        }
    }
    Finding::ok(format!("{} are read", files.len()))
}

fn directories(machine: &Machine) -> Vec<PathBuf> {
    if machine.user.is_root() {
        return SYSTEM.iter().map(|directory| machine.path(directory)).collect();
    }
    let home = machine.environment.get("HOME").map(|home| machine.path(Path::new(home).join(OWN)));
    let of_users = machine.path(OF_USERS);
    home.into_iter().chain([of_users.join(machine.user.uid.to_string()), of_users]).collect()
}

impl Unit {
    /// Reads a unit as systemd.syntax(7) has it: a line that ends in a backslash goes on in the next.
    fn read(text: &str) -> Unit {
        let mut unit = Unit::default();
        let mut section = "";
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| section == "[Container]") else {
                continue;
            };
            let words = || shlex::split(value).unwrap_or_default();
            match key.trim() {
                "Image" => value.trim().clone_into(&mut unit.image),
                "Exec" => unit.exec = words(),
                "Annotation" => unit.annotations.extend(words()),
                "Label" => unit.labels.extend(words()),
                _ => {}
            }
        }
        unit
    }

    /// What would reach nobody, and what to write instead.
    fn find_mistake(&self) -> Option<String> {
        if let Some(nested) = nested::find(&self.exec).filter(|nested| nested.is_for(&self.image)) {
            let exec = line_of(nested.command.iter().map(String::as_str));
            let gpus = match &nested.choice {
                Some(Choice::Named(gpus)) => gpus.to_string().replace(',', "+"),
                Some(Choice::Nothing | Choice::Any(_)) | None => "all".to_owned(),
            };
            return Some(format!(
                "its Exec= is `nvbind run` itself, which is not in the image: write Exec={exec} and Annotation={GPU_ANNOTATION}={gpus}"
            ));
        }
        let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        let annotations = self.annotations.iter().map(|entry| mistakes::check_annotation(&key(entry)));
        let labels = self.labels.iter().map(|entry| mistakes::check_label(&key(entry)));
        let error = annotations.chain(labels).find_map(Result::err)?;
        Some(format!("{}: {}", line(&error), error.hint().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_nobody_is_told_with_what_to_write() {
        let exec = "Image=i\nExec=nvbind run --runtime podman --gpu 0,1 i \\\n  serve --port 80\n";
        let instead = "its Exec= is `nvbind run` itself, which is not in the image: write Exec=serve --port 80 and Annotation=io.nvbind.gpu=0+1";
        for (text, expected) in [
            (exec, Some(instead)),
            ("Exec=nvbind run --gpu all other\nImage=i\n", None),
            ("Image=i\nExec=serve\nAnnotation=io.nvbind.gpu=0 a=b\nLabel=x=y\n", None),
            (
                "Annotation=io.nvbind.gpus=0\n",
                Some("nvbind has no annotation io.nvbind.gpus: did you mean io.nvbind.gpu?"),
            ),
            (
                "Label=\"io.nvbind.gpu=0\"\n",
                Some(
                    "io.nvbind.gpu is a label, and nvbind reads annotations: write the annotation io.nvbind.gpu",
                ),
            ),
        ] {
            let unit = Unit::read(&format!("[Unit]\nDescription=x\n[Container]\n{text}"));
            assert_eq!(unit.find_mistake().as_deref(), expected, "{text}");
        }
        assert_eq!(Unit::read("[Service]\nExec=nvbind run i\nImage=i\n"), Unit::default());
    }
}
