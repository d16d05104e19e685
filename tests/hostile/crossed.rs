//! Every place that nvbind writes or mounts on, and each directory above it, as something else than it should be.

use crate::places;
use crate::row::{Expected, Row, Warned, Works, clear, refused, row};
use std::collections::BTreeSet;

/// What stands there, as a line for a shell with `@` for the place.
type Shape = (&'static str, &'static str);

const LINK_OUT: &str = "link-out";
const DIRECTORY: &str = "directory";

const FOR_FILES: &[Shape] =
    &[(LINK_OUT, "ln -s $OUTSIDE/kept @"), ("fifo", "mkfifo @"), (DIRECTORY, "mkdir @; echo kept >@/kept")];

/// For one place of each kind.
const FOR_SOME_FILES: &[Shape] =
    &[("socket", "mv $IMAGE/../parts/socket @"), ("node", "mknod @ c 195 200"), ("disk", "mknod @ b 7 0")];

const SOME_FILES: &[&str] =
    &["etc/ld.so.cache", "etc/ld.so.conf", "usr/bin/nvidia-smi", "dev/nvidia0", "etc/.ld.so.cache.nvbind"];

const FOR_DIRECTORIES: &[Shape] = &[(LINK_OUT, "ln -s $OUTSIDE @"), ("file", "echo kept >@")];

const FOR_SOME_DIRECTORIES: &[Shape] =
    &[("link-loop", "ln -s /@ @"), ("fifo", "mkfifo @"), ("socket", "mv $IMAGE/../parts/socket @")];

const SOME_DIRECTORIES: &[&str] = &[
    "etc",
    "etc/ld.so.conf.d",
    "usr/local",
    "usr/local/nvidia",
    "usr/share/vulkan",
    "dev/dri",
    "usr/lib64/gbm",
];

/// Directories that nothing is looked up in: the view's second and third place, and what a driver without 32-bit
/// libraries, the copy of procfs, or a container with all GPUs has no use for.
const UNUSED: &[&str] = &[
    "dev/nvbind",
    "etc/nvidia",
    "etc/nvidia/nvidia-application-profiles-rc.d",
    "proc",
    "proc/driver",
    "proc/driver/nvidia",
    "run/nvbind",
    "run/opengl-driver-32",
    "usr/lib/i386-linux-gnu",
    "usr/lib/i386-linux-gnu/gbm",
    "usr/lib32",
    "usr/lib32/gbm",
];

pub(crate) fn rows() -> Vec<Row> {
    let some = |places: &[&str]| places.iter().map(|place| (*place).to_owned()).collect();
    [
        cross(&places::files(), FOR_FILES, expect_of_file),
        cross(&some(SOME_FILES), FOR_SOME_FILES, expect_of_file),
        cross(&places::directories(), FOR_DIRECTORIES, expect_of_directory),
        cross(&some(SOME_DIRECTORIES), FOR_SOME_DIRECTORIES, expect_of_directory),
    ]
    .concat()
}

fn cross(places: &BTreeSet<String>, shapes: &[Shape], expect: fn(&str, &str) -> Expected) -> Vec<Row> {
    let mut rows = Vec::new();
    for place in places {
        for (shape, script) in shapes {
            // No runtime mounts a /dev on such a thing, and the outside is below /tmp: that link would lead to itself.
            if [("dev", "file"), ("tmp", LINK_OUT)].contains(&(place, shape)) {
                continue;
            }
            let script = script.replace('@', place);
            let script = format!("{}{}{script}", places::conditions(place), clear(place));
            rows.push(row(format!("{place}-is-a-{shape}"), expect(place, shape)).at(place, &script));
        }
    }
    rows
}

fn expect_of_file(place: &str, shape: &str) -> Expected {
    match (place, shape) {
        _ if place.starts_with("dev/") => refused(&format!("/{place} in the container is something else")),
        ("etc/ld.so.cache", DIRECTORY) => Warned("/etc/ld.so.cache is a directory"),
        (_, DIRECTORY) if places::LOADERS.contains(&place) && place != "etc/ld.so.conf" => refused(place),
        _ => Works,
    }
}

fn expect_of_directory(place: &str, shape: &str) -> Expected {
    match (place, shape) {
        _ if UNUSED.contains(&place) => Works,
        (_, LINK_OUT) => refused(&format!("/{place} in the container's root filesystem is a link")),
        ("etc", _) => Warned("programs find the driver by LD_LIBRARY_PATH alone"),
        ("dev/dri", _) => refused("/dev/dri/card0"),
        _ => Works,
    }
}
