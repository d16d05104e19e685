//! The few facts of a shared object that decide its place: architecture and soname.
//!
//! Three reads a file, at their offsets: the headers, the dynamic section, one string. Libraries of a driver have up
//! to 100 MB, and there are some fifty on the path of every container's start.

use crate::abi::{Abi, Elf};
use crate::input;
use object::Endianness;
use object::elf::{DT_SONAME, DT_STRTAB, DynamicTag, FileHeader32, FileHeader64, PT_DYNAMIC, PT_LOAD};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::slice_from_all_bytes;
use std::fs::File;
use std::io;

/// The file header and the program headers of every known library fit in this.
const HEADERS: usize = 4096;

/// Larger than any dynamic section; a damaged header must not make us allocate.
const DYNAMIC_LIMIT: u64 = 64 << 10;

/// A soname is a file name (`NAME_MAX` of `limits.h`) and its NUL.
const NAME_LIMIT: usize = 256;

/// What a shared object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SharedObject {
    /// Of an architecture that the driver exists for, with its soname.
    Library(Abi, Option<String>),
    /// Of another one.
    Foreign,
}

/// Reads a shared object; none when it is not a usable ELF file.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read(file: &File) -> io::Result<Option<SharedObject>> {
    input::parse_at(file, |read| parse(read))
}

/// `read` gives up to that many bytes at an offset.
pub(super) fn parse(read: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<SharedObject> {
    let start = read(0, HEADERS)?;
    let headers = start.as_slice();
    let abi = match Elf::of(headers) {
        Elf::Of(abi) => abi,
        Elf::Foreign => return Some(SharedObject::Foreign),
        Elf::None => return None,
    };
    let soname = match abi {
        Abi::I386 => soname::<FileHeader32<Endianness>>(headers, read)?,
        Abi::X86_64 | Abi::Aarch64 => soname::<FileHeader64<Endianness>>(headers, read)?,
    };
    Some(SharedObject::Library(abi, soname))
}

fn soname<H: FileHeader<Endian = Endianness>>(
    headers: &[u8],
    read: impl Fn(u64, usize) -> Option<Vec<u8>>,
) -> Option<Option<String>> {
    let header = H::parse(headers).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, headers).ok()?;

    let dynamic = segments.iter().find(|segment| segment.p_type(endian) == PT_DYNAMIC)?;
    let length = usize::try_from(dynamic.p_filesz(endian).into().min(DYNAMIC_LIMIT)).ok()?;
    let bytes = read(dynamic.p_offset(endian).into(), length)?;
    let entries = slice_from_all_bytes::<H::Dyn>(&bytes).ok()?;
    let value = |tag: DynamicTag| -> Option<u64> {
        entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.d_val(endian).into())
    };
    let Some(name) = value(DT_SONAME) else { return Some(None) };

    // The string table's address is one in memory: find the segment that maps it.
    let address = value(DT_STRTAB)?.checked_add(name)?;
    let offset = segments.iter().find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian).into())?;
        let maps = segment.p_type(endian) == PT_LOAD && within < segment.p_filesz(endian).into();
        maps.then(|| segment.p_offset(endian).into().checked_add(within)).flatten()
    })?;
    let bytes = read(offset, NAME_LIMIT)?;
    let name = bytes.split(|byte| *byte == 0).next().filter(|name| name.len() < bytes.len())?;
    Some(Some(std::str::from_utf8(name).ok()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{shared_object, shared_object_32};

    fn parse_bytes(bytes: &[u8]) -> Option<SharedObject> {
        parse(input::bytes_at(bytes))
    }

    #[test]
    fn soname_and_architecture_are_read() {
        let soname = Some("libx.so.1".to_owned());
        let native = Abi::NATIVE.unwrap();
        assert_eq!(
            parse_bytes(&shared_object("libx.so.1")),
            Some(SharedObject::Library(native, soname.clone()))
        );
        assert_eq!(
            parse_bytes(&shared_object_32("libx.so.1")),
            Some(SharedObject::Library(Abi::I386, soname))
        );
        let mut foreign = shared_object("libx.so.1");
        foreign[18] = 3;
        assert_eq!(parse_bytes(&foreign), Some(SharedObject::Foreign));
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        for whole in [shared_object("libx.so.1"), shared_object_32("libx.so.1")] {
            for length in 0..whole.len() {
                assert_ne!(parse_bytes(&whole[..length]), parse_bytes(&whole), "{length}");
            }
            for position in 0..whole.len() {
                let mut changed = whole.clone();
                changed[position] ^= 0xff;
                let _ = parse_bytes(&changed);
            }
        }
        assert_eq!(parse_bytes(b"#!/bin/sh\n"), None);
    }
}
