//! What fuzzing calls of what is private here.

use super::{glibc, musl};

/// Files of an image that its loaders read, musl's path file and `ld.so.conf`: what is written once is not written
/// again.
///
/// # Panics
/// When it is.
pub fn loaders(bytes: &[u8]) {
    let _ = glibc::includes_drop_ins(bytes);
    let ours = "/usr/local/nvidia/lib64";
    let earlier = [ours.to_owned()];
    if let Some(merged) = musl::merge(bytes, Some(ours), &earlier) {
        assert_eq!(musl::merge(&merged, Some(ours), &earlier), None);
    }
}
