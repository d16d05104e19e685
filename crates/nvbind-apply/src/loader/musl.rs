//! musl's `/etc/ld-musl-ARCH.path`: the directories that its loader searches, separated by newlines or colons.
//!
//! `load_library` and `path_open` of musl's `ldso/dynlink.c`: the file replaces the built-in list, an empty one leaves
//! no directory at all, and only where there is no file the built-in list is used.

use super::file::{self, Found};
use crate::draft::Draft;
use crate::error::Error;
use crate::layout::Layout;
use crate::rootfs::{Directory, Rootfs};
use crate::view::ViewMount;
use nvbind_core::abi::Abi;
use nvbind_core::plan::library_directory;

/// A loader of musl and the file that it reads.
#[derive(Debug)]
pub(super) struct Musl {
    abi: Abi,
    loader: &'static str,
    file: &'static str,
}

/// Those of the architectures that the driver exists for (`LDSO_ARCH` of musl's `arch/*/reloc.h`).
const LOADERS: [Musl; 3] = [
    Musl { abi: Abi::X86_64, loader: "/lib/ld-musl-x86_64.so.1", file: "ld-musl-x86_64.path" },
    Musl { abi: Abi::Aarch64, loader: "/lib/ld-musl-aarch64.so.1", file: "ld-musl-aarch64.path" },
    Musl { abi: Abi::I386, loader: "/lib/ld-musl-i386.so.1", file: "ld-musl-i386.path" },
];

/// What is searched where there is no file.
const BUILT_IN: &[u8] = b"/lib:/usr/local/lib:/usr/lib";

/// Files beyond this are left as they are: some thousand directories.
const LIMIT: usize = 64 << 10;

/// The loaders that the image has.
pub(super) fn of(rootfs: &Rootfs) -> Result<Vec<&'static Musl>, Error> {
    let mut loaders = Vec::new();
    for musl in &LOADERS {
        if rootfs.has(musl.loader)? {
            loaders.push(musl);
        }
    }
    Ok(loaders)
}

impl Musl {
    /// The file with the view's directory first; none where that is so already.
    pub(super) fn draft(
        &self,
        rootfs: &Rootfs,
        etc: &Directory,
        layout: &Layout<'_>,
        view: &mut ViewMount,
        earlier: &[&str],
    ) -> Result<Option<Draft>, Error> {
        let name = self.file;
        let found = file::read(etc, name, LIMIT)?;
        let unusable = match &found {
            Found::Nothing | Found::File(_) => None,
            Found::TooLarge => Some("is larger than 64 KiB"),
            Found::Directory | Found::Special => Some("is no ordinary file"),
        };
        if let Some(why) = unusable {
            log::warn!(
                "the container's /etc/{name} {why}, and is left; musl finds the driver by LD_LIBRARY_PATH alone"
            );
            return Ok(None);
        }
        let image = if let Found::File(content) = &found { content } else { BUILT_IN };
        let has_libraries = layout.view.sonames(self.abi).next().is_some();
        let ours = has_libraries.then(|| layout.inside(&library_directory(self.abi).into()));
        match merge(image, ours.as_deref(), &libraries_of(earlier)) {
            Some(content) => file::replace(rootfs, etc, view, name, (&found, &content)),
            None => Ok(None),
        }
    }
}

/// The library directories of views.
fn libraries_of(views: &[&str]) -> Vec<String> {
    let directories = [Abi::X86_64, Abi::I386].map(library_directory);
    views.iter().flat_map(|view| directories.map(|directory| format!("{view}/{directory}"))).collect()
}

/// The file with `ours` first, and without what an earlier start put there; none where nothing changes.
fn merge(image: &[u8], ours: Option<&str>, earlier: &[String]) -> Option<Vec<u8>> {
    let found = parse_directories(image);
    let is_earlier = |directory: &&[u8]| {
        let end = directory.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let plain = directory.get(..end).unwrap_or_default();
        earlier.iter().any(|earlier| earlier.as_bytes() == plain)
    };
    let theirs = found.iter().copied().filter(|directory| !is_earlier(directory));
    let wanted: Vec<&[u8]> = ours.map(str::as_bytes).into_iter().chain(theirs).collect();
    if wanted == found {
        return None;
    }
    let mut content = Vec::with_capacity(image.len() + ours.map_or(0, str::len) + 2);
    for directory in wanted {
        content.extend_from_slice(directory);
        content.push(b'\n');
    }
    Some(content)
}

/// The directories that the loader sees: the file is a string to it, which ends at the first NUL.
fn parse_directories(file: &[u8]) -> Vec<&[u8]> {
    let text = file.split(|byte| *byte == 0).next().unwrap_or_default();
    text.split(|byte| matches!(byte, b':' | b'\n')).filter(|directory| !directory.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = "/usr/local/nvidia/lib64";

    fn merged(image: &[u8], ours: Option<&str>) -> Option<String> {
        let earlier = libraries_of(&["/usr/local/nvidia", "/run/nvbind"]);
        merge(image, ours, &earlier).map(|content| String::from_utf8(content).unwrap())
    }

    #[test]
    fn ours_come_first_and_once_and_those_of_earlier_starts_go() {
        for (image, ours, expected) in [
            (BUILT_IN, Some(OURS), Some("/usr/local/nvidia/lib64\n/lib\n/usr/local/lib\n/usr/lib\n")),
            (BUILT_IN, None, None),
            // No directory at all is what the image says: it stays so behind ours.
            (b"", Some(OURS), Some("/usr/local/nvidia/lib64\n")),
            (b"", None, None),
            (b"\n:/opt/lib\n\n/lib:", Some(OURS), Some("/usr/local/nvidia/lib64\n/opt/lib\n/lib\n")),
            (b"/usr/local/nvidia/lib64:/lib", Some(OURS), None),
            (b"/lib:/usr/local/nvidia/lib64/", Some(OURS), Some("/usr/local/nvidia/lib64\n/lib\n")),
            (b"/run/nvbind/lib64\n/lib\n", Some(OURS), Some("/usr/local/nvidia/lib64\n/lib\n")),
            (b"/run/nvbind/lib\n/lib\n", None, Some("/lib\n")),
            (b"/usr/local/nvidia/lib64\n", None, Some("")),
            (b"/run/nvbind/lib64/more:/run/nvbind", None, None),
            (b"/lib\0/opt", Some(OURS), Some("/usr/local/nvidia/lib64\n/lib\n")),
        ] {
            let said = String::from_utf8_lossy(image).into_owned();
            assert_eq!(merged(image, ours).as_deref(), expected, "{said:?} {ours:?}");
        }
    }

    proptest! {
        #[test]
        fn the_loader_searches_ours_and_then_what_it_searched_before(
            image in proptest::collection::vec(
                prop_oneof![Just(b':'), Just(b'\n'), Just(b'/'), Just(b'a'), any::<u8>()], 0..80),
        ) {
            let content = merge(&image, Some(OURS), &libraries_of(&["/usr/local/nvidia"])).unwrap();
            let (searched, before) = (parse_directories(&content), parse_directories(&image));
            let ours = OURS.as_bytes();
            prop_assert_eq!(searched.first(), Some(&ours));
            prop_assert_eq!(searched.get(1..), Some(before.as_slice()));
            prop_assert_eq!(merge(&content, Some(OURS), &libraries_of(&["/usr/local/nvidia"])), None);
        }
    }
}
