//! The mounts of this process's namespace: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::borrow::Cow;
use std::io;

/// The kernel's list of mounts.
pub(crate) const PATH: &str = "/proc/self/mountinfo";

/// The file's text. Names that are not UTF-8 are somebody's volumes: they must not keep others from being read.
pub(crate) fn read() -> io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(PATH)?).into_owned())
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount<'t> {
    /// As statx(2) tells it.
    pub(crate) id: u64,
    /// The file system's device, `MAJOR:MINOR`: the same for all mounts of one.
    pub(crate) device: &'t str,
    /// The directory of the file system that is its root.
    pub(crate) root: Cow<'t, str>,
    /// Where it is attached.
    pub(crate) point: Cow<'t, str>,
    /// Whether what is mounted on it appears in other namespaces, too (mount_namespaces(7), "shared:X").
    pub(crate) is_shared: bool,
    /// The file system's type.
    pub(crate) kind: &'t str,
    /// What is mounted, by the name that who mounted it gave.
    pub(crate) source: &'t str,
    /// The file system's own options, between commas.
    pub(crate) options: &'t str,
}

/// The mounts in their order, the newest last. A line that is none is left out.
pub(crate) fn mounts(text: &str) -> impl DoubleEndedIterator<Item = Mount<'_>> {
    text.lines().filter_map(parse)
}

/// The mount with this number.
pub(crate) fn find(text: &str, id: u64) -> Option<Mount<'_>> {
    mounts(text).find(|mount| mount.id == id)
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS`.
fn parse(line: &str) -> Option<Mount<'_>> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let id = mount.next()?.parse().ok()?;
    let device = mount.nth(1)?;
    let (root, point) = (unescape(mount.next()?), unescape(mount.next()?));
    let is_shared = mount.skip(1).any(|tag| tag.starts_with("shared:"));
    let mut filesystem = filesystem.split(' ');
    let (kind, source, options) = (filesystem.next()?, filesystem.next()?, filesystem.next()?);
    Some(Mount { id, device, root, point, is_shared, kind, source, options })
}

/// Undoes the octal escapes (`\040` for a space), which few names have.
fn unescape(field: &str) -> Cow<'_, str> {
    if !field.contains('\\') {
        return field.into();
    }
    let escapes = ["\\040", "\\011", "\\012", "\\134"].into_iter().zip([" ", "\t", "\n", "\\"]);
    let plain = escapes.fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain));
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_and_without_tags_and_with_escapes() {
        let text = "36 35 98:0 /a /with\\040space rw,noatime master:2 shared:1 - overlay overlay rw,lowerdir=/l\n\
                    no mount\n\
                    37 36 0:26 / /\\134 rw - cgroup cgroup rw,devices\n";
        let mount = |id, device, root: &str, point: &str, is_shared, kind, source, options| Mount {
            id,
            device,
            root: root.to_owned().into(),
            point: point.to_owned().into(),
            is_shared,
            kind,
            source,
            options,
        };
        let expected = [
            mount(36, "98:0", "/a", "/with space", true, "overlay", "overlay", "rw,lowerdir=/l"),
            mount(37, "0:26", "/", "/\\", false, "cgroup", "cgroup", "rw,devices"),
        ];
        assert_eq!(mounts(text).collect::<Vec<_>>(), expected);
        assert_eq!(find(text, 37).as_ref(), expected.get(1));
        assert_eq!(find(text, 3), None);
    }
}
