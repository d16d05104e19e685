//! A podman command line as podman's own parser (spf13/pflag, not interspersed) cuts it: options with their values, up
//! to the first argument that is neither.

use super::known::{self, Form, Syntax};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What an argument turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// One option, or a cluster of short ones.
    Options(Group),
    /// `--`, or the first argument that is no option: the image. No options follow it.
    End(OsString),
}

/// Who put an option on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Typed,
    /// A key of the configuration, named with its file and line.
    Setting(String),
    /// The profile of this name.
    Profile(String),
    /// nvbind, for every container.
    Nvbind,
}

impl fmt::Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Typed => to.write_str("the command line"),
            Origin::Setting(key) => to.write_str(key),
            Origin::Profile(name) => write!(to, "the profile {name}"),
            Origin::Nvbind => to.write_str("nvbind"),
        }
    }
}

/// Options in one argument, and the argument after it where that is a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// A long option, or a cluster of short ones.
    pub(crate) options: Vec<Given>,
    /// The value in an argument of its own, which belongs to the last option.
    separate: Option<OsString>,
    pub(crate) origin: Origin,
}

/// An option with its value, in whatever way it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The long name, also of a short option; empty for one that no table knows.
    pub(crate) name: String,
    /// Its value, if one was typed.
    pub(crate) value: Option<OsString>,
    /// Its part of the argument: `--name=x`, or `v/a:/b` of `-itv/a:/b`.
    text: Vec<u8>,
}

impl Given {
    /// Whether a switch is on: `--rm`, `--rm=true`. Podman refuses what is neither yes nor no.
    pub(crate) fn is_on(&self) -> bool {
        self.switch() == Some(true)
    }

    /// The value of a switch; none, if that is neither yes nor no.
    pub(crate) fn switch(&self) -> Option<bool> {
        self.value.as_deref().map_or(Some(true), go_bool)
    }

    /// Whether the value is missing: the option stood last.
    pub(crate) fn lacks_its_value(&self) -> bool {
        self.value.is_none() && known::long(&self.name).form == Form::Value
    }
}

impl Group {
    /// `--name`, or `--name VALUE`.
    pub(crate) fn new(name: &str, value: Option<OsString>, origin: Origin) -> Group {
        let text = format!("--{name}").into_bytes();
        let given = Given { name: name.to_owned(), value: value.clone(), text };
        Group { options: vec![given], separate: value, origin }
    }

    /// Whether podman takes it only before `run`. In a longer cluster podman refuses such an option.
    pub(crate) fn is_global(&self) -> bool {
        matches!(self.options.as_slice(), [only] if known::long(&only.name).before_run)
    }

    /// The group without the options for which `drop` holds; none, if no option is left.
    pub(crate) fn without(mut self, drop: impl Fn(&Given) -> bool) -> Option<Group> {
        self.separate = self.separate.filter(|_value| !self.options.last().is_some_and(&drop));
        self.options.retain(|given| !drop(given));
        (!self.options.is_empty()).then_some(self)
    }

    /// The options as one argument, in the way they were typed.
    pub(crate) fn text(&self) -> OsString {
        let bytes: Vec<u8> = self.options.iter().flat_map(|given| given.text.iter().copied()).collect();
        let dash: &[u8] = if bytes.starts_with(b"--") { b"" } else { b"-" };
        OsString::from_vec([dash, &bytes].concat())
    }

    /// One argument, or two.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = OsString> {
        [Some(self.text()), self.separate.clone()].into_iter().flatten()
    }
}

/// Takes the next option with its value, or the first argument after the options.
pub(super) fn next(
    syntax: &Syntax,
    arguments: &mut impl Iterator<Item = OsString>,
    origin: &Origin,
) -> Option<Item> {
    let argument = arguments.next()?;
    let options = match argument.as_bytes() {
        b"--" | b"-" | b"" => return Some(Item::End(argument)),
        [b'-', b'-', option @ ..] => vec![long(option)],
        [b'-', cluster @ ..] => short(syntax, cluster),
        _ => return Some(Item::End(argument)),
    };
    let mut group = Group { options, separate: None, origin: origin.clone() };
    if let Some(last) = group.options.last_mut().filter(|given| given.lacks_its_value()) {
        group.separate = arguments.next();
        last.value.clone_from(&group.separate);
    }
    Some(Item::Options(group))
}

fn long(option: &[u8]) -> Given {
    let (name, value) = match option.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, rest) = option.split_at(at);
            (name, rest.get(1..).map(own))
        }
        None => (option, None),
    };
    let text = [b"--", option].concat();
    Given { name: String::from_utf8_lossy(name).into_owned(), value, text }
}

/// The options of `-abc`: each letter up to the first that takes a value or has one by `=`.
fn short(syntax: &Syntax, cluster: &[u8]) -> Vec<Given> {
    let mut all = Vec::new();
    for (at, letter) in cluster.iter().enumerate() {
        let name = syntax.short(*letter).unwrap_or_default();
        let rest = cluster.get(at + 1..).unwrap_or_default();
        let value = match rest {
            [b'=', value @ ..] if !value.is_empty() => Some(own(value)),
            [] => None,
            rest => (known::long(name).form == Form::Value).then(|| own(rest)),
        };
        let is_last = value.is_some();
        let text = if is_last { cluster.get(at..).unwrap_or_default().to_vec() } else { vec![*letter] };
        all.push(Given { name: name.to_owned(), value, text });
        if is_last {
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
        let mut arguments = line.split(' ').map(OsString::from);
        std::iter::from_fn(|| next(&known::RUN, &mut arguments, &Origin::Typed)).collect()
    }

    /// `name=value` of each option of the first argument.
    fn said(line: &str) -> Vec<String> {
        let Some(Item::Options(group)) = lex(line).into_iter().next() else { return Vec::new() };
        let text = |value: OsString| value.into_string().unwrap();
        group.options.into_iter().map(|given| format!("{}={:?}", given.name, given.value.map(text))).collect()
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
            let Some(Item::Options(group)) = lex(line).into_iter().next() else { panic!("{line}") };
            let group = group.without(|given| given.name == dropped);
            let arguments: Vec<OsString> = group.iter().flat_map(Group::arguments).collect();
            assert_eq!(arguments.join(OsStr::new(" ")), left, "{line} without {dropped}");
        }
    }
}
