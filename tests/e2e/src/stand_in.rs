//! Stand-ins for images that people name: every program in them is the probe, and so is what they run by themselves.

use crate::ended::Ended;
use crate::podman::{IMAGE, Podman};
use nvbind_fixtures::error::Error;
use nvbind_lanes::tree::write;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an image runs by itself.
pub(super) const DEFAULT: &str = "image-default";

/// The directory that people work in.
const DIRECTORY: &str = "/workspace";

/// The set-up of a stand-in is made here.
const FOLDER: &str = "/tmp/stand-in";

/// The images and their programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StandIns {
    /// The names of the images.
    pub(super) images: BTreeSet<String>,
    /// The names of programs; those that the test image has stay what they are.
    pub(super) programs: BTreeSet<String>,
}

impl StandIns {
    /// Runs the body while all these users have the images; then they have them no more.
    pub(super) fn with(
        &self,
        podmans: &[Podman],
        body: impl FnOnce() -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        write(&Path::new(FOLDER).join("Containerfile"), &self.recipe())?;
        let made = podmans.iter().try_for_each(|podman| {
            let mut words = vec!["build", "--network=none", "--layers=false"];
            words.extend(self.images.iter().flat_map(|name| ["--tag", name]));
            words.push(FOLDER);
            podman.must(&words).map(drop)
        });
        let ended = made.and_then(|()| body());
        let removed = podmans.iter().try_for_each(|podman| self.remove(*podman));
        ended?;
        Ok(removed?)
    }

    /// A name of an image that is not there is no failure: the body may have removed it.
    fn remove(&self, podman: Podman) -> Result<(), Error> {
        let words = ["rmi", "--force"].into_iter().chain(self.images.iter().map(String::as_str));
        podman.run(&words.collect::<Vec<_>>()).map(drop)
    }

    fn recipe(&self) -> String {
        let names: Vec<&str> = self.programs.iter().map(String::as_str).chain([DEFAULT]).collect();
        format!(
            "FROM {IMAGE}\nRUN for name in {}; do test -e /usr/bin/$name || ln -s nvbind-probe /usr/bin/$name; done; \
             mkdir {DIRECTORY}\nCMD [\"{DEFAULT}\"]\n",
            names.join(" ")
        )
    }
}

/// What the simulated `nvidia-smi` ends with.
pub(super) const NO_DRIVER: i32 = 9;

/// Whether the simulated `nvidia-smi` ran, and loaded the driver's library.
pub(super) fn has_smi(text: &str) -> bool {
    text.contains("SIMULATED nvidia-smi") && text.contains("nvmlInit_v2")
}

/// What a program of a stand-in tells.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    /// What it was called with, its own name first.
    pub(super) arguments: Vec<String>,
    /// The working directory.
    pub(super) directory: String,
    devices: Vec<Node>,
    /// Every mount: its directory on the file system that it is of, and its place.
    pub(super) mounts: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    /// What does not work.
    pub(super) unexpected: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Node {
    path: String,
}

impl Report {
    /// All that programs told in a text that others wrote to as well.
    pub(super) fn all(text: &str) -> Vec<Self> {
        let starts = text.match_indices('{').map(|(start, _)| text.split_at(start));
        starts
            .filter(|(before, _)| before.is_empty() || before.ends_with('\n'))
            .filter_map(|(_, rest)| serde_json::Deserializer::from_str(rest).into_iter().next()?.ok())
            .collect()
    }

    /// Whether there is this device node.
    pub(super) fn has(&self, node: &str) -> bool {
        self.devices.iter().any(|device| device.path == node)
    }

    /// Whether there is a GPU.
    pub(super) fn has_gpu(&self) -> bool {
        let minor = |path: &str| path.strip_prefix("/dev/nvidia").and_then(|rest| rest.parse::<u32>().ok());
        self.devices.iter().any(|device| minor(&device.path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_of_a_stand_in_is_the_probe() {
        let programs = BTreeSet::from(["python".to_owned(), "sh".to_owned()]);
        let recipe = StandIns { images: BTreeSet::new(), programs }.recipe();
        assert!(recipe.contains("for name in python sh image-default; do test -e "), "{recipe}");
        assert!(recipe.ends_with("CMD [\"image-default\"]\n"), "{recipe}");
    }

    #[test]
    fn reports_are_found_among_other_lines() {
        let report = r#"{
  "arguments": ["a"], "directory": "/", "devices": [{"path": "/dev/nvidiactl"}, {"path": "/dev/nvidia1"}], "mounts": [],
  "env": {}, "unexpected": []
}"#;
        let text = format!("note: x {{\n{report}\n{{}}\n{}\n", report.replace("nvidia1", "nvidia-uvm"));
        let has_gpu: Vec<bool> = Report::all(&text).iter().map(Report::has_gpu).collect();
        assert_eq!(has_gpu, [true, false]);
    }
}
