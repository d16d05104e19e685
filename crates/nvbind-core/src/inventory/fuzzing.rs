//! What fuzzing calls of what is private here: readers of files that a driver, or an image, has written.

use super::devices::Majors;
use super::gpus::Information;
use super::procfs::{self, Nodes};
use super::{data, elf, extras, mig, version};
use crate::input::bytes_at;

/// A shared object.
pub fn shared_object(bytes: &[u8]) {
    let _ = elf::parse(bytes_at(bytes));
}

/// A manifest of Vulkan or EGL: what a container gets is one as well. (It need not be the same when it is read again:
/// `serde_json` reads a number of many digits to the nearest one but one.)
///
/// # Panics
/// When it is none.
pub fn manifest(bytes: &[u8]) {
    if let Some(text) = data::manifest(bytes, "libGLX_nvidia.so.0") {
        assert!(data::manifest(text.as_bytes(), "libGLX_nvidia.so.0").is_some());
    }
}

/// Files of procfs.
pub fn procfs(text: &str) {
    let _ = version::parse(text);
    let _ = Majors::parse(text).map(|majors| majors.control_nodes());
    let _ = Information::parse(text);
    let _ = Nodes::parse(text);
    let _ = procfs::without_modification(text);
    let _ = mig::minor_of_table(text, "capabilities/gpu0/mig/gi1/access");
    let _ = mig::number(text, "DeviceFileMinor");
    let _ = extras::find_misc(text, "dxg");
}
