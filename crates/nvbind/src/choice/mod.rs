//! Which GPUs a person asks for, in each of the languages that people type: nvbind's own, Docker's, CDI's, and that of
//! `NVIDIA_VISIBLE_DEVICES`.

pub(crate) mod docker;

use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::request::{self, Gpus, VOID};
use std::fmt;

/// The kinds of CDI devices that nvbind gives itself (see [`cdi`](crate::cdi)), as device names begin with them.
const KINDS: [&str; 2] = ["nvidia.com/gpu", "nvbind.io/gpu"];

/// A number of GPUs, whichever they are.
const ANY: &str = "any";

/// More than any machine has.
const MANY: u32 = 4096;

/// Which GPUs are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing of the driver at all: the container is as podman makes it.
    Nothing,
    /// These.
    Named(Gpus),
    /// So many, at least one.
    Any(u32),
}

/// Why a text asks for nothing that there is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Request(#[from] request::Error),
    #[error("{0:?} is no number of GPUs: write any:N, with N from 1 to {MANY}")]
    Number(String),
    #[error("any:N stands alone, and not in a list")]
    AnyInList,
    /// The kind of CDI device, without the device.
    #[error("{0} does not say which GPU: write {0}=all, or {0}=0 for the first one")]
    NoName(&'static str),
    #[error(transparent)]
    Docker(#[from] docker::Error),
    #[error("{one} and {other} do not agree")]
    Disagree { one: String, other: String },
    #[error("{one} and {other} do not agree on the parts of the driver")]
    Capabilities { one: String, other: String },
    /// What a person typed is wrong.
    #[error("{typed}")]
    Typed { typed: String, source: Box<Error> },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Docker(error) => error.hint(),
            Error::Disagree { .. } => Some("name the GPUs once, as in `--gpu 0,1`".into()),
            Error::Capabilities { .. } => Some("name them once, by --capabilities".into()),
            Error::Typed { source, .. } => source.hint(),
            Error::Request(_) | Error::Number(_) | Error::AnyInList | Error::NoName(_) => None,
        }
    }
}

impl Choice {
    /// Reads nvbind's own language, which knows the names of CDI devices, too: `all`, `0,1`, `any:2`,
    /// `nvidia.com/gpu=0`.
    pub(crate) fn parse(text: &str) -> Result<Choice, Error> {
        let words: Vec<&str> = text.split([',', '+']).map(str::trim).collect();
        match words.as_slice() {
            [word] if is_any(word) => return parse_any(word).map(Choice::Any),
            words if words.iter().any(|word| is_any(word)) => return Err(Error::AnyInList),
            _ => {}
        }
        let names: Result<Vec<&str>, Error> =
            words.into_iter().map(|word| device_name(word).unwrap_or(Ok(word))).collect();
        Ok(Choice::Named(Gpus::parse(&names?.join(","))?))
    }

    /// Reads the value of `NVIDIA_VISIBLE_DEVICES`, which NVIDIA's own hook takes for nothing at all where it is empty
    /// or has `void` in it.
    pub(crate) fn parse_variable(value: &str) -> Result<Choice, Error> {
        let words: Vec<&str> = value.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if words.is_empty() || words.contains(&VOID) {
            return Ok(Choice::Nothing);
        }
        Choice::parse(&words.join(","))
    }

    /// What both ask for together; none where they contradict each other.
    pub(crate) fn union(self, other: Choice) -> Option<Choice> {
        match (self, other) {
            (Choice::Named(Gpus::Listed(mut names)), Choice::Named(Gpus::Listed(others))) => {
                for name in others {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Some(Choice::Named(Gpus::Listed(names)))
            }
            // Twice `any:1` may mean the same one or two, and `all` beside a name all or that one.
            (Choice::Any(_), Choice::Any(_)) => None,
            (one, other) => (one == other).then_some(one),
        }
    }

    /// Whether two ask for the same GPUs, in whatever order.
    pub(crate) fn is_like(&self, other: &Choice) -> bool {
        match (self, other) {
            (Choice::Named(Gpus::Listed(one)), Choice::Named(Gpus::Listed(other))) => {
                one.iter().all(|name| other.contains(name)) && other.iter().all(|name| one.contains(name))
            }
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Nothing => f.write_str(VOID),
            Choice::Named(gpus) => write!(f, "{gpus}"),
            Choice::Any(number) => write!(f, "{ANY}:{number}"),
        }
    }
}

/// The GPU that the name of a CDI device is for; none for a name of another kind, which is podman's.
pub(crate) fn device_name(device: &str) -> Option<Result<&str, Error>> {
    KINDS.into_iter().find_map(|kind| match device.strip_prefix(kind)? {
        "" | "=" => Some(Err(Error::NoName(kind))),
        rest => rest.strip_prefix('=').map(Ok),
    })
}

fn is_any(word: &str) -> bool {
    word == ANY || word.strip_prefix(ANY).is_some_and(|rest| rest.starts_with(':'))
}

fn parse_any(word: &str) -> Result<u32, Error> {
    let number = word.strip_prefix(ANY).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
    let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let parsed = digits.and_then(|digits| digits.parse().ok()).filter(|number| (1..=MANY).contains(number));
    parsed.ok_or_else(|| Error::Number(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parse: impl Fn(&str) -> Result<Choice, Error>, text: &str) -> String {
        parse(text).map_or_else(|error| nvbind_core::message::line(&error), |choice| choice.to_string())
    }

    #[test]
    fn nvbinds_own_language() {
        for (text, expected) in [
            ("all", "all"),
            ("none", "none"),
            ("0", "0"),
            ("0+1", "0,1"),
            ("0-2, 5", "0-2,5"),
            ("GPU-AB12", "GPU-ab12"),
            ("any:2", "any:2"),
            ("nvidia.com/gpu=0", "0"),
            ("nvidia.com/gpu=0,nvbind.io/gpu=1,2", "0,1,2"),
            ("nvidia.com/gpu=all", "all"),
            ("nvbind.io/gpu=none", "none"),
            ("nvidia.com/gpu=0:1", "0:1"),
            ("any", "\"any\" is no number of GPUs: write any:N, with N from 1 to 4096"),
            ("any:0", "\"any:0\" is no number of GPUs: write any:N, with N from 1 to 4096"),
            ("any:-1", "\"any:-1\" is no number of GPUs: write any:N, with N from 1 to 4096"),
            ("any:5000", "\"any:5000\" is no number of GPUs: write any:N, with N from 1 to 4096"),
            ("any:1,0", "any:N stands alone, and not in a list"),
            (
                "nvidia.com/gpu",
                "nvidia.com/gpu does not say which GPU: write nvidia.com/gpu=all, or nvidia.com/gpu=0 for the first one",
            ),
            (
                "nvbind.io/gpu=",
                "nvbind.io/gpu does not say which GPU: write nvbind.io/gpu=all, or nvbind.io/gpu=0 for the first one",
            ),
            ("", "the GPU selection \"\" has an empty entry; write all, none, or a list such as 0,1"),
            ("0,", "the GPU selection \"0,\" has an empty entry; write all, none, or a list such as 0,1"),
        ] {
            assert_eq!(read(Choice::parse, text), expected, "{text}");
        }
        for text in ["all,0", "anything", "nvidia.com/gpu=gpu0", "amd.com/gpu=0", "-1", "void", "device=0"] {
            let told = read(Choice::parse, text);
            assert!(told.contains("is no GPU: write an index (0)"), "{text}: {told}");
        }
    }

    #[test]
    fn the_variable_is_read_as_nvidias_hook_reads_it() {
        for (text, expected) in [
            ("", "void"),
            (" , ", "void"),
            ("void", "void"),
            ("0,void", "void"),
            ("none", "none"),
            ("all", "all"),
            ("1,0,", "1,0"),
            ("nvidia.com/gpu=1", "1"),
        ] {
            assert_eq!(read(Choice::parse_variable, text), expected, "{text}");
        }
        assert!(read(Choice::parse_variable, "gpu0").contains("is no GPU"));
    }

    #[test]
    fn what_is_asked_twice_is_both_or_a_contradiction() {
        for (one, other, expected) in [
            ("0", "1", Some("0,1")),
            ("0,1", "1,2", Some("0,1,2")),
            ("all", "all", Some("all")),
            ("none", "none", Some("none")),
            ("all", "0", None),
            ("none", "0", None),
            ("all", "none", None),
            ("any:2", "0", None),
            ("any:1", "any:1", None),
        ] {
            let [one, other] = [one, other].map(|text| Choice::parse(text).unwrap());
            let union = one.clone().union(other.clone());
            assert_eq!(union.as_ref().map(ToString::to_string).as_deref(), expected, "{one} {other}");
            assert_eq!(other.union(one).is_some(), expected.is_some());
        }
        let [one, same, other] = ["0,1", "1,0", "0"].map(|text| Choice::parse(text).unwrap());
        assert!(one.is_like(&same) && !one.is_like(&other) && !other.is_like(&one));
    }

    #[test]
    fn other_vendors_devices_are_podmans() {
        for device in ["amd.com/gpu=0", "nvidia.com/gds=all", "nvidia.com/gpux=0", "/dev/nvidia0", "vendor/x"]
        {
            assert_eq!(device_name(device), None, "{device}");
        }
        assert_eq!(device_name("nvidia.com/gpu=0"), Some(Ok("0")));
    }
}
