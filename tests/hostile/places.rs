//! The paths of a container that nvbind writes or mounts on, by the product's own tables.

use nvbind_core::catalogue::{WellKnownPlace, When};
use nvbind_core::plan::{self, VIEWS};
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) const MUSL: &str =
    if cfg!(target_arch = "aarch64") { "lib/ld-musl-aarch64.so.1" } else { "lib/ld-musl-x86_64.so.1" };
pub(crate) const PATH_FILE: &str =
    if cfg!(target_arch = "aarch64") { "etc/ld-musl-aarch64.path" } else { "etc/ld-musl-x86_64.path" };

/// What the loaders read, and what these files are called before they are in place.
pub(crate) const LOADERS: &[&str] = &[
    "etc/ld.so.cache",
    "etc/.ld.so.cache.nvbind",
    "etc/ld.so.conf",
    "etc/.ld.so.conf.nvbind",
    "etc/ld.so.conf.d/00-nvbind.conf",
    "etc/ld.so.conf.d/.00-nvbind.conf.nvbind",
];

const NODES: &[&str] = &["dev/nvidia0", "dev/nvidiactl", "dev/nvidia-uvm", "dev/dri/card0"];

/// Where the copy of the kernel module's directory is attached.
const PROC: &str = "proc/driver/nvidia";

/// Well-known places, as the container has them.
pub(crate) fn well_known() -> impl Iterator<Item = &'static WellKnownPlace> {
    plan::well_known()
}

/// A path below the container's root.
fn below(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// The places of links and files.
pub(crate) fn files() -> BTreeSet<String> {
    let links = well_known().map(|place| below(place.path));
    links.chain([LOADERS, NODES].concat().into_iter().map(str::to_owned)).collect()
}

/// The directories that these are in, with all above, and those for the view.
pub(crate) fn directories() -> BTreeSet<String> {
    let files: Vec<String> = files().into_iter().chain([format!("{PROC}/version")]).collect();
    let views = VIEWS.map(below);
    let above = files.iter().flat_map(|path| Path::new(path).ancestors().skip(1));
    let all = above.chain(views.iter().flat_map(|path| Path::new(path).ancestors()));
    all.filter_map(Path::to_str).filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

/// Lines that make what an image has to have for nvbind to use a place, or places below it.
pub(crate) fn conditions(path: &str) -> String {
    let mut script = String::new();
    if path.starts_with("etc/.ld.so.conf") {
        script.push_str("echo /opt/lib >etc/ld.so.conf\n");
    }
    for place in well_known().filter(|place| Path::new(&below(place.path)).starts_with(path)) {
        if let When::With(condition) = place.when {
            script.push_str(&format!("mkdir -p {}\n", below(condition)));
        }
    }
    script
}
