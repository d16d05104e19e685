//! What the image has in the directories of its LD_LIBRARY_PATH, which loaders search before they ask anything else:
//! the driver's libraries are bound over the image's of the same names. Nothing is made there.

use crate::error::Error;
use crate::layout::Layout;
use crate::rootfs::{Rootfs, mount_id, names_in};
use crate::view::ViewMount;
use nvbind_core::abi::Abi;
use nvbind_core::compat;
use nvbind_core::plan::{Entry, View, library_directory};
use rustix::fs::{FileType, Mode, OFlags, fstat, open, readlink};
use rustix::io::{Errno, pread};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd};

/// So many directories are looked at. Images have some five.
const DIRECTORIES: usize = 64;

/// So many names of a directory are read before each of ours is looked up instead.
const NAMES: usize = 4 << 10;

/// Covers the image's files.
pub(super) fn cover(
    rootfs: &Rootfs<'_>,
    layout: &Layout<'_>,
    view: &ViewMount,
    value: &str,
) -> Result<(), Error> {
    let own = rootfs.look(layout.place).and_then(mount_id).ok();
    // What is not there finds nothing; what may not be searched is not searched by programs.
    let found = directories(value).into_iter().take(DIRECTORIES);
    let found = found.filter_map(|path| Some((path, rootfs.look(path).ok()?)));
    let found: Vec<_> = found.filter(|(_, directory)| mount_id(directory).ok() != own).collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut covers = Covers {
        rootfs,
        view,
        libraries: libraries(&layout.view),
        spared: rootfs.look(compat::DIRECTORY).ok().and_then(|directory| real_path(&directory)),
        done: BTreeSet::new(),
    };
    let mut said = Vec::new();
    for (path, directory) in found {
        let count = covers.cover_in(path, &directory)?;
        if count > 0 {
            said.push(format!("{count} in {path}"));
        }
    }
    if !said.is_empty() {
        let said = said.join(", ");
        log::info!("the driver's libraries are bound over the image's own in LD_LIBRARY_PATH: {said}");
    }
    Ok(())
}

/// The names that the view has a library of the driver for, and for whose programs. Where CUDA's forward compatibility
/// wins the view has links to the image's own, and nothing of the image is bound over anything.
fn libraries(view: &View) -> BTreeMap<&str, Vec<Abi>> {
    let is_images = |name: &str, abi| matches!(view.get(&path_of(name, abi)), Some(Entry::Link { target }) if target.starts_with('/'));
    let mut libraries: BTreeMap<&str, Vec<Abi>> = BTreeMap::new();
    for abi in [Abi::NATIVE, Abi::COMPAT32].into_iter().flatten() {
        for name in view.sonames(abi).filter(|name| !is_images(name, abi)) {
            libraries.entry(name).or_default().push(abi);
        }
    }
    libraries
}

/// Where a library is below the view.
fn path_of(name: &str, abi: Abi) -> String {
    format!("{}/{name}", library_directory(abi))
}

/// The directories of a LD_LIBRARY_PATH (ld.so(8): separated by colons or semicolons), each once. Left out are relative
/// and empty ones, which depend on where a program is started, and those with `$ORIGIN` and the like.
fn directories(value: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let usable = |path: &&str| path.starts_with('/') && !path.contains('$');
    value.split([':', ';']).filter(usable).filter(|path| seen.insert(*path)).collect()
}

struct Covers<'c> {
    rootfs: &'c Rootfs<'c>,
    view: &'c ViewMount,
    libraries: BTreeMap<&'c str, Vec<Abi>>,
    /// The directory of CUDA's forward compatibility as [`real_path`] has it: its files are a newer driver's, on purpose.
    spared: Option<Vec<u8>>,
    /// Files of the driver that were bound over something: what leads to one of these is covered already.
    done: BTreeSet<(u64, u64)>,
}

impl Covers<'_> {
    /// Covers what is in a directory. Returns how many files.
    fn cover_in(&mut self, path: &str, directory: &OwnedFd) -> Result<usize, Error> {
        let libraries = &self.libraries;
        let names: BTreeSet<&str> = match names_in(directory, NAMES) {
            Ok(Some(names)) => {
                names.iter().filter_map(|name| Some(*libraries.get_key_value(name.as_str())?.0)).collect()
            }
            // Too large, or not to be listed: each name is looked up.
            Ok(None) | Err(_) => libraries.keys().copied().collect(),
        };
        let mut count = 0;
        for name in names {
            count += usize::from(self.cover_file(&format!("{path}/{name}"), name)?);
        }
        Ok(count)
    }

    /// Covers the file that a path of the container leads to. Returns whether it did.
    fn cover_file(&mut self, path: &str, name: &str) -> Result<bool, Error> {
        let failed = |errno: Errno| Error::system(format!("look at {path} in the container"), errno);
        let Ok(target) = self.rootfs.look(path) else { return Ok(false) };
        let stat = fstat(&target).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || self.done.contains(&(stat.st_dev, stat.st_ino))
            || self.is_spared(&target)
        {
            return Ok(false);
        }
        let header = match header(&target) {
            Ok(header) => header,
            Err(errno) => {
                log::warn!("{path} in the container cannot be read, and is left as it is: {errno}");
                return Ok(false);
            }
        };
        let Some(abi) = self.abi(name, &header) else { return Ok(false) };
        let file = self.view.clone_file(&path_of(name, abi))?;
        let ours = fstat(&file).map_err(failed)?;
        self.done.insert((ours.st_dev, ours.st_ino));
        // Where another hook of the same container, or the user, has put the same file.
        if (ours.st_dev, ours.st_ino) == (stat.st_dev, stat.st_ino) {
            return Ok(false);
        }
        self.rootfs.cover_open(&file, &target, path)
    }

    fn is_spared(&self, target: &OwnedFd) -> bool {
        let path = real_path(target).unwrap_or_default();
        let rest = self.spared.as_ref().and_then(|directory| path.strip_prefix(directory.as_slice()));
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// Whose library takes the file's place: of its own machine; of the first that there is where it is no library, as
    /// a loader that meets it would search no further.
    fn abi(&self, name: &str, header: &[u8]) -> Option<Abi> {
        let kind = kind(header);
        let mut abis = self.libraries.get(name)?.iter().copied();
        abis.find(|abi| kind == Kind::None || kind == Kind::Of(*abi))
    }
}

/// What a file is to a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For programs of this machine.
    Of(Abi),
    /// For those of another, which ours would not serve.
    Foreign,
    /// No ELF file.
    None,
}

/// Decides by class and machine of an ELF header (elf(5)): `EI_CLASS` at 4, `e_machine` at 18.
fn kind(header: &[u8]) -> Kind {
    let (Some(class), Some([low, high])) = (header.get(4), header.get(18..20)) else { return Kind::None };
    if !header.starts_with(b"\x7fELF") {
        return Kind::None;
    }
    match (class, u16::from_le_bytes([*low, *high])) {
        (2, 62) => Kind::Of(Abi::X86_64),
        (2, 183) => Kind::Of(Abi::Aarch64),
        (1, 3) => Kind::Of(Abi::I386),
        _other => Kind::Foreign,
    }
}

/// The first bytes of a regular file. It is opened anew by its descriptor, so that it is that file and no other.
fn header(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(proc_path(file), flags, Mode::empty())?;
    let mut header = vec![0; 20];
    let length = pread(&file, &mut header, 0)?;
    header.truncate(length);
    Ok(header)
}

/// Where a descriptor's file lies, links resolved. To compare only: it may be gone when it is used.
fn real_path(file: &OwnedFd) -> Option<Vec<u8>> {
    Some(readlink(proc_path(file), Vec::new()).ok()?.into_bytes())
}

fn proc_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directories_are_absolute_without_variables_and_each_once() {
        for (value, expected) in [
            ("", &[][..]),
            (":;:", &[]),
            ("/a:/b;/a", &["/a", "/b"]),
            ("lib:./x:../y:/a:", &["/a"]),
            ("$ORIGIN/../lib:/opt/$LIB:/opt/${PLATFORM}:/a", &["/a"]),
        ] {
            assert_eq!(directories(value), expected, "{value}");
        }
    }

    fn elf(class: u8, machine: u16) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', class];
        header.resize(18, 0);
        header.extend(machine.to_le_bytes());
        header
    }

    #[test]
    fn a_library_is_told_by_its_class_and_machine() {
        for (header, expected) in [
            (elf(2, 62), Kind::Of(Abi::X86_64)),
            (elf(2, 183), Kind::Of(Abi::Aarch64)),
            (elf(1, 3), Kind::Of(Abi::I386)),
            // The x32 ABI: class 32 on the 64-bit machine.
            (elf(1, 62), Kind::Foreign),
            (elf(2, 21), Kind::Foreign),
            (elf(2, 62)[..19].to_vec(), Kind::None),
            (b"INPUT(libcuda.so.1 -lm)\n".to_vec(), Kind::None),
            (Vec::new(), Kind::None),
        ] {
            assert_eq!(kind(&header), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), value in ".*") {
            let _ = kind(&bytes);
            let _ = kind(&[b"\x7fELF", bytes.as_slice()].concat());
            let is_usable = |path: &&str| path.starts_with('/') && !path.contains([':', ';', '$']);
            prop_assert!(directories(&value).iter().all(is_usable));
        }
    }
}
