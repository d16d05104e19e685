//! What the image has in the directories of its LD_LIBRARY_PATH, which loaders search before they ask anything else:
//! the driver's libraries are bound over the image's of the same names. Nothing is made there.

use crate::error::Error;
use crate::layout::Layout;
use crate::rootfs::{Rootfs, mount_id, read_names};
use crate::view::ViewMount;
use nvbind_core::abi::{Abi, Elf};
use nvbind_core::compat;
use nvbind_core::plan::library_directory;
use rustix::fs::{FileType, Mode, OFlags, fstat, open, readlink};
use rustix::io::{Errno, pread};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

/// So many directories are looked at. Images have some five.
const DIRECTORIES: usize = 64;

/// So many names of a directory are read before each of ours is looked up instead.
const NAMES: usize = 4 << 10;

/// Covers the image's files.
pub(super) fn cover(
    rootfs: &Rootfs,
    layout: &Layout<'_>,
    view: &ViewMount,
    value: &str,
) -> Result<(), Error> {
    let failed = |errno: Errno| Error::system("look at a directory of LD_LIBRARY_PATH", errno);
    let own = mount_id(&rootfs.find(layout.place)?.ok_or_else(|| failed(Errno::NOENT))?).map_err(failed)?;
    let mut found = Vec::new();
    for path in parse_directories(value).into_iter().take(DIRECTORIES) {
        let Some(directory) = find_readable(rootfs, path)? else { continue };
        if mount_id(&directory).map_err(failed)? != own {
            found.push((path, directory));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let spared = match rootfs.find(compat::DIRECTORY)? {
        Some(directory) => Some(real_path(&directory)?),
        None => None,
    };
    let mut covers =
        Covers { rootfs, view, libraries: collect_libraries(layout), spared, done: BTreeSet::new() };
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
fn collect_libraries<'l>(layout: &'l Layout<'_>) -> BTreeMap<&'l str, Vec<Abi>> {
    let mut libraries: BTreeMap<&str, Vec<Abi>> = BTreeMap::new();
    for abi in [Abi::NATIVE, Abi::COMPAT32].into_iter().flatten() {
        let names = layout.view.sonames(abi);
        for name in names.filter(|name| layout.is_drivers(&path_of(name, abi))) {
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
fn parse_directories(value: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let usable = |path: &&str| path.starts_with('/') && !path.contains('$');
    value.split([':', ';']).filter(usable).filter(|path| seen.insert(*path)).collect()
}

struct Covers<'c> {
    rootfs: &'c Rootfs,
    view: &'c ViewMount,
    libraries: BTreeMap<&'c str, Vec<Abi>>,
    /// The directory of CUDA's forward compatibility as [`real_path`] has it: its files are a newer driver's, on
    /// purpose.
    spared: Option<Vec<u8>>,
    /// Files of the driver that were bound over something: what leads to one of these is covered already.
    done: BTreeSet<(u64, u64)>,
}

impl Covers<'_> {
    /// Covers what is in a directory. Returns how many files.
    fn cover_in(&mut self, path: &str, directory: &OwnedFd) -> Result<usize, Error> {
        let libraries = &self.libraries;
        let names: BTreeSet<&str> = match read_names(directory, NAMES) {
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
        let Some(target) = find_readable(self.rootfs, path)? else { return Ok(false) };
        let stat = fstat(&target).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || self.done.contains(&(stat.st_dev, stat.st_ino))
            || self.is_spared(&target)?
            // Before it is opened: whoever reads /proc/kmsg takes the log from others.
            || !self.rootfs.is_ordinary(&target)?
        {
            return Ok(false);
        }
        let header = match read_header(&target) {
            Ok(header) => header,
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                log::warn!("{path} in the container cannot be read, and is left as it is: {errno}");
                return Ok(false);
            }
            Err(errno) => return Err(failed(errno)),
        };
        let Some(abi) = self.abi(name, &header) else { return Ok(false) };
        let file = self.view.clone_file(&path_of(name, abi))?;
        let ours = fstat(&file).map_err(failed)?;
        self.done.insert((ours.st_dev, ours.st_ino));
        // Where another hook of the same container, or the user, has put the same file.
        if (ours.st_dev, ours.st_ino) == (stat.st_dev, stat.st_ino) {
            return Ok(false);
        }
        self.rootfs.cover_open(file, &target, path)
    }

    fn is_spared(&self, target: &OwnedFd) -> Result<bool, Error> {
        let Some(directory) = &self.spared else { return Ok(false) };
        let path = real_path(target)?;
        Ok(path.strip_prefix(directory.as_slice()).is_some_and(|rest| rest.starts_with(b"/")))
    }

    /// Whose library takes the file's place: of its own machine; of the first that there is where it is no library, as
    /// a loader that meets it would search no further.
    fn abi(&self, name: &str, header: &[u8]) -> Option<Abi> {
        let elf = Elf::of(header);
        let mut abis = self.libraries.get(name)?.iter().copied();
        abis.find(|abi| elf == Elf::None || elf == Elf::Of(*abi))
    }
}

/// The first bytes of a regular file. It is opened anew by its descriptor, so that it is that file and no other.
fn read_header(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(proc_path(file), flags, Mode::empty())?;
    let mut header = vec![0; Elf::HEADER];
    let length = pread(&file, &mut header, 0)?;
    header.truncate(length);
    Ok(header)
}

/// Where a descriptor's file lies, links resolved. To compare only: it may be gone when it is used.
fn real_path(file: &OwnedFd) -> Result<Vec<u8>, Error> {
    let link = readlink(proc_path(file), Vec::new());
    link.map(CString::into_bytes)
        .map_err(|errno| Error::system("tell where a file of the container is", errno))
}

/// What a path leads to; none where there is nothing, and where the container's root may not search either.
fn find_readable(rootfs: &Rootfs, path: &str) -> Result<Option<OwnedFd>, Error> {
    match rootfs.find(path) {
        Err(error) if error.is_denied() => Ok(None),
        found => found,
    }
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
            assert_eq!(parse_directories(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in ".*") {
            let is_usable = |path: &&str| path.starts_with('/') && !path.contains([':', ';', '$']);
            prop_assert!(parse_directories(&value).iter().all(is_usable));
        }
    }
}
