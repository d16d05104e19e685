//! `nvbind run` as the program of a container, as documents have it: people take a command line for what the container
//! is to run. nvbind starts containers, and is in no image.

use super::asked;
use super::command_line::{CommandLine, Verb};
use crate::choice::Choice;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Shells that people wrap a command in.
const SHELLS: [&str; 3] = ["sh", "bash", "ash"];

/// What the inner command line starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nested {
    /// IMAGE; empty where there is none.
    pub(crate) image: String,
    /// COMMAND with its arguments.
    pub(crate) command: Vec<String>,
    /// The GPUs that it asks for, where that can be understood.
    pub(crate) choice: Option<Choice>,
}

impl Nested {
    /// Whether it can be meant for this container: where it starts the same image, the container was to be that one.
    pub(crate) fn is_for(&self, image: &str) -> bool {
        self.image == image
    }
}

/// The command line of `nvbind run` or `create` that a command is, if it is one.
pub(crate) fn find(words: &[String]) -> Option<Nested> {
    let start = words.iter().take_while(|word| *word == "exec").count();
    let inner = match words.get(start..)? {
        [shell, options, script, ..]
            if is_named(shell, &SHELLS) && options.starts_with('-') && options.ends_with('c') =>
        {
            return find(&shlex::split(script)?);
        }
        [nvbind, rest @ ..] if is_named(nvbind, &["nvbind"]) => rest,
        _ => return None,
    };
    // nvbind's own options stand before the verb, too.
    let verb = inner.iter().position(|word| Verb::find(OsStr::new(word)).is_some())?;
    let before = inner.get(..verb)?;
    if !before.iter().all(|word| word.starts_with('-')) {
        return None;
    }
    let line = CommandLine::parse(inner.get(verb + 1..)?.iter().map(OsString::from)).ok()?;
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let caller = asked::Caller { variable: &|_name| None, file: &|_path| None };
    Some(Nested {
        choice: line.options.asked(caller).ok().map(|asked| asked.choice),
        image: line.container.image.as_ref().map(text).unwrap_or_default(),
        command: line.container.command.iter().map(text).collect(),
    })
}

fn is_named(program: &str, names: &[&str]) -> bool {
    Path::new(program).file_name().and_then(OsStr::to_str).is_some_and(|name| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_seen_however_it_is_wrapped() {
        for line in [
            "nvbind run --runtime podman --gpu all IMAGE nvidia-smi -L",
            "/usr/local/bin/nvbind -v run -it --gpus 2 IMAGE nvidia-smi -L",
            "nvbind create --name x -- IMAGE nvidia-smi -L",
            "sh -c 'nvbind run --rm IMAGE nvidia-smi -L'",
            "/bin/bash -lc 'exec nvbind run IMAGE nvidia-smi -L'",
        ] {
            let nested = find(&shlex::split(line).unwrap()).unwrap_or_else(|| panic!("{line}"));
            assert!(nested.is_for("IMAGE") && !nested.is_for("OTHER"), "{line}");
            assert_eq!(nested.command, ["nvidia-smi", "-L"], "{line}");
        }
        for line in [
            "nvidia-smi",
            "nvbind info",
            "nvbind",
            "echo nvbind run IMAGE",
            "sh -c 'echo nvbind run'",
            "nvbind config run",
        ] {
            assert_eq!(find(&shlex::split(line).unwrap()), None, "{line}");
        }
    }
}
