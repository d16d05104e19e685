//! What is typed for nvbind and would reach nobody, or would give GPUs that nobody asked for.

use super::asked::Asked;
use super::lexer::Origin;
use super::options::Options;
use crate::choice::Choice;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use nvbind_core::request::{ANNOTATIONS, DEVICES_VARIABLE, Gpus, PREFIX, is_start_annotation};
use std::ffi::OsStr;

/// What a key begins with that is meant for nvbind, whatever its letters' case.
const MEANT: [&str; 3] = [PREFIX, "io.nvbind/", "nvbind.io/"];

/// Nodes of GPUs: a number follows, which is not the GPU's index.
const NODE: &str = "/dev/nvidia";

/// A mistake. Without it the container would have other GPUs than it seems.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("nvbind has no annotation {0}")]
    Annotation(String),
    #[error("{0} is a label, and nvbind reads annotations")]
    Label(String),
    #[error("{DEVICES_VARIABLE} is for the containers of a pod")]
    Devices,
    #[error("--device {node} gives the container a GPU beside those that nvbind gives it")]
    Node { node: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Annotation(key) => match nearest(key) {
                Some(annotation) => format!("did you mean {annotation}?"),
                None => format!("there are {}", ANNOTATIONS.join(", ")),
            },
            Error::Label(key) => format!("write the annotation {key}"),
            Error::Devices => "name the GPUs by `--gpu`".to_owned(),
            Error::Node { .. } => {
                "leave it out, and name the GPU by `--gpu`: `nvbind info` shows which one has this node"
                    .to_owned()
            }
        })
    }
}

/// Finds the first one on a command line that asks for this.
pub(crate) fn find(options: &Options, asked: &Asked) -> Result<(), Error> {
    for group in options.groups() {
        for given in &group.options {
            let Some(value) = given.value.as_deref().and_then(OsStr::to_str) else { continue };
            let key = value.split('=').next().unwrap_or_default();
            match given.name.as_str() {
                "annotation" => check_annotation(key)?,
                "label" => check_label(key)?,
                "env" if key == DEVICES_VARIABLE => return Err(Error::Devices),
                // The configuration's own is for every container, whatever it asks for.
                "device" if group.origin == Origin::Typed => check_node(value, asked)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Refuses an annotation that looks like one of nvbind's and is none. After a slash may stand a container's name, as
/// `podman kube generate` writes it.
pub(crate) fn check_annotation(key: &str) -> Result<(), Error> {
    let whole = key.split_once('/').map_or(key, |(whole, _)| whole);
    let is_known = ANNOTATIONS.contains(&whole) || is_start_annotation(key);
    if is_meant(key) && !is_known { Err(Error::Annotation(key.to_owned())) } else { Ok(()) }
}

/// Refuses a label that has the name of an annotation.
pub(crate) fn check_label(key: &str) -> Result<(), Error> {
    if ANNOTATIONS.contains(&key) { Err(Error::Label(key.to_owned())) } else { Ok(()) }
}

fn is_meant(key: &str) -> bool {
    MEANT.iter().any(|start| key.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)))
}

fn nearest(key: &str) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    let by_distance =
        ANNOTATIONS.map(|annotation| (strsim::damerau_levenshtein(&lower, annotation), annotation));
    by_distance.into_iter().min().filter(|(distance, _)| *distance <= 4).map(|(_, annotation)| annotation)
}

/// Who types `all` has this one anyway; who types nothing else means this one alone.
fn check_node(value: &str, asked: &Asked) -> Result<(), Error> {
    let node = value.split(':').next().unwrap_or_default();
    let number = node.strip_prefix(NODE).unwrap_or_default();
    let is_node = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let has_it = asked.is_typed && asked.choice == Choice::Named(Gpus::All);
    if is_node && !has_it { Err(Error::Node { node: node.to_owned() }) } else { Ok(()) }
}
