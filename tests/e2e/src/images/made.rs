//! An image made by a script from the test image's files, or from nothing.

use crate::ended::Ended;
use crate::lane::DRIVER;
use crate::podman::{Podman, User, said};
use nvbind_fixtures::driver_sim::TRIPLET;
use nvbind_lanes::spec::PAYLOAD;
use nvbind_lanes::tree::USER;
use std::process::Command;

/// What an image is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    /// Its name among the images of cases.
    pub(super) name: &'static str,
    /// Whether the test image's files are there before the script runs.
    pub(super) has_programs: bool,
    /// Run by a shell in the image's root: `$bin` are the payload's programs, `$driver` the simulated driver's
    /// libraries, `$lib` the image's folder of libraries.
    pub(super) script: &'static str,
    /// The image's variables.
    pub(super) env: &'static [&'static str],
}

/// The simulated driver's 64-bit libraries, for images that bring some of another version than the host's.
pub(super) fn other_driver() -> String {
    format!("{DRIVER}/usr/lib/{TRIPLET}/nvidia/current")
}

impl Image {
    /// Makes it in a fresh folder of the podman's user, and says where that is.
    pub(super) fn folder(&self, podman: Podman) -> Result<String, Ended> {
        let folder = format!("/tmp/image-{}", self.name);
        let unpack = if self.has_programs {
            format!("tar -xf {PAYLOAD}/image.tar; lib=$(dirname $(find usr -name libc.so.6))")
        } else {
            String::new()
        };
        let owner = match podman.user {
            User::Root => "root:root",
            User::Rootless => &format!("{USER}:{USER}"),
        };
        let script = format!(
            "set -eu; rm -rf {folder}; mkdir {folder}; cd {folder}; {unpack}\n\
             bin={PAYLOAD}/bin; driver={}\n\
             {}\n\
             chown -hR {owner} {folder}",
            other_driver(),
            self.script
        );
        said(Command::new("sh").args(["-c", &script]))?.must()?;
        Ok(folder)
    }

    /// Makes it, imports it for the body, and removes it.
    pub(super) fn with(
        &self,
        podman: Podman,
        body: impl FnOnce(&str) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        super::with_real_driver(podman, || {
            let folder = self.folder(podman)?;
            let archive = format!("{folder}.tar");
            let pack = ["--numeric-owner", "--owner=0", "--group=0", "-C", &folder, "-cf", &archive, "."];
            said(Command::new("tar").args(pack))?.must()?;
            let tag = format!("localhost/nvbind-{}", self.name);
            let changes: Vec<String> =
                self.env.iter().map(|variable| format!("--change=ENV {variable}")).collect();
            let mut words = vec!["import", "--quiet"];
            words.extend(changes.iter().map(String::as_str).chain([archive.as_str(), &tag]));
            podman.must(&words)?;
            said(Command::new("rm").args(["-r", &folder, &archive]))?.must()?;
            let ended = body(&tag);
            // By force: its containers are there until the case is over.
            let removed = podman.must(&["rmi", "--force", &tag]);
            ended?;
            removed.map(drop)
        })
    }
}
