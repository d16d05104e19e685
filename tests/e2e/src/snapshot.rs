//! What is in a folder of the lane's host, to show that it is the same afterwards.

use crate::ended::{Ended, claim};
use crate::podman::said;
use std::collections::BTreeSet;
use std::process::Command;

/// Every path below a folder with its type, mode and link target, and the checksum of every file.
const LIST: &str =
    "cd \"$1\" && find . -printf '%p %y %m %l\\n' | sort && find . -xdev -type f -exec sha256sum {} + | sort";

/// The state of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    folder: String,
    text: String,
}

/// Takes the state of a folder.
pub(crate) fn of(folder: &str) -> Result<Snapshot, Ended> {
    let text = said(Command::new("sh").args(["-c", LIST, "sh", folder]))?.must()?.out;
    Ok(Snapshot { folder: folder.to_owned(), text })
}

impl Snapshot {
    /// Fails the case unless the folder is as it was.
    pub(crate) fn claim_unchanged(&self) -> Result<(), Ended> {
        self.claim_same(&of(&self.folder)?)
    }

    /// Fails the case unless another folder holds the same.
    pub(crate) fn claim_same(&self, other: &Self) -> Result<(), Ended> {
        let lines: Vec<String> = changes(&self.text, &other.text).collect();
        let reason = format!("{} was changed", other.folder);
        claim(lines.is_empty(), &reason, || lines.join("\n"))
    }
}

fn changes<'a>(before: &'a str, after: &'a str) -> impl Iterator<Item = String> {
    let (old, now): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = before.lines().filter(move |line| !now.contains(line));
    let new = after.lines().filter(move |line| !old.contains(line));
    gone.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_is_gone_and_what_is_new() {
        let lines: Vec<String> = changes("a\nb\nc\n", "a\nB\nc\nd\n").collect();
        assert_eq!(lines, ["- b", "+ B", "+ d"]);
    }
}
