//! What is claimed of the driver in an image.

use crate::container::{ASK, GPU, run_words};
use crate::drivers::real::REAL;
use crate::ended::{Ended, claim};
use crate::podman::{Podman, Said, said};
use crate::probe;
use nvbind_fixtures::driver_sim::TRIPLET;
use nvbind_fixtures::error::Doing;
use nvbind_lanes::spec::PAYLOAD;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// The view's place where nothing is in its way.
pub(super) const VIEW: &str = "/usr/local/nvidia";

/// The names that the plan for every capability gives to the loader: the probe is to find each of them.
pub(super) fn sonames() -> Result<Vec<String>, Ended> {
    let words = ["plan", "--capabilities=all", "--json", "--driver-root", REAL];
    let said = said(Command::new(format!("{PAYLOAD}/bin/nvbind")).args(words))?.must()?;
    let plan: Value = serde_json::from_str(&said.out)
        .map_err(|error| Ended::failed(format!("the plan is no JSON: {error}"), said.told()))?;
    let steps = plan.get("steps").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = steps
        .filter(|step| step.get("kind").and_then(Value::as_str) == Some("cache"))
        .filter_map(|step| step.get("libraries")?.as_array())
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    claim(names.iter().any(|name| name == "libcuda.so.1"), "the plan has no libraries", || said.told())?;
    Ok(names)
}

/// The probe's command line for all of them; `elsewhere` are those that load from another place than the view.
pub(super) fn probe(elsewhere: &[&str]) -> Result<Vec<String>, Ended> {
    let mut words = vec!["nvbind-probe".to_owned()];
    for name in sonames()? {
        let result = if elsewhere.contains(&name.as_str()) { "ok" } else { "view" };
        words.extend(["--library".to_owned(), format!("{name}={result}")]);
    }
    Ok(words)
}

/// Fails the case unless a container of the image starts, and every library of the driver is found in it.
pub(super) fn claim_all_found(podman: Podman, image: &[&str]) -> Result<Said, Ended> {
    let words = probe(&[])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = run_words(podman, GPU, &ASK, image, &words)?;
    probe::claim_works(&said)?;
    Ok(said)
}

/// The libraries of the image's that the probe missed: because of them some of the driver's do not load.
pub(super) fn lacking(said: &Said) -> Vec<String> {
    let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let libraries = report.get("libraries").and_then(Value::as_array).cloned().unwrap_or_default();
    libraries.iter().filter_map(|library| Some(library.get("lacks")?.as_str()?.to_owned())).collect()
}

/// `file:DEVICE:INODE` of the host's libcuda, as `stat` has it in a container where that file is bound.
pub(super) fn host_libcuda() -> Result<String, Ended> {
    let path = Path::new(REAL).join("usr/lib").join(TRIPLET).join("nvidia/current/libcuda.so.1");
    let meta = fs::metadata(&path).on("read", &path)?;
    Ok(format!("file:{}:{}", meta.dev(), meta.ino()))
}

/// Fails the case unless the loader said, with `LD_DEBUG=libs`, that it opened this file.
pub(super) fn claim_opened(said: &Said, path: &str) -> Result<(), Ended> {
    let opened = [&said.out, &said.err].iter().any(|text| text.lines().any(|line| is_opened(line, path)));
    claim(opened, &format!("{path} was not opened"), || said.told())
}

/// `    12:\tcalling init: /usr/local/nvidia/lib64/libcuda.so.1`
fn is_opened(line: &str, path: &str) -> bool {
    line.split_once("calling init: ").is_some_and(|(_, opened)| opened.trim_end() == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_opened_when_its_own_constructors_run() {
        let line = "      12:\tcalling init: /usr/local/nvidia/lib64/libcuda.so.1";
        assert!(is_opened(line, "/usr/local/nvidia/lib64/libcuda.so.1"));
        assert!(!is_opened(line, "/usr/local/nvidia/lib64/libcuda.so"));
        assert!(!is_opened("  12:\t  trying file=/a/libcuda.so.1", "/a/libcuda.so.1"));
    }
}
