//! The few facts of a shared object that decide its place: architecture and soname.
//!
//! Only the headers, the dynamic section and one string are read: libraries of a driver have up to 100 MB.

use object::Endianness;
use object::elf::{
    DT_SONAME, DT_STRSZ, DT_STRTAB, DynamicTag, ELFCLASS64, EM_AARCH64, EM_X86_64, FileClass, FileHeader64,
    Machine, PT_DYNAMIC, PT_LOAD,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};
use std::fs::File;

/// The machine that this build serves.
const MACHINE: Machine = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };

/// What a shared object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SharedObject {
    /// Of this machine's architecture, with its soname.
    Native(Option<String>),
    /// Of another architecture.
    Foreign,
}

/// Reads a shared object; none when it is not a usable ELF file.
pub(super) fn read(file: File) -> Option<SharedObject> {
    parse(&ReadCache::new(file))
}

fn parse<'data, R: ReadRef<'data>>(data: R) -> Option<SharedObject> {
    let ident = data.read_bytes_at(0, 20).ok()?;
    let (magic, class, machine) =
        (ident.get(..4)?, *ident.get(4)?, u16::from_le_bytes([*ident.get(18)?, *ident.get(19)?]));
    if magic != b"\x7fELF" {
        return None;
    }
    if FileClass(class) != ELFCLASS64 || Machine(machine) != MACHINE {
        return Some(SharedObject::Foreign);
    }
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let dynamic = segments.iter().find(|segment| segment.p_type(endian) == PT_DYNAMIC)?;
    let entries = dynamic.dynamic(endian, data).ok()??;
    let value = |tag: DynamicTag| {
        entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.d_val(endian))
    };
    let Some(soname) = value(DT_SONAME) else { return Some(SharedObject::Native(None)) };
    let (table, size) = (value(DT_STRTAB)?, value(DT_STRSZ)?);
    let segment = segments.iter().find(|segment| {
        let start = segment.p_vaddr(endian);
        segment.p_type(endian) == PT_LOAD
            && (start..start.saturating_add(segment.p_filesz(endian))).contains(&table)
    })?;
    let offset = segment.p_offset(endian).checked_add(table.checked_sub(segment.p_vaddr(endian))?)?;
    let range = offset.checked_add(soname)?..offset.checked_add(size)?;
    let name = data.read_bytes_at_until(range, 0).ok()?;
    Some(SharedObject::Native(Some(std::str::from_utf8(name).ok()?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::shared_object;

    #[test]
    fn soname_and_architecture_are_read() {
        assert_eq!(parse(&*shared_object("libx.so.1")), Some(SharedObject::Native(Some("libx.so.1".into()))));
        let mut foreign = shared_object("libx.so.1");
        foreign[18] = 3;
        foreign[4] = 1;
        assert_eq!(parse(&*foreign), Some(SharedObject::Foreign));
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        let whole = shared_object("libx.so.1");
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 0xff;
            let _ = parse(&*changed);
        }
        assert_eq!(parse(&b"#!/bin/sh\n"[..]), None);
    }
}
