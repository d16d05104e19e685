//! SELinux's types of files.

use rustix::fs::getxattr;
use std::path::Path;

/// Where the kernel has a file's label (security/selinux/hooks.c).
const LABEL: &str = "security.selinux";

/// Longer than the labels of any policy, whose categories take most of one.
const LABEL_LIMIT: usize = 4096;

/// The type in the label of a file; none where it has no label.
#[must_use]
pub fn type_of(path: &Path) -> Option<String> {
    type_in(path, LABEL)
}

fn type_in(path: &Path, attribute: &str) -> Option<String> {
    let mut label = [0; LABEL_LIMIT];
    let length = getxattr(path, attribute, &mut label).ok()?;
    let label = std::str::from_utf8(label.get(..length)?).ok()?;
    // user:role:type:level
    label.trim_end_matches('\0').split(':').nth(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, setxattr};

    #[test]
    fn the_type_is_the_third_part_of_a_label() {
        // Another attribute, since the label is the kernel's to give.
        const ATTRIBUTE: &str = "user.nvbind";
        let file = tempfile::NamedTempFile::new().unwrap();
        let type_of = |label: &[u8]| {
            setxattr(file.path(), ATTRIBUTE, label, XattrFlags::empty()).unwrap();
            type_in(file.path(), ATTRIBUTE)
        };
        assert_eq!(type_of(b"system_u:object_r:device_t:s0\0").as_deref(), Some("device_t"));
        assert_eq!(type_of(b"system_u:object_r:device_t:s0:c1,c2").as_deref(), Some("device_t"));
        assert_eq!(type_of(b"none"), None);
        assert_eq!(type_in(Path::new("/nonexistent"), ATTRIBUTE), None);
    }
}
