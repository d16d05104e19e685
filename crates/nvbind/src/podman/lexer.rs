//! A podman command line as podman's own parser (spf13/pflag, not interspersed) cuts it: options with their values, up to
//! the first word that is neither.

use super::options::{self, Form, Letters};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a word turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// One option, or a cluster of short ones.
    Options(Options),
    /// `--`, or the first word that is no option: the image. No options follow it.
    End(OsString),
}

/// A word of options, and the word after it where that is a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// As it was typed.
    pub(crate) word: OsString,
    /// The value in a word of its own, which belongs to the last option of the word.
    pub(crate) separate: Option<OsString>,
    /// What the two say.
    pub(crate) all: Vec<Given>,
}

/// An option with its value, in whatever way it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The long name, also of a short option; empty for one that no table knows.
    pub(crate) name: String,
    /// Its value, if one was typed.
    pub(crate) value: Option<OsString>,
    /// Where in the word it stands.
    part: Range<usize>,
}

impl Given {
    /// Whether a switch is on: `--rm`, `--rm=true`. What is neither yes nor no, podman refuses.
    pub(crate) fn is_on(&self) -> bool {
        self.switch() == Some(true)
    }

    /// What a switch says; nothing, if that is neither yes nor no.
    pub(crate) fn switch(&self) -> Option<bool> {
        self.value.as_deref().map_or(Some(true), go_bool)
    }

    /// Whether the value is missing: the option stood last.
    pub(crate) fn lacks_its_value(&self) -> bool {
        self.value.is_none() && options::long(&self.name).form == Form::Value
    }
}

impl Options {
    /// The option, if it was typed by its long name.
    pub(crate) fn long(&self) -> Option<&Given> {
        self.all.first().filter(|_given| self.word.as_bytes().starts_with(b"--"))
    }

    /// The words without the options for which `drop` holds; none, if no option is left.
    pub(crate) fn without(self, drop: impl Fn(&Given) -> bool) -> Vec<OsString> {
        let is_dropped = |at: usize| self.all.iter().any(|given| given.part.contains(&at) && drop(given));
        let bytes = self.word.as_bytes().iter().enumerate();
        let kept: Vec<u8> = bytes.filter(|(at, _)| !is_dropped(*at)).map(|(_, byte)| *byte).collect();
        let separate = self.separate.filter(|_value| !self.all.last().is_some_and(drop));
        let is_left = kept.iter().any(|byte| *byte != b'-');
        let word = is_left.then(|| OsString::from_vec(kept));
        word.into_iter().chain(separate).collect()
    }
}

/// Takes the next option with its value, or the first word after the options, of `podman run`.
pub(crate) fn next(words: &mut impl Iterator<Item = OsString>) -> Option<Item> {
    next_of(options::OF_RUN, words)
}

/// The same of a command with other short options.
pub(crate) fn next_of(letters: Letters, words: &mut impl Iterator<Item = OsString>) -> Option<Item> {
    let word = words.next()?;
    let bytes = word.as_bytes();
    let all = match bytes {
        b"--" | b"-" | b"" => return Some(Item::End(word)),
        [b'-', b'-', option @ ..] => vec![long(option)],
        [b'-', cluster @ ..] => short(letters, cluster),
        _ => return Some(Item::End(word)),
    };
    let mut options = Options { word, separate: None, all };
    if let Some(last) = options.all.last_mut().filter(|given| given.lacks_its_value()) {
        options.separate = words.next();
        last.value.clone_from(&options.separate);
    }
    Some(Item::Options(options))
}

/// All options up to the image.
pub(crate) fn options(words: &[OsString]) -> impl Iterator<Item = Given> {
    let mut words = words.iter().cloned();
    let items = std::iter::from_fn(move || match next(&mut words)? {
        Item::Options(options) => Some(options.all),
        Item::End(_) => None,
    });
    items.flatten()
}

/// The words without the options for which `drop` holds; what follows the options is kept as it is.
pub(crate) fn without(words: &[OsString], drop: impl Fn(&Given) -> bool) -> Vec<OsString> {
    let mut words = words.iter().cloned();
    let mut kept = Vec::new();
    while let Some(item) = next(&mut words) {
        match item {
            Item::Options(options) => kept.extend(options.without(&drop)),
            Item::End(word) => {
                kept.push(word);
                break;
            }
        }
    }
    kept.extend(words);
    kept
}

fn long(option: &[u8]) -> Given {
    let (name, value) = match option.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, rest) = option.split_at(at);
            (name, rest.get(1..).map(own))
        }
        None => (option, None),
    };
    Given { name: String::from_utf8_lossy(name).into_owned(), value, part: 0..option.len() + 2 }
}

/// The options of `-abc`: each letter up to the first that takes a value or has one by `=`.
fn short(letters: Letters, cluster: &[u8]) -> Vec<Given> {
    let mut all = Vec::new();
    for (at, letter) in cluster.iter().enumerate() {
        let name = options::short(letters, *letter).unwrap_or_default();
        let rest = cluster.get(at + 1..).unwrap_or_default();
        let value = match rest {
            [b'=', value @ ..] if !value.is_empty() => Some(own(value)),
            [] => None,
            rest => (options::long(name).form == Form::Value).then(|| own(rest)),
        };
        let end = if value.is_some() { cluster.len() } else { at + 1 };
        all.push(Given { name: name.to_owned(), value, part: at + 1..end + 1 });
        if end == cluster.len() {
            break;
        }
    }
    all
}

fn own(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Go's strconv.ParseBool, which podman's switches use.
fn go_bool(value: &OsStr) -> Option<bool> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(line: &str) -> Vec<Item> {
        let mut words = line.split(' ').map(OsString::from);
        std::iter::from_fn(|| next(&mut words)).collect()
    }

    /// `name=value` of each option of the first word.
    fn said(line: &str) -> Vec<String> {
        let Some(Item::Options(options)) = lex(line).into_iter().next() else { return Vec::new() };
        let text = |value: OsString| value.into_string().unwrap();
        options.all.into_iter().map(|given| format!("{}={:?}", given.name, given.value.map(text))).collect()
    }

    #[test]
    fn options_are_cut_as_podman_cuts_them() {
        for (line, expected) in [
            ("--rm I", vec!["rm=None"]),
            ("--name x I", vec!["name=Some(\"x\")"]),
            ("--name= I", vec!["name=Some(\"\")"]),
            ("-it I", vec!["interactive=None", "tty=None"]),
            ("-itv a:b I", vec!["interactive=None", "tty=None", "volume=Some(\"a:b\")"]),
            ("-itva:b I", vec!["interactive=None", "tty=None", "volume=Some(\"a:b\")"]),
            ("-t=false I", vec!["tty=Some(\"false\")"]),
            ("-e=FOO I", vec!["env=Some(\"FOO\")"]),
            ("-e= I", vec!["env=Some(\"=\")"]),
            ("-Htcp://h I", vec!["host=Some(\"tcp://h\")"]),
            ("-x I", vec!["=None"]),
            ("--name", vec!["name=None"]),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
        for end in ["I --rm", "- --rm", "-- --rm"] {
            assert!(matches!(lex(end).as_slice(), [Item::End(_), ..]), "{end}");
        }
    }

    #[test]
    fn an_option_is_taken_out_of_a_cluster() {
        for (line, dropped, left) in [
            ("-it", "tty", "-i"),
            ("-it", "interactive", "-t"),
            ("-t", "tty", ""),
            ("-itv a:b", "tty", "-iv a:b"),
            ("-itv a:b", "volume", "-it"),
            ("-it=false", "tty", "-i"),
            ("--tty=true", "tty", ""),
            ("--device-cgroup-rule c", "device-cgroup-rule", ""),
            ("--device-cgroup-rule c", "tty", "--device-cgroup-rule c"),
        ] {
            let Some(Item::Options(options)) = lex(line).into_iter().next() else { panic!("{line}") };
            let words = options.without(|given| given.name == dropped).join(OsStr::new(" "));
            assert_eq!(words, left, "{line} without {dropped}");
        }
    }
}
